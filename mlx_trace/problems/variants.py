"""A problem with real wording, told again with other numbers and other people; the solver gives the new answer.

Takes a problem with a trace whose numbers its question states; returns variants, each verified. What is unsure stays.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

from mlx_trace.language.numbers import CONSTANTS, LIMIT, Mention, find_numbers, read_numeral, spell
from mlx_trace.language.solver import Entry, Solved, solve
from mlx_trace.language.steps import AddEntity, Consume, Init, Step, Transfer
from mlx_trace.language.syntax import NoTrace, Part, Trace, parse_document, render
from mlx_trace.problems import english
from mlx_trace.problems.audit import check_problem, trace_values
from mlx_trace.problems.problem import Problem, read_leniently, read_row
from mlx_trace.problems.vocabulary import load_vocabulary
from mlx_trace.resources import schemas_dir
from mlx_trace.seeds import stream

MOST_DRAWS: Final = 400  # without a new variant: then the problem has no more to give
_LARGEST_FACTOR: Final = Fraction(5, 2)  # by which a number grows or shrinks
_WORDS: Final = 100  # from here on number words become unwieldy
_DIGITS: Final = re.compile(r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(\.[0-9]+)?(\s?(?:%|percent|per cent))?")
_ONLY_WORDS: Final = re.compile(r"[A-Za-z]+(?:[ -][A-Za-z]+)?")
_BEFORE_FIXED: Final = re.compile(r"(?i)(?:[:/]|\b(?:19|20)|\b(?:year|grade|class|room|number|no\.|step|chapter|size|"
                                  r"january|february|march|april|may|june|july|august|september|october|november|december))\s?$")  # fmt: skip
_AFTER_FIXED: Final = re.compile(r"(?i)(?:[:/][0-9]|\s?(?:bills?|coins?|notes?)\b|\s?(?:a\.?m|p\.?m|o'clock)\b|['’]?s\b|"
                                 r"\s?(?:years? ago)?\s?(?:st|nd|rd|th)\b|-(?:sided|legged|wheel|dimensional)"
                                 r"|\s?(?:legs|wheels|sides|eyes|wings|seasons|corners)\b)")  # fmt: skip
_NOUN: Final = re.compile(r"[ -]([A-Za-z]+)")
_LIST_OF_NAMES: Final = re.compile(r"\b[A-Z][a-z]+(?:, [A-Z][a-z]+)*,? and [A-Z][a-z]+")
_MOST: Final = {  # what a number of these, if it fits in the whole at first, goes on to fit in
    "hour": 24, "hours": 24, "days": 7, "months": 12, "weeks": 52, "minutes": 60, "seconds": 60, "inches": 12, "hands": 2,
}  # fmt: skip
_LETTER: Final = re.compile(r"\b[B-HJ-Z]\b(?!\.)")
_AGES: Final = re.compile(r"(?i)\b(?:years? old|ages?|older|younger|born|birthday)\b")
_AGE_FACTOR: Final = Fraction(3, 2)


@dataclass(frozen=True, slots=True)
class Slot:
    """A number that may change: all its places in the question, which all say the same, and what it may become."""

    value: Fraction
    mentions: tuple[Mention, ...]
    choices: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A problem taken apart: its trace, what may change, what the original's steps gave."""

    problem: Problem
    trace: Trace
    slots: tuple[Slot, ...]
    profile: tuple[Fraction, ...]
    ordered: tuple[tuple[Fraction, Fraction], ...]  # pairs of the question's numbers that count one noun, the lower first


def variants(problem: Problem, count: int, seed: int = 0) -> list[Problem]:
    """Return up to `count` variants of a problem, no two with the same numbers; none if its numbers are not sure.

    Depends on the problem and the seed alone.
    """
    source = take_apart(problem)
    if source is None or not source.slots:
        return []
    rng = stream("variants", seed, problem.question)
    found: list[Problem] = []
    taken = {tuple(slot.value for slot in source.slots)}
    in_vain = 0
    while len(found) < count and in_vain < MOST_DRAWS:
        in_vain += 1
        values = _draw(source.slots, rng)
        if values in taken:
            continue
        taken.add(values)
        made = _make(source, values, rng, f"{seed}.{len(found)}")
        if made is not None:
            found.append(made)
            in_vain = 0
    return found


