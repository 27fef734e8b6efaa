"""An answer as people write it → the one number it states: $2.5K, 2 1/2 hours, 7 (apples), half a million, -5.

Takes a text that is an answer and nothing else. What may be read in two ways is not read.
"""

import re
from fractions import Fraction
from typing import Final

from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.language.number_words import CURRENCY, FINER, MULTIPLIERS, PARTS
from mlx_trace.language.numbers import fits, read_numeral

MOST_CHARACTERS: Final = 100  # of an answer; a longer text is no number
_CODE: Final = r"(?:(?:US|CA|A|C|NZ|HK|R) ?)?\$|USD|EUR|GBP|CAD|AUD|INR|JPY|CNY|Rs\.?"
_BEFORE: Final = re.compile(
    rf"(?:[A-Za-z] ?= ?|= ?)?(?P<sign>[-−–+] ?|minus |negative )?(?P<money>[{CURRENCY}]|{_CODE})? ?(?P<inner>[-−–])?"
)
_AFTER: Final = re.compile(
    rf"\s?(?P<unit>[{CURRENCY}¢]|(?:/(?=[A-Za-z]))?[A-Za-z°º][A-Za-z°º²³/'’. -]*)?\s?(?P<aside>\([^()]*\))?\s?\.?",
    re.ASCII,
)
_PLAIN: Final = re.compile(r"[+-]?[0-9]{1,30}")
_UNDECIDED: Final = frozenset(
    "K k M MM B T b mil mils mill mills bil bils trill cr Cr CR grand thou doz gross score scores tens ones "
    "squared cubed x y z n e E i pi O o".split()
)  # 5 M: meters, millions?
_CHANGING: Final = frozenset("negative below repeating recurring".split())  # 5 (negative), 0.3 repeating: not 5, 0.3
_POINT: Final = re.compile(
    r"[1-9][0-9]{0,2}\.[0-9]{2}(?:0|(?P<rest>[0-9]))(?![0-9]|[.,][0-9])"
)  # thousands or decimals?
_NO_UNITS: Final = frozenset("or to and minus plus over by point thru through vs versus mod per".split())
_COUNTED: Final = frozenset(
    "pair pairs couple couples duos trios quartets quintets twins triplets quadruplets quintuplets".split()
)  # as units
_LETTERS: Final = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion"}
_HOW_MANY: Final = re.compile(r"\b(?:how (?:many|much)|in)\b([^.?!0-9]{0,40})")
_POINTED: Final = tuple("$£¥₹")  # currencies of lands where a comma parts no decimals
_COMMA: Final = re.compile(r"[0-9],[0-9]{1,2}$")
_TWO: Final = re.compile(r", |^[0-9]+,[0-9]{1,2}$")  # 6, 760 and 3,5
_PARTS: Final = PARTS | FINER
_WORD: Final = re.compile(r"[a-z]+")
_UNITS: Final = (  # of a kind; each with its spellings
    "cents cent ¢ pennies, dollars dollar $ bucks",
    "seconds second secs, minutes minute mins min, hours hour hrs hr, days day, weeks week, months month, years year",
    "inches inch, feet foot ft, yards yard yd, miles mile, mm, cm centimeters centimetres, meters meter metres m, "
    "km kilometers kilometer kilometres",
    "ounces ounce oz, pounds pound lbs lb, tons ton, grams gram g, kg kgs kilograms kilogram",
    "cups cup, pints pint, quarts quart, gallons gallon, ml milliliters millilitres, liters liter litres l",
)
_MEASURED: Final = {
    word: (kind, unit.split()[0])
    for kind, units in enumerate(_UNITS)
    for unit in units.split(", ")
    for word in unit.split()
}
_NAMES: Final = "|".join(word for word in _MEASURED if len(word) > 1)
_ANSWERED: Final = re.compile(r"\s*[-−]?(?P<sign>\$)?[0-9][0-9,./ ]*\s?\(?(?P<unit>[A-Za-z]+\b|¢)?")
_ASKED: Final = re.compile(
    r"(?i)\bhow many (?:(?:total|more|fewer|less|full|whole|extra|additional) )?"
    rf"({_NAMES})\b|\bin ({_NAMES})(?= ?[?,.])"
)
_ELSEWHERE: Final = re.compile(r"\D*[0-9]+(?:(?:[.\s'’][0-9]{3})+(?:,[0-9]+)?|,[0-9]+)\D*")  # 7,5 and 1 005
_COINS_OR_PARTS: Final = ("quarter", "quarters", "halves")


