"""What everybody knows without being told, in one place: for the compiler, for grounding while decoding, for audits.

Takes a question; returns numbers that a trace may hold though the question does not state them.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.number_words import CURRENCY
from mlx_trace.language.numbers import fits, spell

# Days of a week, minutes of an hour, cents of a dollar, sides and scales.
_CONSTANTS: Final = (
    "0 1 2 3 4 5 7 10 12 14 16 24 28 30 31 36 50 52 60 90 100 180 360 365 366 1000 1760 2000 3600 5280 "
    "1/2 1/3 1/4 3/4 0.01"
)
CONSTANTS: Final = frozenset(map(Fraction, _CONSTANTS.split()))

# What is known of the things that a question names: those, what has to be named beside them, each number with its name.
_COINS: Final = "coins? cents? dollars? dimes? nickels? pennies penny change bills? money"
_LIMBS: Final = "legs? eyes? feet arms? tentacles? shoes socks"
_FACTS: Final = (
    ("quarters?", _COINS, "25 cents_per_quarter, 0.25 dollars_per_quarter"),
    ("dimes?", "", "10 cents_per_dime, 0.1 dollars_per_dime"),
    ("nickels?", "", "5 cents_per_nickel, 0.05 dollars_per_nickel"),
    ("half-dollars?", "", "50 cents_per_half_dollar"),
    ("spiders? tarantulas? octopus(?:es)? octopi scorpions? ticks?", _LIMBS, "8 legs_each"),
    ("insects? ants? bees? wasps? beetles? bugs? fl(?:y|ies) butterfl(?:y|ies) dragonfl(?:y|ies) ladybugs? moths? "
     "crickets? grasshoppers? mosquito(?:e?s)? cockroach(?:es)?", _LIMBS, "6 legs_each"),
    ("crabs? lobsters? squids?", _LIMBS, "8 legs_each, 10 legs_each"),
    ("circles? circular circumference radius diameter cylind(?:er|ers|rical) spheres? pi", "", "3.14 pi, 22/7 pi"),
    ("hexagon(?:s|al)?", "", "6 sides_per_hexagon"), ("octagon(?:s|al)?", "", "8 sides_per_octagon"),
    (r"gross\sof", "", "144 pieces_per_gross"),
    ("heptagon(?:s|al)?", "", "7 sides_per_heptagon"), ("nonagon(?:s|al)?", "", "9 sides_per_nonagon"),
    ("cubes?", "faces? sides? surface", "6 faces_per_cube"),
)  # fmt: skip

# Words that call for numbers that they do not state, what has to be named beside them, and those numbers.
_DAYS: Final = "days? daily nights? nightly mornings? everyday (?:sun|mon|tues|wednes|thurs|fri|satur)days?"
_MONTHS: Final = "january february march april may june july august september october november december"
_YEARS: Final = "years? yearly annual(?:ly)? decades? age old"
_CALLS: Final = (
    ("minutes? mins?", r"hours? hourly mph [ap]\.?m o'clock days?", "60"), ("seconds?", "minutes? hours?", "60"),
    ("hours?", r"o'clock [ap]\.?m", "60 12"), ("noon midnight", "", "12"), ("seconds?", "hours? hourly", "3600"),
    ("half", "hours?", "30"), ("half-hours?", "", "30"), ("hours? hourly", f"{_DAYS} overnight weeks?", "24"),
    ("weeks? weekly weekends?", f"{_DAYS} hours?", "7"), ("weeks?", "", "7"), ("fortnights?", "", "14 2"),
    (r"(?:two|2)[-\s]weeks?", "", "14"), ("weekends?", "", "2"), ("weekends? weekdays?", "", "5"),
    ("work[a-z]* school office", "days? daily weeks? weekly", "5"), ("monday", "friday", "5"),
    ("weeks? weekly workweeks? fortnights? (?:sun|mon|tues|wednes|thurs|fri|satur)days?", "months? monthly", "4"),
    ("weeks? weekly weekends? weekdays? (?:sun|mon|tues|wednes|thurs|fri|satur)days", _YEARS, "52"),
    ("months? monthly", _YEARS, "12"), ("dozens?", "", "12"), ("inch(?:es)?", "feet foot", "12"),
    (_DAYS, _YEARS, "365"), ("leap", "", "366 29"), (f"months? monthly {_MONTHS}", _DAYS, "30 31"),
    (_MONTHS, "", "30 31"), ("february", "", "28"), ("decades?", "", "10"), ("century centuries", "", "100"),
    ("percent(?:age)? cents? penn(?:y|ies) dimes? nickels?", "", "100 0.01"), ("quarters?", _COINS, "100 0.01"),
    ("cm centimet(?:er|re)s?", "m met(?:er|re)s?", "100 0.01"),
    ("cups?", "pints?", "2"), ("pints?", "quarts?", "2"), ("cups? quarts?", "quarts? gallons?", "4"),
    ("pints?", "gallons?", "8"), ("ounces? oz", "cups?", "8"), ("cups?", "gallons?", "16"),
    ("ounces? oz", "pounds? lbs?", "16"), ("pounds? lbs?", "tons?", "2000"), ("feet foot", "yards?", "3"),
    ("inch(?:es)?", "yards?", "36"), ("feet foot", "miles?", "5280"), ("yards?", "miles?", "1760"),
    ("(?:kilo|milli)(?:grams?|lit(?:er|re)s?|met(?:er|re)s?) kgs? km ml mg mm kilos? tons? tonnes?", "", "1000"),
    ("halfway doubling both couples parents? ways? round return back opposite even "
     "evenly equal(?:ly)? either other another each averag[a-z]+", "", "2"),
    ("more fewer less older younger taller longer heavier", "than as", "2"),
    ("beat beats won wins lead leads ahead", "by", "2"), (r"second next in\sturn alternat[a-z]+ home\sagain", "", "2"),
    (r"(?:for|to)\s(?:every|each)", "", "1"),
    ("triang[a-z]+ twice tricycles?", "", "3"), ("averag[a-z]+ mean same", "", "2 3 4 5"),
    ("squares? rectang[a-z]+ quadrupl[a-z]+ sides? perimeter fence[a-z]* walls?", "", "2 4"),
    ("legs? wheels? eyes? ears? arms? hands? feet wings? (?:motor|bi)cycles? bikes?", "", "2"),
    ("legs? wheels? tires? paws?", "", "4"), ("seasons? suits?", "", "4"),
    ("angles? triangles? degrees?", "", "180 90"), ("degrees? circles? rotat[a-z]+", "", "360"), ("decks?", "", "52"),
    ("percent(?:age)? less fraction remain[a-z]* rest half thirds? fourths? quarters? fifths? sixths? sevenths? "
     "eighths? ninths? tenths? discount off (?:him|her|it|your|my)self themselves includ[a-z]+ another one once times "
     "twice thrice next last siblings? brothers? sisters? friends? shar[a-z]+ splits?", "", "1"),
)  # fmt: skip
_SIGNS: Final = ((re.compile("%"), "100 1"), (re.compile("¢"), "100 0.01"), (re.compile("[0-9]/[0-9]"), "1"))
_BELOW_ZERO: Final = (
    "below negative minus degrees? temperatures? thermometers? fahrenheit celsius debts? deficits? overdr[a-z]+ "
    "loss(?:es)? depths? altitudes? elevations? underground basements?"
)
# What is shared, compared, measured, paid or told of in parts, so that it may come to less than one.
_BELOW_ONE: Final = (
    "percent(?:age)? fractions? proportions? probab[a-z]+ chances? odds likely random(?:ly)? expect[a-z]* ratios? "
    "rates? scales? averag[a-z]+ mean times half halves thirds? quarters? fourths? fifths? sixths? sevenths? eighths? "
    "ninths? tenths? hundredths? parts? portions? pieces? shar[a-z]+ split[a-z]* divid[a-z]+ cut[a-z]* slic[a-z]+ "
    "among between pizzas? cakes? pies? hours? minutes? seconds? days? weeks? months? years? dollars? cents? pennies "
    "dimes? nickels? pric[a-z]+ costs? money pay[a-z]* paid earn[a-z]* spen[a-z]+ pounds? lbs? ounces? oz kilos? "
    "gallons? quarts? pints? cups? (?:table|tea)?spoons? miles? feet foot inch(?:es)? yards? acres? square area tons? "
    "tonnes? mph fast speed [kcm]?[gml] (?:kilo|centi|milli)?(?:grams?|lit(?:er|re)s?|met(?:er|re)s?)"
)
_PARTED: Final = re.compile(f"[{CURRENCY}%¢]|[0-9][./][0-9]")


def _any_of(words: str) -> re.Pattern[str]:
    """Return a pattern that finds any of some words; of none, anything."""
    return re.compile(rf"(?i)\b(?:{'|'.join(words.split())})\b" if words else "")


_KNOWN: Final = tuple(
    (
        _any_of(things),
        _any_of(beside),
        [(Fraction(number), name) for number, name in map(str.split, numbers.split(", "))],
    )
    for things, beside, numbers in _FACTS
)
_CALLING: Final = tuple(
    (words, beside, frozenset(map(Fraction, numbers.split())))
    for words, beside, numbers in (
        *((_any_of(words), _any_of(beside), numbers) for words, beside, numbers in _CALLS),
        *((sign, _any_of(""), numbers) for sign, numbers in _SIGNS),
    )
)
_SUGGESTING: Final = tuple(
    (words, frozenset(map(Fraction, numbers.split())))
    for words, numbers in (*((_any_of(f"{words} {beside}"), numbers) for words, beside, numbers in _CALLS), *_SIGNS)
)
_BELOW: Final = _any_of(_BELOW_ZERO)
_WITH_PARTS: Final = _any_of(_BELOW_ONE)


@lru_cache(maxsize=1024)
def known_names(question: str) -> dict[Fraction, str]:
    """Return what the question's things bring along, each number with its name: a spider's legs, a dime's cents."""
    return {
        number: name
        for things, beside, facts in _KNOWN
        if things.search(question) and beside.search(question)
        for number, name in facts
    }


