"""Where a question's sentences end: all of them, abbreviations apart, or plainly the last one.

Takes a question. Sentences of worked solutions end otherwise (in clauses, at semicolons): who reads those cuts them.
"""

import re
from typing import Final

_PLAIN_END: Final = re.compile(r"(?<=[.!?]) ")
_END: Final = re.compile(r"(?<=[.!?]) +(?=[A-Z0-9$\"“])")
_ABBREVIATED: Final = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|No|vs|a\.m|p\.m|[A-Z])\.$")


def sentences_of(question: str) -> list[str]:
    """Return a question's sentences; an abbreviation ends none."""
    sentences: list[str] = []
    for piece in _END.split(question.strip()):
        if sentences and _ABBREVIATED.search(sentences[-1]):
            sentences[-1] += f" {piece}"
        else:
            sentences.append(piece)
    return sentences


def last_sentence(question: str) -> str:
    """Return what stands behind a question's last mark but one, whatever that mark ends."""
    return _PLAIN_END.split(question.strip())[-1]
