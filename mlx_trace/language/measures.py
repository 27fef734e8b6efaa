"""What a question's numbers are measured in: money, time, percent, or things that are counted or weighed.

Takes a question; returns each number with its measures, but for those of which some mention does not say. Nobody adds
dollars to hours, or either to eggs.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal

from mlx_trace.language.knowledge import called_numbers
from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.language.numbers import spell

Measure = Literal["money", "time", "percent", "things"]

_CURRENCY: Final = re.compile(r"[$€£¥]\s?$")
_WORDS: Final = re.compile(r"[\s-]*([a-z]+)(?:[\s-]+([a-z]+))?", re.IGNORECASE)
_MONEY: Final = frozenset("dollars cents euros bucks".split())
_TIME: Final = re.compile(r"(?:second|minute|hour|day|week|month|year|decade)s?")
_COMPARED: Final = frozenset("old older younger ago later earlier from after before".split())  # behind a time
_PLURAL: Final = re.compile(r"[a-z]{2,}(?<!s)(?<!u)s")
_NO_NOUNS: Final = frozenset(
    "times less does others plus minus across this thus its his always besides sometimes yes perhaps towards was has as"
    .split()
)  # fmt: skip


@lru_cache(maxsize=1024)
def measures(question: str) -> Mapping[str, frozenset[Measure]]:
    """Return what each number, as it is spelled, is measured in; of what is common knowledge, too, nothing is known."""
    found: dict[str, set[Measure | None]] = {}
    for mention in find_numbers(question):
        for value in mention.readings:
            found.setdefault(spell(value), set()).add(_measure(question, mention))
    for number in called_numbers(question):
        found.pop(spell(number), None)
    return {
        number: frozenset(said for said in all_said if said is not None)
        for number, all_said in found.items()
        if None not in all_said
    }


def _measure(question: str, mention: Mention) -> Measure | None:
    """Return what the words around a mention say that it is measured in, if they do."""
    if mention.kind == "percent":
        return "percent"
    if mention.kind not in ("digits", "words"):
        return None
    words = _WORDS.match(question, mention.end)
    word, behind = (words[1].lower(), (words[2] or "").lower()) if words else ("", "")
    if _CURRENCY.search(question, 0, mention.start) or word in _MONEY:
        return "money"
    if _TIME.fullmatch(word):
        return None if behind in _COMPARED else "time"
    return "things" if _PLURAL.fullmatch(word) and word not in _NO_NOUNS else None
