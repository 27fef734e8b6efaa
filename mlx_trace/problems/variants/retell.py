"""A question's wording with other numbers and people in it: the places and the manner of the old ones are kept.

Takes text and what changes; knows nothing of whether the new problem makes sense.
"""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from random import Random
from typing import Final

from mlx_trace.language.number_words import CURRENCY
from mlx_trace.language.numbers import spell
from mlx_trace.problems import english
from mlx_trace.problems.skeleton import people
from mlx_trace.problems.synthetic.vocabulary import load_vocabulary
from mlx_trace.problems.variants.slots import DIGITS, Slot
from mlx_trace.resources import schemas_dir

_ARTICLE: Final = re.compile(rf"\b([Aa])n? ([{CURRENCY}]?)$")
_CAPITAL: Final = re.compile(r"\b[A-Z][a-z]+")
_LETTER: Final = re.compile(r"\b[B-HJ-Z]\b(?!\.)|\bletters in\b")  # "use E for Evan's dollars"
_PLAIN_THOUSANDS: Final = re.compile(r"(?<![0-9,.])[0-9]{4,}")
_PRONOUNS: Final = {"he": re.compile(r"\b(?:[Hh]e|[Hh]is|him)\b"), "she": re.compile(r"\b(?:[Ss]he|[Hh]ers?)\b")}
_OTHER: Final = {"he": "she", "she": "he"}


def renumber(question: str, slots: Sequence[Slot], changed: Mapping[Fraction, Fraction]) -> str:
    """Write the new numbers in the places and the manner of the old, and mend the article before them."""
    commas = _PLAIN_THOUSANDS.search(question) is None
    places = [(mention, changed[slot.value]) for slot in slots for mention in slot.mentions]
    for mention, value in sorted(places, key=lambda place: place[0].start, reverse=True):
        written = _write(question[mention.start : mention.end], value, commas)
        before = question[: mention.start]
        article = _ARTICLE.search(before)
        if article is not None:
            before = f"{before[: article.start()]}{article[1]}{'n' if _sounds_vowel(written) else ''} {article[2]}"
        question = before + written + question[mention.end :]
    return question


def _write(old: str, value: Fraction, commas: bool) -> str:
    """Write a number as the old one is: in digits or words, with its decimals, its commas and its percent sign."""
    match = DIGITS.fullmatch(old)
    if match is None:
        words = english.number_words(int(value))
        return words.capitalize() if old[0].isupper() else words
    whole, decimals, sign = match.groups()
    shown, _, rest = spell(value).partition(".")
    if "," in whole or (commas and len(whole) < 4):
        shown = f"{int(shown):,}"
    places = len(decimals) - 1 if decimals else 0
    return f"{shown}{'.' + rest.ljust(places, '0') if places or rest else ''}{sign or ''}"


def _sounds_vowel(written: str) -> bool:
    """Tell whether a written number begins with a vowel when spoken: eight, 11, 18, 80."""
    first = re.split(r"[,.% -]", written)[0].lower()
    return first in ("11", "18") or first.startswith(("8", "e"))


def new_names(question: str, rng: Random) -> dict[str, str]:
    """Draw new names for the people we are sure of: a first name alone, no part of a longer name, no word."""
    known = people()
    words = list(dict.fromkeys(_CAPITAL.findall(question)))
    named = [word for word in words if word in known]
    alike = any(word != name and word[:3] == name[:3] for name in named for word in words)  # Natalia, and Natalie
    if alike or _LETTER.search(question):
        return {}
    drawn: dict[str, str] = {}
    for name in named:
        pronoun = known[name]
        if _is_part(name, question) or (len(named) == 1 and _speaks_of(question, _OTHER[pronoun])):
            continue
        free = [other for other in _given()[pronoun] if other not in words and other not in drawn.values()]
        if free:
            drawn[name] = free[rng.randrange(len(free))]
    return drawn


def _speaks_of(question: str, pronoun: str) -> bool:
    """Tell whether a question has forms of one pronoun (he, she) alone."""
    return bool(_PRONOUNS[pronoun].search(question)) and not _PRONOUNS[_OTHER[pronoun]].search(question)


def _is_part(name: str, question: str) -> bool:
    """Tell whether a name is part of a longer one, of a brand or a title, or a word of the question too."""
    longer = rf"[A-Z][a-z]*\.? {name}\b|['’]s {name}\b|(?:the|-)[ -]?{name}\b|\b{name}(?: [A-Z]|s\b|['’]s [A-Z]|-)"
    apostrophe = rf"|\b{name}['’](?!s)"
    return bool(re.search(longer + apostrophe, question) or re.search(rf"\b{name.lower()}\b", question))


@lru_cache(maxsize=1)
def _given() -> dict[str, list[str]]:
    """Return names to give, by pronoun."""
    given: dict[str, list[str]] = {}
    for word in load_vocabulary(schemas_dir() / "vocab", [])["person"]:
        given.setdefault(word.pronoun or "", []).append(word.one)
    return given


def rename(question: str, names: Mapping[str, str]) -> str:
    """Put new names for old ones in a question."""
    return re.sub(rf"\b(?:{'|'.join(names)})\b", lambda match: names[match[0]], question) if names else question


def rename_variables(trace: str, names: Mapping[str, str]) -> str:
    """Put new names for old ones in the names of a trace's variables."""
    lower = {old.lower(): new.lower() for old, new in names.items()}
    pattern = rf"(?<![a-z])(?:{'|'.join(lower)})(?![a-z])"
    return re.sub(pattern, lambda match: lower[match[0]], trace) if lower else trace
