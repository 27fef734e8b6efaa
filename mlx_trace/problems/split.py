"""Which wordings in GSM-8K's form are kept for validation: a frozen list of questions, and for others a frozen rule.

Takes a question; knows nothing of how numbers are read, of names, or of skeletons, all of which may change. What is
written here may not: what was trained on once would then be evaluated on.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from mlx_trace.resources import split_dir

SHARE: Final = 10  # one wording in ten
RECORD: Final = 16  # bytes of a known question: the hash of its text, then that of its wording
_WORD: Final = re.compile(r"[A-Za-z]+")
_LEFT_OUT: Final = frozenset(
    "a an zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million".split()
)


def is_held_out(question: str) -> bool:
    """Tell whether a question is held out: by its text or wording if that is known, else one wording in ten."""
    known = known_side(question)
    return int.from_bytes(_hash(wording_of(question))) % SHARE == 0 if known is None else known


def known_side(question: str) -> bool | None:
    """Tell whether one of GSM-8K's questions, or a variant of one, is held out; None for any other."""
    texts, wordings = _known()
    return texts.get(_hash(" ".join(question.split())), wordings.get(_hash(wording_of(question))))


def wording_of(question: str) -> str:
    """Return a question's words without its numbers, articles and capitalised words: variants have the same."""
    words = (word for word in _WORD.findall(question) if word[0].islower() and word not in _LEFT_OUT)
    return " ".join(words) or " ".join(question.split())  # a script without small letters is told by its text


def _hash(text: str) -> bytes:
    return blake2b(text.encode(errors="replace"), digest_size=RECORD // 2).digest()


@lru_cache(maxsize=1)
def _known() -> tuple[dict[bytes, bool], dict[bytes, bool]]:
    """Return GSM-8K's training questions, and their wordings, by hash: whether each is held out."""
    texts: dict[bytes, bool] = {}
    wordings: dict[bytes, bool] = {}
    for name, held_out in (("training", False), ("held_out", True)):  # a wording of both is held out
        records = (split_dir() / f"{name}.bin").read_bytes()
        for start in range(0, len(records), RECORD):
            texts[records[start : start + RECORD // 2]] = held_out
            wordings[records[start + RECORD // 2 : start + RECORD]] = held_out
    return texts, wordings