@dataclass(slots=True)
class Tally:
    """What telling a file's problems again came to: `full` counts those with as many variants as were wanted."""

    problems: int = 0
    grounded: int = 0
    full: int = 0
    variants: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # why lines gave none


def tell_again(path: Path, count: int, seed: int, tally: Tally) -> Iterator[Problem]:
    """Yield up to `count` variants of every grounded problem of a JSONL file; bad lines are counted by reason."""
    for name, row, fault in read_leniently(path):
        tally.problems += 1
        problem, reason = (None, fault) if row is None else _read(row, name)
        if problem is None:
            tally.reasons[reason] += 1
            continue
        tally.grounded += 1
        found = variants(problem, count, seed)
        tally.full += len(found) == count
        tally.variants += len(found)
        yield from found


def _read(row: dict[str, Any], name: str) -> tuple[Problem | None, str]:
    """Return a row's problem if its trace is grounded, else why it is of no use."""
    try:
        problem = read_row(row, name)
    except ValueError:
        return None, "not a problem"
    if problem.trace is None:
        return None, "no trace"
    if take_apart(problem) is None:
        return None, "its trace does not solve to its answer"
    if any(check_problem(problem, CONSTANTS, len(problem.question))):
        return None, "not grounded"
    return problem, ""


# --- taking a problem apart ------------------------------------------------------------------------------------


def take_apart(problem: Problem) -> Source | None:
    """Return a problem with what may change in it; None if it has no trace that solves to its answer."""
    trace = parse_document(problem.trace or "")
    if isinstance(trace, NoTrace):
        return None
    profile = _profile(trace)
    if profile is None or profile[-1] != problem.expected:
        return None
    return Source(problem, trace, tuple(_slots(problem.question, trace)), profile, tuple(_ordered(problem.question)))


def _profile(trace: Trace) -> tuple[Fraction, ...] | None:
    """Return every value a trace computes, the answer last; None if it does not run."""
    ledger: list[Entry] = []
    outcome = solve(trace, ledger)
    if not isinstance(outcome, Solved):
        return None
    return (*(value for entry in ledger for value in entry.changed.values()), outcome.answer)


def _ordered(question: str) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield pairs of numbers of one noun, the lower first: the first 9 of 10 rounds stay fewer than all of them."""
    by_noun: dict[str, list[Fraction]] = {}
    for mention in find_numbers(question):
        noun = _NOUN.match(question, mention.end)
        if noun is not None:
            by_noun.setdefault(noun[1].lower().removesuffix("s"), []).append(mention.value)
    for values in by_noun.values():
        yield from pairwise(sorted(set(values)))


def _slots(question: str, trace: Trace) -> Iterator[Slot]:
    """Yield the numbers that may change. Equal numbers change together, so it does not matter which is which."""
    mentions = find_numbers(question)
    values = list(trace_values(trace))
    listed = {Fraction(len(re.findall(r"[A-Z][a-z]+", found[0]))) for found in _LIST_OF_NAMES.finditer(question)}
    factor = _AGE_FACTOR if _AGES.search(question) else _LARGEST_FACTOR
    for value in dict.fromkeys(values):
        stating = [mention for mention in mentions if value in mention.readings]
        sure = all(mention.value == value and _may_change(question, mention, listed) for mention in stating)
        if not stating or not sure or values.count(value) > len(stating):
            continue  # it is common knowledge too, or not stated as such
        if value in CONSTANTS and value >= 7 and not _counts_like(question, stating, trace, value):
            continue
        yield _slot(question, value, tuple(stating), factor)


def _may_change(question: str, mention: Mention, listed: set[Fraction]) -> bool:
    """Tell whether a number stands alone: no date, denomination, ordinal, scale, dozen, or count of those named."""
    text = question[mention.start : mention.end]
    plain = _DIGITS.fullmatch(text) if mention.kind in ("digits", "percent") else _ONLY_WORDS.fullmatch(text)
    if plain is None or mention.kind not in ("digits", "percent", "words") or mention.value <= 1:
        return False
    if mention.kind == "words" and (mention.value in listed or mention.value == 2 or mention.value >= _WORDS
                                    or english.number_words(int(mention.value)) != text.lower().replace(" ", "-")):  # fmt: skip
        return False
    return not (_BEFORE_FIXED.search(question[max(0, mention.start - 12) : mention.start])
                or _AFTER_FIXED.match(question, mention.end)
                or (1900 <= mention.value <= 2100 and not question[mention.start - 1 : mention.start] == "$"))  # fmt: skip


def _counts_like(question: str, stating: Sequence[Mention], trace: Trace, value: Fraction) -> bool:
    """Tell whether an everyday constant is the question's own number: its name in the trace has a word from nearby."""
    names = " ".join(step.var for part in trace.parts for step in part.steps
                     if isinstance(step, Init) and step.value == value)  # fmt: skip
    near = " ".join(question[mention.end : mention.end + 40].lower() for mention in stating)
    return "_per_" not in names and any(word in near for word in re.findall(r"[a-z]{3,}", names))