def read_amount(text: str) -> Fraction | None:
    """Read an answer: with thousands commas or blanks, a currency or percent sign, multipliers, a unit; else None.

    A percent is its rate (20% is 20). What can be read in two ways ("5 M", "3 quarters", "6, 760"), holds two numbers,
    or is larger than a trace may hold gives None.
    """
    text = text.strip()
    if len(text) > MOST_CHARACTERS:
        return None
    if _PLAIN.fullmatch(text):
        return read_numeral(text)
    mentions = find_numbers(text)
    if not mentions:
        return None
    mention = mentions[0]
    before, after = _BEFORE.fullmatch(text, 0, mention.start), _AFTER.fullmatch(text, mention.end)
    if before is None or after is None or not fits(mention.value):
        return None
    money = before["money"] or after["unit"] in tuple(CURRENCY)
    point = _POINT.match(text, mention.start)
    is_thousands = point is not None and point.end() == mention.end and mention.also == (mention.value / 1000,)
    if point is not None and (point["rest"] is None or is_thousands):  # 1.200, €1.234
        return None
    is_money = bool(money) and not (money in _POINTED and _COMMA.search(text, mention.start, mention.end))
    if not _is_sure(text[mention.start : mention.end], mention, is_money, after["unit"] or ""):
        return None
    behind = _WORD.findall(text[mention.end :].lower())
    if not _CHANGING.isdisjoint(behind) or not MULTIPLIERS.keys().isdisjoint(behind):  # 5 (in thousands)
        return None
    if any(
        not _is_unit(text, other) for other in mentions[1:] if other.start < after.start("aside") or not after["aside"]
    ):
        return None
    number = abs(mention.value)
    if after["aside"] and find_numbers(after["aside"]) and read_amount(after["aside"][1:-1]) != number:
        return None
    sign = (before["sign"] or "").strip()
    below = mention.value < 0 and not sign and before["inner"] is None  # 5 degrees below zero
    is_negative = (sign not in ("", "+")) != (before["inner"] is not None) or below
    return -number if is_negative else number


def counts_in(answer: str, question: str) -> str:
    """Return the multiplier in which both an answer and what is asked for are counted: how many dozen? 12 dozen."""
    words = _WORD.findall(answer.lower()) if len(answer) <= MOST_CHARACTERS else []
    units = [unit for word in words if (unit := _LETTERS.get(word, word).removesuffix("s")) in MULTIPLIERS]
    if not units:
        return ""
    asked = {word.removesuffix("s") for how in _HOW_MANY.findall(question.lower()) for word in _WORD.findall(how)}
    return next((unit for unit in units if unit in asked), "")


def other_unit(answer: str, question: str) -> tuple[str, str] | None:
    """Return an answer's unit and the one asked for, where they are others of a kind: 90 minutes to how many hours.

    The answer is a number of either then: nobody can tell which.
    """
    match = _ANSWERED.match(answer) if len(answer) <= MOST_CHARACTERS else None
    unit = _MEASURED.get((match["sign"] or match["unit"] or "").lower().removesuffix(".")) if match else None
    if unit is None:
        return None
    asked = [_MEASURED[word.lower()] for words in _ASKED.findall(question) for word in words if word]
    return None if unit in asked else next(((unit[1], other[1]) for other in asked if other[0] == unit[0]), None)


def number_hint(answer: str) -> str:
    """Return how a number is written that is written otherwise elsewhere: 7,5 and 1 005."""
    if not _ELSEWHERE.fullmatch(answer.strip()):
        return ""
    return ", or can be read in two ways; a point stands before decimals, and commas or nothing between thousands"


def _is_sure(written: str, mention: Mention, is_money: bool, unit: str) -> bool:
    """Tell whether a number can be read in one way only."""
    words, first = written.lower().split(), (unit.split() or [""])[0]
    if mention.kind == "relation" or words == ["third"] or (mention.kind == "ordinal" and not written[0].isdigit()):
        return False
    if (
        mention.kind == "fraction"
        and written[0].isdigit()
        and ("-" in written or not _PARTS.keys().isdisjoint(words[1:2]))
    ):
        return False  # 2-1/2, 2 thirds
    if mention.kind == "digits" and ("/" in written or (_TWO.search(written) and not is_money)):
        return False
    if not is_money and written.endswith(("M", "B")):
        return False
    if words[-1] not in MULTIPLIERS and first != "of" and any(word in _COINS_OR_PARTS for word in words):
        return False
    return first.rstrip(".") not in (*_UNDECIDED, *_NO_UNITS) and "couple" not in words


def _is_unit(text: str, mention: Mention) -> bool:
    """Tell whether a number word only names what is counted: 5 pairs."""
    return text[mention.start : mention.end].lower() in _COUNTED
