"""What everybody knows without being told, in one place: for the compiler, for grounding while decoding, for audits.

Takes a question; returns numbers that a trace may hold though the question does not state them.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.numbers import fits, spell

# Days of a week, minutes of an hour, cents of a dollar, sides and scales.
_CONSTANTS: Final = (
    "0 1 2 3 4 5 7 10 12 14 16 24 28 30 31 36 50 52 60 90 100 180 360 365 366 1000 1760 2000 3600 5280 "
    "1/2 1/3 1/4 3/4 0.01"
)
CONSTANTS: Final = frozenset(map(Fraction, _CONSTANTS.split()))

# What is known of the things that a question names: those, what has to be named beside them, and the numbers.
_COINS: Final = "coins? cents? dollars? dimes? nickels? pennies penny change bills? money"
_LIMBS: Final = "legs? eyes? feet arms? tentacles? shoes socks"
_FACTS: Final = (
    ("quarters?", _COINS, "25 0.25"), ("dimes?", "", "10 0.1"), ("nickels?", "", "5 0.05"), ("half-dollars?", "", "50"),
    ("(?:spiders?|tarantulas?|octopus(?:es)?|octopi|scorpions?|ticks?)", _LIMBS, "8"),
    ("(?:insects?|ants?|bees?|wasps?|beetles?|bugs?|fl(?:y|ies)|butterfl(?:y|ies)|dragonfl(?:y|ies)|ladybugs?|moths?"
     "|crickets?|grasshoppers?|mosquito(?:e?s)?|cockroach(?:es)?)", _LIMBS, "6"),
    ("(?:crabs?|lobsters?|squids?)", _LIMBS, "8 10"),
    ("(?:circles?|circular|circumference|radius|diameter|cylind(?:er|ers|rical)|spheres?|pi)", "", "3.14 22/7"),
    ("hexagon(?:s|al)?", "", "6"), ("octagon(?:s|al)?", "", "8"), ("heptagon(?:s|al)?", "", "7"),
    ("nonagon(?:s|al)?", "", "9"), ("cubes?", "(?:faces?|sides?|surface|edges?|corners?)", "6 8"),
)  # fmt: skip


def _any_of(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?i)\b(?:{'|'.join(words.split())})\b")


_KNOWN: Final = tuple(
    (_any_of(things), _any_of(beside) if beside else None, tuple(map(Fraction, numbers.split())))
    for things, beside, numbers in _FACTS
)


@lru_cache(maxsize=1024)
def known_numbers(question: str) -> frozenset[Fraction]:
    """Return common knowledge: what always is, and what the question's things bring along (a spider's legs)."""
    brought = (
        numbers
        for things, beside, numbers in _KNOWN
        if things.search(question) and (beside is None or beside.search(question))
    )
    return CONSTANTS.union(*brought)


def grounded_numbers(question: str) -> tuple[str, ...]:
    """Return, spelled, all numbers a trace may take from a question: readings of those it states, and what is known."""
    readings = (number for mention in find_numbers(question) for number in mention.readings)
    known = known_numbers(question)
    own = known - CONSTANTS
    return tuple(dict.fromkeys(map(spell, (*filter(fits, readings), *sorted(own), *sorted(CONSTANTS)))))
