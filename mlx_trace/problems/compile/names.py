"""Names for the numbers of a trace, from the question's own nouns: eggs, clips_april, price_per_box, tax_percent.

Takes a question and its mentions; gives each leaf a name of its own. Word lists and word order, no parser.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from mlx_trace.language.knowledge import CONSTANTS, known_names
from mlx_trace.language.mentions import Mention
from mlx_trace.language.steps import LONGEST_NAME
from mlx_trace.problems.compile.context import Place
from mlx_trace.problems.compile.evidence import UNITS, same_noun
from mlx_trace.problems.compile.node import Node
from mlx_trace.problems.compile.nouns import many, words_in
from mlx_trace.problems.compile.words import STOPS, VERBS

RESERVED: Final = re.compile(r"step[0-9]+|result")
_NAMES_OF_NUMBERS: Final = (
    "0 zero, 1 one, 2 two, 3 three, 4 four, 5 five, 7 seven, 10 ten, 12 twelve, 14 fourteen, 16 sixteen, "
    "24 twenty_four, 28 twenty_eight, 30 thirty, 31 thirty_one, 50 fifty, 52 fifty_two, 60 sixty, 90 ninety, "
    "100 hundred, 180 hundred_eighty, 360 three_hundred_sixty, 365 days_per_year, 366 leap_year, 1000 thousand, "
    "1/2 half, 1/3 third, 1/4 quarter, 3/4 three_quarters, 0.01 hundredth"
)
_NUMBER_WORDS: Final = {Fraction(number): name for number, name in map(str.split, _NAMES_OF_NUMBERS.split(", "))}

_MONTHS: Final = (28, 30, 31)  # days


class Namer:
    """Names the leaves of one trace."""

    def __init__(self, question: str, mentions: list[Mention]) -> None:
        self.text = words_in(question)
        self.mentions = mentions
        self.known = known_names(question)
        self.given: set[str] = set()

    def name(self, leaf: Node) -> str:
        """Return a name for a leaf: the plainest that no other leaf has."""
        base = ""
        for candidate in self._candidates(leaf):
            name = _clean(candidate)
            base = base or name
            if name and name not in self.given and not RESERVED.fullmatch(name):
                break
        else:
            base = "number" if RESERVED.fullmatch(base) else (base or "number")[: LONGEST_NAME - 3]
            number = next(n for n in range(1, len(self.given) + 3) if _numbered(base, n) not in self.given)
            name = _numbered(base, number)
        self.given.add(name)
        return name

    def _candidates(self, leaf: Node) -> Iterator[str]:
        if leaf.mention is None:
            yield from self._constant(leaf)
            return
        place = Place(self.text, self.mentions[leaf.mention])
        base = place.base(leaf)
        yield base
        parts = [base, *base.lower().split("_")]
        for qualifier in place.qualifiers():
            if not any(same_noun(qualifier.lower(), part) for part in parts):
                yield f"{base}_{qualifier}"

    def _constant(self, leaf: Node) -> Iterator[str]:
        """Yield minutes_per_hour for a 60 where minutes or hours are spoken of; else what the solution calls it."""
        spoken = set(self.text.words)
        for whole, part, count in UNITS:
            if count != leaf.value or (not {whole, many(whole)} & spoken and not (part and same_noun(part, leaf.unit))):
                continue
            if not part:
                yield whole
            elif same_noun(part, leaf.unit) or many(part) in spoken or (part in spoken and part != "second"):
                yield f"{many(part)}_per_{whole}"
        in_cents = leaf.value not in CONSTANTS or leaf.unit in ("cent", "cents") or "cents" in spoken
        if leaf.value in self.known and leaf.grounded and in_cents:
            yield self.known[leaf.value]
        if leaf.value in _MONTHS and not spoken.isdisjoint(("day", "days", "daily", "month", "months")):
            yield "days"
        known = _NUMBER_WORDS.get(leaf.value, "")
        yield known if known or not leaf.grounded or leaf.unit in STOPS or leaf.unit in VERBS else leaf.unit
        yield leaf.unit


def _clean(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME + 1].rpartition("_")[0] or name[:LONGEST_NAME]
    return name if name[:1].isalpha() else ""


def _numbered(base: str, number: int) -> str:
    return base if number == 1 else f"{base}_{number}"