def known_numbers(question: str) -> frozenset[Fraction]:
    """Return common knowledge: what always is, and what the question's things bring along."""
    return CONSTANTS.union(known_names(question))


@lru_cache(maxsize=1024)
def called_numbers(question: str) -> frozenset[Fraction]:
    """Return the common knowledge that a question's words call for: minutes and hours, 60; a percentage, 100."""
    called = (numbers for words, beside, numbers in _CALLING if words.search(question) and beside.search(question))
    return frozenset(known_names(question)).union(*called)


@lru_cache(maxsize=1024)
def suggested_numbers(text: str) -> frozenset[Fraction]:
    """Return the common knowledge that some word of a text has to do with, beside whatever else: hours, 60 and 24."""
    suggested = (numbers for words, numbers in _SUGGESTING if words.search(text))
    return frozenset(known_names(text)).union(*suggested)


def may_be_negative(question: str) -> bool:
    """Tell whether something in a question may stand below zero: a temperature, a debt, a depth."""
    return _BELOW.search(question) is not None


def may_be_fraction(question: str) -> bool:
    """Tell whether something in a question may be less than one: a share, a price, a measure, a chance."""
    return _PARTED.search(question) is not None or _WITH_PARTS.search(question) is not None


def grounded_numbers(question: str) -> tuple[str, ...]:
    """Return, spelled, all numbers a trace may take from a question: readings of those it states, and what is known."""
    readings = (number for mention in find_numbers(question) for number in mention.readings)
    brought = sorted(known_names(question))
    return tuple(dict.fromkeys(map(spell, (*filter(fits, readings), *brought, *sorted(CONSTANTS)))))
