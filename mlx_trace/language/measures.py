"""What a question's numbers are measured in, what sums, products and quotients of them are, and what is asked for.

Money, time, percent, things that are counted or weighed, or a mere number, as a set: all that something may be. Nobody
adds dollars to hours or multiplies them by dollars, and how many hours something takes is no money.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache, reduce
from itertools import product as pairs
from typing import Final, Literal

from mlx_trace.language.digits import currency_before
from mlx_trace.language.knowledge import called_numbers
from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.language.number_words import CURRENCY
from mlx_trace.language.numbers import spell

Measure = Literal["money", "time", "percent", "things", "number"]
Measures = frozenset[Measure]  # what something may be measured in; nothing: it cannot be

ANY: Final[Measures] = frozenset(("money", "time", "percent", "things", "number"))
NUMBER: Final[Measures] = frozenset(("number",))
_MONEY: Final[Measures] = frozenset(("money",))
_TIME: Final[Measures] = frozenset(("time",))
_THINGS: Final[Measures] = frozenset(("things",))
_PERCENT: Final[Measures] = frozenset(("percent",))
_COINS: Final[Measures] = _MONEY | _THINGS
_PACES: Final[Measures] = _TIME | _THINGS  # minutes a page, pages a minute, and either of so many

_MONEY_NAME: Final = r"(?:dollar|cent|euro|buck)s?"
_CODE: Final = re.compile(r"\bUSD(?=\s?$)")
_BEHIND: Final = re.compile(rf"\s?([{CURRENCY}])(?!\s?\.?\d)")  # 5 $3 pens are no 5 dollars
_SIGN: Final = re.compile(rf"(?i)[{CURRENCY}¢]|\b{_MONEY_NAME}\b")
_WORDS: Final = re.compile(r"[\s-]*([a-z]+)(?:[\s-]+([a-z]+))?", re.IGNORECASE)
_MONEY_WORD: Final = re.compile(_MONEY_NAME)
_COIN: Final = re.compile(r"penn(?:y|ies)|nickels?|dimes?|quarters?|coins?|pounds?|bills?")
_TIME_WORD: Final = re.compile(r"seconds|(?:minute|min|hour|hr|day|week|month|year|decade)s?")
_SPAN: Final = re.compile(  # time, or things in it
    r"[a-z]+days?|(?:night|morning|afternoon|evening|weekend|season|semester|shift|fortnight)s?|centur(?:y|ies)"
)
_COMPARED: Final = frozenset("old older younger ago later earlier from after before long".split())  # behind a time
_PLURAL: Final = re.compile(r"[a-z]{2,}(?<!s)(?<!u)s")
_NO_NOUNS: Final = frozenset(
    "times less does others plus minus across this thus its his always besides sometimes yes perhaps towards was has as"
    .split()
)  # fmt: skip
_PER_MONEY: Final = re.compile(
    rf"(?i)\b(?:per|each|every|an?|one|1|the) (?!\w+s\b){_MONEY_NAME}\b|[{CURRENCY}]1\b(?![.,]?\d)"
)
_ONE_A_TIME: Final = re.compile(
    r"(?i)\b(?:an?|one|once)\b[^.?!\d]{0,40}\b(?:every|each|per|an?)\b[^.?!\d]{0,12}\b(?:second|minute|hour|day|week|"
    r"month|year)\b|\b(?:a|one) (?:minute|hour|day|week|month|year) each\b|\b(?:hour|dai|week|month|year)ly\b"
)

_ASKING: Final = re.compile(r"(?i)\bhow (?:many|much|long|old|far)\b|\bwhat\b")
_SENTENCE: Final = re.compile(r"(?:[^.?!]|\.(?=\d))*\?")
_ASIDE: Final = re.compile(r"(?i)\b(?:know\w*|matter|wonder\w*|regardless of|sure)\s*$")  # what is no question
_ASKED_PERCENT: Final = re.compile(r"(?i)(?:how many|what(?: is the)?) percent(?:age)?\b(?! points)")
_HOW_MANY: Final = re.compile(
    r"(?i)how many (?:(?:more|total|additional|fewer|less|extra|whole|full|other|different|of|the|his|her|their|its|"
    r"new|in|remaining) )*([a-z]+)(?: ([a-z]+))?"
)
_HOW_MUCH: Final = re.compile(
    r"(?i)how much (?:(?:more|less|total|extra|of (?:his|her|their)) )?(?:money\b|(?:d[oi]d?|does|will|would|should|"
    r"must|can|has|have|had|is|was)\b[^?.]*\b(?:costs?|pay|paid|spen[dt]|earn|earned|owe|owed|charged?|profit)\b)"
)


@lru_cache(maxsize=1024)
def measures(question: str) -> Mapping[str, Measures]:
    """Return what each number that a question states, as it is spelled, may be measured in; ANY if it does not say.

    Where something comes once a minute, minutes and things are as good as each other.
    """
    told: dict[str, Measures] = {}
    one_a_time = _ONE_A_TIME.search(question) is not None
    for mention in find_numbers(question):
        said = _measures(question, mention)
        if one_a_time and said & (_PACES | _PERCENT):
            said |= ANY - _MONEY
        for value in mention.readings:
            told[spell(value)] = told.get(spell(value), frozenset()) | said
    known = {"1", *map(spell, called_numbers(question))}  # one of anything goes without saying
    return {number: ANY if number in known else said for number, said in told.items()}


def currency(question: str, mention: Mention) -> str:
    """Return the currency beside a mention, a sign before or behind it or USD before it; "" if there is none."""
    if before := currency_before(question, mention.start):
        return before
    if code := _CODE.search(question[max(0, mention.start - 4) : mention.start]):
        return code[0]
    behind = _BEHIND.match(question, mention.end)
    return behind[1] if behind else ""


def _measures(question: str, mention: Mention) -> Measures:
    """Return what the words around a mention say that it is measured in."""
    if mention.kind == "percent":
        return _PERCENT
    if not mention.is_plain:
        return ANY
    words = _WORDS.match(question, mention.end)
    word, behind = (words[1].lower(), (words[2] or "").lower()) if words else ("", "")
    if currency(question, mention):
        return _MONEY
    return _said(word, behind)


def _said(word: str, behind: str) -> Measures:
    """Return what a word behind a number says that it is measured in; `behind` is the next: ANY in "5 hour shifts"."""
    if _COIN.fullmatch(word):
        return _COINS
    if _SPAN.fullmatch(word):
        return _PACES
    for pattern, measure in ((_MONEY_WORD, _MONEY), (_TIME_WORD, _TIME)):
        if pattern.fullmatch(word):
            is_unit = behind not in _COMPARED and (word.endswith("s") or not _is_noun(behind))
            return measure if is_unit else ANY
    if word in ("point", "points"):
        return _THINGS | _PERCENT
    return _THINGS if _is_noun(word) else ANY


def computed(operation: str, operands: Iterable[Measures | None], is_told: bool) -> Measures | None:
    """Return what add, sub, mul or div of operands may be measured in; None, of an operand too, if that is unknown.

    `is_told`: the question counts no things for each dollar, so that something is known of products.
    """
    given = list(operands)
    known = [each for each in given if each is not None]
    if operation in ("add", "sub"):
        return total(known)
    if len(known) < len(given) or not is_told:
        return None
    return product(known) if operation == "mul" else quotient(known[0], known[-1])


def total(operands: Iterable[Measures]) -> Measures:
    """Return what a sum or difference may be measured in: all that is no mere number says so, and must agree."""
    said = [operand for operand in operands if "number" not in operand]
    return frozenset.intersection(*said) if said else ANY


def product(operands: Iterable[Measures]) -> Measures:
    """Return what a product may be measured in: money only with what is none."""
    return reduce(_product, operands)


@lru_cache(maxsize=4096)
def _product(first: Measures, second: Measures) -> Measures:
    return frozenset().union(*(_multiplied(one, other) for one, other in pairs(first, second)))


def _multiplied(first: Measure, second: Measure) -> Measures:
    for scalar in ("number", "percent"):
        if scalar in (first, second):
            return frozenset([second if first == scalar else first])
    if "money" in (first, second):
        return _MONEY if first != second else frozenset()
    return _PACES if first != second else frozenset([first])


@lru_cache(maxsize=4096)
def quotient(first: Measures, second: Measures) -> Measures | None:
    """Return what a quotient may be measured in; None if that cannot be told, as of things for each dollar."""
    if second == _MONEY and first != _MONEY:
        return None
    return frozenset().union(*(_divided(one, other) for one, other in pairs(first, second)))


def _divided(first: Measure, second: Measure) -> Measures:
    if first == second != "number":
        return ANY - _MONEY
    if second in ("number", "percent"):
        return frozenset([first])
    if first == "money":
        return _MONEY
    return _PACES if {first, second} == _PACES else ANY


def counts_per_money(question: str) -> bool:
    """Tell whether a question may say how many things there are for each dollar, which times dollars are things."""
    return _PER_MONEY.search(question) is not None


@lru_cache(maxsize=1024)
def asked(question: str) -> Measures:
    """Return what a question's last interrogative asks for: how many hours, time; ANY if it does not say."""
    starts = [match.start() for match in _ASKING.finditer(question)]
    if not starts or counts_per_money(question) or _ASIDE.search(question[max(0, starts[-1] - 20) : starts[-1]]):
        return ANY
    sentence = _SENTENCE.match(question, starts[-1])
    if sentence is None:
        return ANY
    text = " ".join(sentence[0].split())
    if _ASKED_PERCENT.match(text):
        return ANY if "100" in measures(question) else _PERCENT
    if many := _HOW_MANY.match(text):
        return _asked_things(question, many[1].lower(), (many[2] or "").lower())
    is_money = _HOW_MUCH.match(text) and _SIGN.search(question) and "percent" not in text
    return _MONEY if is_money else ANY


def _asked_things(question: str, word: str, behind: str) -> Measures:
    """Return what is asked for by "how many" and the two words behind it."""
    if any(pattern.fullmatch(behind) for pattern in (_TIME_WORD, _MONEY_WORD, _COIN, _SPAN)):
        return ANY
    said = _said(word, behind)
    if said == ANY and _is_noun(behind):
        said = _THINGS
    if said not in (_MONEY, _TIME, _THINGS):
        return ANY
    if said != _MONEY and _ONE_A_TIME.search(question):
        return ANY - _MONEY
    return said | NUMBER if said == _THINGS else said


def _is_noun(word: str) -> bool:
    """Tell whether a word is a plural, of something that is counted."""
    return _PLURAL.fullmatch(word) is not None and word not in _NO_NOUNS