def _slot(question: str, value: Fraction, mentions: tuple[Mention, ...], factor: Fraction) -> Slot:
    step = _granularity(value)
    low, high = value / factor, value * factor
    if value <= 9 and value.denominator == 1:
        low, high = Fraction(2), max(value * factor, Fraction(6))
    if any(mention.kind == "percent" for mention in mentions):
        step = Fraction(5) if value % 5 == 0 else step
        high = min(high, Fraction(95)) if value <= 95 else value
    if any(mention.kind == "words" for mention in mentions):
        high = min(high, Fraction(_WORDS - 1))
    for mention in mentions:
        following = re.match(r"[ -]([a-z]+)", question[mention.end :])
        most = _MOST.get(following[1]) if following else None
        high = min(high, Fraction(most)) if most is not None and value <= most else high
    offset = value % step
    first, last = -((low - offset) // -step), (high - offset) // step
    return Slot(value, mentions, tuple(offset + step * k for k in range(int(first), int(last) + 1)) or (value,))


def _granularity(value: Fraction) -> Fraction:
    """Return the step of numbers as round as this one: 1 for 7, 5 for 45, 50 for 800, 0.25 for 7.50, 0.01 for 7.99."""
    if value.denominator > 1:
        for step in (Fraction(1, 2), Fraction(1, 4), Fraction(1, 10), Fraction(1, 20), Fraction(1, 100)):
            if value % step == 0:
                return step
        return Fraction(1, value.denominator)
    for least, step in ((5_000_000, 1_000_000), (20_000, 1000), (2000, 100), (200, 50), (100, 10), (40, 5)):
        if value >= least and value % step == 0:
            return Fraction(step)
    return Fraction(5 if value >= 100 and value % 5 == 0 else 1)


# --- drawing ---------------------------------------------------------------------------------------------------


def _draw(slots: Sequence[Slot], rng: Random) -> tuple[Fraction, ...]:
    """Draw values for some of the slots, at least one; the others keep theirs."""
    share = rng.random()
    chosen = [rng.random() < share for _ in slots]
    chosen[rng.randrange(len(slots))] = True
    return tuple(slot.choices[rng.randrange(len(slot.choices))] if drawn else slot.value
                 for slot, drawn in zip(slots, chosen, strict=True))  # fmt: skip


def _make(source: Source, values: tuple[Fraction, ...], rng: Random, name: str) -> Problem | None:
    """Return the problem with these values and other people, if it makes as much sense as the original."""
    changed = {slot.value: value for slot, value in zip(source.slots, values, strict=True)}
    if len(set(changed.values())) < len(changed):  # two numbers would become one, and no longer tell themselves apart
        return None
    if any(changed.get(low, low) >= changed.get(high, high) for low, high in source.ordered):
        return None
    trace = _renumber(source.trace, changed)
    profile = _profile(trace)
    if profile is None or not _alike(source.profile, profile):
        return None
    original = source.problem
    question = _reword(original.question, source.slots, changed)
    text = render(trace)
    for old, new in _rename(question, rng).items():
        question = re.sub(rf"\b{old}\b", new, question)
        text = re.sub(rf"(?<![a-z]){old.lower()}(?![a-z])", new.lower(), text)
    made = original.model_copy(update={
        "id": f"{original.id}~{name}", "question": question, "answer": spell(profile[-1]), "trace": text,
        "source": f"{original.source}~{name}",
    })  # fmt: skip
    return None if any(check_problem(made, CONSTANTS, len(question))) else made


def _renumber(trace: Trace, changed: Mapping[Fraction, Fraction]) -> Trace:
    return Trace(tuple(Part(part.expert, tuple(_step(step, changed) for step in part.steps)) for part in trace.parts))


def _step(step: Step, changed: Mapping[Fraction, Fraction]) -> Step:
    if isinstance(step, Init) and step.value in changed:
        return replace(step, value=changed[step.value])
    if isinstance(step, Consume | AddEntity | Transfer) and isinstance(step.amount, Fraction) and step.amount in changed:
        return replace(step, amount=changed[step.amount])
    return step


def _alike(original: Sequence[Fraction], new: Sequence[Fraction]) -> bool:
    """Tell whether every value stays of its kind: whole, positive, below or above one, and of its magnitude."""
    return len(original) == len(new) and all(_same_kind(old, now) for old, now in zip(original, new, strict=True))


def _same_kind(old: Fraction, now: Fraction) -> bool:
    if old.denominator == 1 and now.denominator > 1:
        return False
    if old.denominator > 1 and 100 % old.denominator == 0 and 100 % now.denominator:
        return False  # dollars and cents stay dollars and cents
    if (old > 0) != (now > 0) or (old < 0) != (now < 0) or abs(now) >= LIMIT:
        return False
    return old <= 0 or ((old < 1) == (now < 1) and old / 20 <= now <= old * 20)


# --- wording ---------------------------------------------------------------------------------------------------


def _reword(question: str, slots: Sequence[Slot], changed: Mapping[Fraction, Fraction]) -> str:
    """Write the new numbers in the places and the manner of the old, and mend the article before them."""
    places = sorted(((mention, changed[slot.value]) for slot in slots for mention in slot.mentions),
                    key=lambda place: place[0].start, reverse=True)  # fmt: skip
    for mention, value in places:
        written = _write(question[mention.start : mention.end], value)
        before = question[: mention.start]
        article = re.search(r"\b([Aa])(n?) (\$?)$", before)
        if article is not None:
            sounded = "n" if _begins_with_vowel(written) else ""
            before = f"{before[: article.start()]}{article[1]}{sounded} {article[3]}"
        question = before + written + question[mention.end :]
    return question


def _write(old: str, value: Fraction) -> str:
    match = _DIGITS.fullmatch(old)
    if match is None:
        words = english.number_words(int(value))
        words = words if "-" in old or "-" not in words or " " not in old else words.replace("-", " ")
        return words.capitalize() if old[0].isupper() else words
    whole, decimals, sign = match.groups()
    places = len(decimals or ".") - 1
    text = spell(value)
    shown, _, rest = text.partition(".")
    commas = "," in whole or (value >= 10_000 and len(whole) < 5)
    shown = f"{int(shown):,}" if commas and int(shown) >= 1000 else shown
    return f"{shown}{'.' + rest.ljust(places, '0') if places or rest else ''}{sign or ''}"


def _begins_with_vowel(written: str) -> bool:
    first = re.split(r"[,.% -]", written)[0].lower()
    return first in ("11", "18") or first.startswith(("8", "e"))


@lru_cache(maxsize=1)
def _people() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the pronoun of every name we know, and names to give by pronoun."""
    vocabulary = load_vocabulary(schemas_dir() / "vocab", [])
    known = {word.one: word.pronoun or "" for words in vocabulary.values() for word in words if word.pronoun}
    given: dict[str, list[str]] = {}
    for word in vocabulary["person"]:
        given.setdefault(word.pronoun or "", []).append(word.one)
    return known, given


def _rename(question: str, rng: Random) -> dict[str, str]:
    """Return new names for people we are sure of: a first name alone, not part of a longer name or a place."""
    known, given = _people()
    if _LETTER.search(question):  # "use E for Evan's dollars"
        return {}
    words = re.findall(r"[A-Z][a-z]+", question)
    renamed: dict[str, str] = {}
    for name in dict.fromkeys(word for word in words if word in known):
        if re.search(rf"(?:[A-Z][a-z]*\.? {name}\b|\b{name} [A-Z])", question) or re.search(rf"(?i)\b{name}s\b", question):
            continue
        free = [other for other in given[known[name]] if other not in words and other not in renamed.values()]
        if free:
            renamed[name] = free[rng.randrange(len(free))]
    return renamed
