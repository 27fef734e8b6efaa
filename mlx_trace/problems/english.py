"""English for generated questions: plurals, articles, number words, and a lint that finds what went wrong.

Built on `inflect`; knows nothing of schemas. All functions take and return text.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from mlx_trace.language.numbers import spell


@lru_cache(maxsize=1)
def _engine() -> Any:
    with _unchecked():
        import inflect  # only needed once something is worded

    return inflect.engine()


@contextmanager
def _unchecked() -> Iterator[None]:
    """Keep typeguard from compiling anew, at its import, each function of a module, to check what it is given.

    That takes inflect 4 s; without it, the same is returned.
    """
    try:
        typeguard: Any = import_module("typeguard")
    except ImportError:
        yield
        return
    checking = typeguard.typechecked
    typeguard.typechecked = lambda function: function
    try:
        yield
    finally:
        typeguard.typechecked = checking


@lru_cache(maxsize=8192)
def plural(noun: str) -> str:
    """Return the plural of a noun phrase: its last word, or the word before `of` in `box of pens`."""
    head, of, rest = noun.partition(" of ")
    before, space, word = head.rpartition(" ")
    return f"{before}{space}{_engine().plural_noun(word)}{of}{rest}"


_LEADING_NUMBER: Final = re.compile(r"\$?([0-9][0-9,]{0,14})")


@lru_cache(maxsize=8192)
def article(phrase: str) -> str:
    """Return the phrase with its indefinite article: an apple, a unit, an 8, an $80 coat."""
    number = _LEADING_NUMBER.match(phrase)
    spoken = number_words(int(number[1].replace(",", ""))) if number else phrase  # 8 is spoken eight
    return f"{_engine().a(spoken).split(' ')[0]} {phrase}"


@lru_cache(maxsize=1024)
def number_words(number: int) -> str:
    """Return a whole number in words: forty-two."""
    return str(_engine().number_to_words(number, andword=""))


def money(amount: Fraction) -> str:
    """Return an amount of dollars as $7 or $7.50, with thousands commas."""
    cents = amount * 100
    if cents.denominator != 1:
        raise ValueError(f"${spell(amount)} is not a whole number of cents")
    return f"${amount.numerator:,}" if amount.denominator == 1 else f"${cents.numerator / 100:,.2f}"


_TIMES: Final = {2: "twice", 3: "three times", 4: "four times", 5: "five times", 6: "six times", 10: "ten times"}
_FOLD: Final = {2: "doubled", 3: "tripled", 4: "quadrupled", 5: "quintupled"}
_PART: Final = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth", 6: "a sixth", 8: "an eighth", 10: "a tenth"}


def times(factor: Fraction) -> str:
    """Return twice, three times, 12 times, 1.5 times; half as a factor is half."""
    if factor.numerator == 1 and factor.denominator in _PART:
        return _PART[factor.denominator]
    return _TIMES[int(factor)] if factor in _TIMES else f"{spell(factor)} times"


def fold(factor: Fraction) -> str:
    """Return doubled, tripled, …; ValueError where English has no such word."""
    if factor not in _FOLD:
        raise ValueError(f"there is no word for {spell(factor)}-fold; those are {', '.join(_FOLD.values())}")
    return _FOLD[int(factor)]


def part(divisor: Fraction) -> str:
    """Return half, a third, …: one of `divisor` equal parts; ValueError where there is no such word."""
    if divisor not in _PART:
        raise ValueError(f"there is no word for 1/{spell(divisor)}; those are {', '.join(_PART.values())}")
    return _PART[int(divisor)]


_SENTENCE: Final = re.compile(r'(^|[.!?]["”]?\s+)([a-z])')


def capitalise_sentences(text: str) -> str:
    """Return the text with every sentence beginning in upper case."""
    return _SENTENCE.sub(lambda match: match[1] + match[2].upper(), text)


# --- the lint --------------------------------------------------------------------------------------------------

_NUMBER_WORD: Final = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    "|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred"
)
_PATTERNS: Final = [
    ("two spaces", re.compile(r"\S  +\S|\n")),
    ("space before punctuation", re.compile(r"\s[,.;:?!](?:\s|$)")),
    ("space at an end", re.compile(r"^\s|\s$")),
    ("sentence in lower case", re.compile(r'(?:^|[.!?]["”]?\s+)[a-z]')),
    ("no full stop or question mark at the end", re.compile(r'[^.?!"”]$')),
    ("doubled punctuation", re.compile(r"[,;:.?!][,;:.?!]")),
    ("unfilled template", re.compile(r"[{}\[\]<>|@_]|\$(?![0-9])")),
    ("number word with a sign", re.compile(rf"(?i)\b(?:{_NUMBER_WORD})(?:%|/[0-9])|\$(?:{_NUMBER_WORD})\b")),
    ("money with one decimal", re.compile(r"\$[0-9,]+\.[0-9](?![0-9])|\$[0-9,]+\.[0-9]{3}")),
    ("money ending in .00", re.compile(r"\$[0-9,]+\.00\b")),
    ("dollars twice", re.compile(r"\$[0-9,.]+ dollars?\b")),
    ("repeated word", re.compile(r"(?i)\b([a-z]+) \1\b(?<!\bthat that)(?<!\bhad had)")),
    ("verb agreement", re.compile(r"(?i)\b(?:they|we|you) (?:has|is|was|does|doesn't)\b")),
    ("verb agreement", re.compile(rf"(?i)\bthere (?:is|was) (?:[2-9]|[0-9]{{2,}}|(?!one\b)(?:{_NUMBER_WORD})\b)")),
    ("verb agreement", re.compile(r"(?i)\bthere (?:are|were) (?:1|one|an?) "
                                  r"(?!hundred|thousand|dozen|few|total|lot|number)")),
    ("unit of one in the plural", re.compile(r"(?i)(?<![0-9.,$/-])\b(?:1|one) (?:[a-z]+ )?(?:hours|minutes|days|weeks|"
                                             r"months|years|miles|dollars|cents|people|boxes|times)\b")),
]  # fmt: skip
_HE_HAVE: Final = re.compile(
    r"(?i)\b(?P<auxiliary>(?:do|does|did|will|would|can|could|should|must|may|might|to|let|help)n?(?:'t)? )?"
    r"(?:he|she|it) (?:have|are|were|do|don't|need|want|buy|sell|make|give|get|go|keep|use|pay|earn|own)\b"
)
_ARTICLE: Final = re.compile(r"\b([Aa]n?) (\$?[A-Za-z0-9][A-Za-z0-9'.,-]*)")
_COUNTED: Final = re.compile(rf"(?i)(?<![0-9.,$/%-])\b([0-9][0-9,]*(?:\.[0-9]+)?|{_NUMBER_WORD}) ([a-z]+)\b(?![-'])")


def lint(text: str, nouns: dict[str, str]) -> Iterator[str]:
    """Yield every fault of a question's English. `nouns` maps singular to plural, of those that may be counted."""
    plurals = set(nouns.values())
    for name, pattern in _PATTERNS:
        if match := pattern.search(text):
            yield f"{name}: {match[0].strip() or match[0]!r}"
    for match in _HE_HAVE.finditer(text):
        if not match["auxiliary"]:
            yield f"verb agreement: {match[0]}"
    for match in _ARTICLE.finditer(text):
        if not _right_article(match[1].lower(), match[2]):
            yield f"article: {match[0]}"
    for match in _COUNTED.finditer(text):
        is_single = match[1].lower() in ("1", "one")
        word = match[2].lower()
        if (is_single and word in plurals and word not in nouns) or (not is_single and _must_be_plural(word, nouns)):
            yield f"number and noun: {match[0]}"
    for word in dict.fromkeys(re.findall(r"[a-z]+", text)):
        if _wrong_plural(word, nouns, plurals):
            yield f"plural: {word}"


def _must_be_plural(word: str, nouns: dict[str, str]) -> bool:
    return word in nouns and nouns[word] != word


def _right_article(given: str, word: str) -> bool:
    bare = word.rstrip(".,")
    return not bare or article(bare).split(" ")[0] == given


def _wrong_plural(word: str, nouns: dict[str, str], plurals: set[str]) -> bool:
    """Tell whether a word is a noun of the vocabulary with a plural ending that is not its own."""
    for ending in ("s", "es"):
        noun = word.removesuffix(ending)
        if noun != word and noun in nouns and nouns[noun] != word and word not in nouns:
            return True
    return word.endswith("ss") and word[:-1] in plurals
