"""A fact that does not matter, told in a problem: its trace stays, and one number more stands in its question.

Takes a problem and sentences of others; returns the problem with one sentence more, or None where none is safe.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from random import Random
from typing import Final

from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.solver import Entry, Solved, solve
from mlx_trace.language.syntax import NoTrace, parse_document
from mlx_trace.problems.audit import trace_values
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.sentences import sentences_of
from mlx_trace.problems.skeleton import people
from mlx_trace.problems.synthetic.vocabulary import Vocabulary, load_vocabulary
from mlx_trace.resources import schemas_dir
from mlx_trace.seeds import stream


@dataclass(frozen=True, slots=True)
class _Form:
    """A wording of ours: {other} is somebody new, {person} the only one of the question, {n} the number."""

    text: str
    low: int
    high: int
    things: tuple[str, ...] = ()  # vocabularies that {things} comes from
    apart: str = ""  # words that the question must not have


_AGES: Final = (
    "old age ages older younger oldest youngest birthday born year years grade baby toddler little young boy girl kid "
    "kids child children school"
)
_TIMES: Final = "minute minutes hour hours time times long longer late early clock takes took"
_FORMS: Final = (
    _Form("{person} is {n} years old.", 11, 39, apart=_AGES),
    _Form("{person} turned {n} this spring.", 11, 39, apart=_AGES),
    _Form("{person} lives at number {n}.", 3, 90, apart="number lives house street"),
    _Form("{other}, who lives next door, is {n} years old.", 11, 70, apart=_AGES),
    _Form("{other} lives next door and keeps {n} {things}.", 3, 40, ("animal",)),
    _Form("At home, {other} has a drawer with {n} {things} in it.", 3, 60, ("stationery", "collectible")),
    _Form("{other} has {n} {things} on a shelf.", 3, 60, ("toy", "book", "handmade")),
    _Form("Yesterday {other} ate {n} {things}.", 2, 9, ("fruit", "snack")),
    _Form("In a garden nearby, {n} {things} are in bloom.", 6, 80, ("plant",)),
    _Form("It is {n} degrees outside.", 3, 35, apart="degrees degree temperature warm warmer cold colder hot snow"),
    _Form("A poster on the wall shows {n} {things}.", 3, 30, ("animal", "fruit"), apart="poster wall posters"),
    _Form("The bus to town stops {n} times on its way.", 3, 25, apart=f"bus stops buses trip {_TIMES}"),
    _Form("The radio is playing a song that is {n} years old.", 3, 60, apart=f"song songs radio {_AGES}"),
    _Form("There is a clock on the wall that is {n} minutes slow.", 3, 25, apart=_TIMES),
)
_AT_A_PLACE: Final = re.compile(r" (?:in|on|at) ")
_POINTING: Final = re.compile(
    r"(?i)\b(?:he|she|it|they|them|him|her|his|hers|its|their|theirs|this|that|these|those|there|then|here|same|such|"
    r"another|others?|both|former|latter|also|too)\b"
)
_GOING_ON: Final = re.compile(
    r"(?:But|However|So|And|Or|If|Then|Now|Next|Later|After|During|While|When|Afterwards?|Only)\b"
)
_SHORT: Final = re.compile(  # how many of what was said before
    r"(?i)\bhow (?:many|much) (?:more |of )?(?:did|do|does|are|were|was|is|will|would|has|have|can|could|in|there)\b"
)
_TOGETHER: Final = re.compile(  # a question that another's things might be part of
    r"(?i)\b(?:they|them|their|we|us|our|all|everyone|everybody|each|together|total|totals|altogether|combined|average|"
    r"between|sum|people|friends?|neighbou?rs?)\b"
)
_CONTENT: Final = re.compile(r"[a-z]{4,}")
_COMMON: Final = frozenset("have with that each many much more than from does will them they were been into".split())
_MOST_WORDS: Final = 12  # of a sentence from another problem
_TRIES: Final = 8
_OWN_SHARE: Final = 0.5  # of facts in our own wording, where others' sentences are at hand


def distract(problem: Problem, seed: int, sentences: Sequence[str] = ()) -> Problem | None:
    """Return the problem with a fact that does not matter, in our wording or one of `sentences`; None if none fits."""
    used = _used(problem)
    if used is None or '"' in problem.question or "“" in problem.question:
        return None
    rng = stream("distract", seed, problem.id)
    for _ in range(_TRIES):
        own = not sentences or rng.random() < _OWN_SHARE
        fact = _tell(problem.question, rng) if own else sentences[rng.randrange(len(sentences))]
        question = _insert(problem.question, fact, rng) if fact and (own or _is_apart(fact, problem.question)) else None
        if question is not None and _is_harmless(problem.question, question, used):
            return problem.model_copy(
                update={"question": question, "id": f"{problem.id}+", "source": f"{problem.source}+fact"}
            )
    return None


def share_distracted(problems: Sequence[Problem], share: float, seed: int) -> list[Problem]:
    """Return the problems, about `share` of them with a fact that does not matter, each in its place."""
    chosen = [stream("distracted", seed, problem.id).random() < share for problem in problems]
    if not any(chosen):
        return list(problems)
    pool = telling_sentences(problem.question for problem in problems)
    return [
        (distract(problem, seed, pool) or problem) if taken else problem
        for problem, taken in zip(problems, chosen, strict=True)
    ]


def telling_sentences(questions: Iterable[str]) -> list[str]:
    """Return sentences that tell one number of somebody we know or of a place, and stand alone."""
    telling: dict[str, None] = {}
    for question in questions:
        for sentence in sentences_of(question)[:1]:  # later ones go on from it
            if _stands_alone(sentence):
                telling[sentence] = None
    return list(telling)


def _stands_alone(sentence: str) -> bool:
    words = sentence.split()
    somewhere = words[:2] == ["There", "are"] and _AT_A_PLACE.search(sentence) is not None
    named = words[0].removesuffix("'s") in people() or somewhere
    if (
        not named
        or not sentence.endswith(".")
        or len(words) > _MOST_WORDS
        or _POINTING.search(sentence[len(words[0]) :])
    ):
        return False
    mentions = find_numbers(sentence)
    return len(mentions) == 1 and mentions[0].is_plain and mentions[0].value >= 2


# --- what is told ----------------------------------------------------------------------------------------------


def _tell(question: str, rng: Random) -> str | None:
    """Return a fact in our own wording that has nothing to do with a question."""
    form = _FORMS[rng.randrange(len(_FORMS))]
    words = set(re.findall(r"[a-z]+", question.lower()))
    persons = _persons(question)
    if not words.isdisjoint(form.apart.split()) or ("{person}" in form.text and len(persons) != 1):
        return None
    if "{other}" in form.text and _TOGETHER.search(sentences_of(question)[-1]):
        return None
    strangers = [word.one for word in _vocabulary()["person"] if word.one not in question]
    slots = {"other": strangers[rng.randrange(len(strangers))], "person": next(iter(persons), "")}
    if form.things:
        kind = _vocabulary()[form.things[rng.randrange(len(form.things))]]
        word = kind[rng.randrange(len(kind))]
        if word.one in question.lower() or word.many in question.lower():
            return None
        slots["things"] = word.many
    text = form.text.format(n=rng.randint(form.low, form.high), **slots)
    own = "{person}" in form.text or _is_apart(text, question)
    return text if own else None


@lru_cache(maxsize=1)
def _vocabulary() -> Vocabulary:
    return load_vocabulary(schemas_dir() / "vocab", [])


def _persons(question: str) -> set[str]:
    return {word for word in re.findall(r"\b[A-Z][a-z]+", question) if word in people()}


def _is_apart(fact: str, question: str) -> bool:
    """Tell whether a fact and a question share no word that says something, and nobody."""
    if not _persons(fact).isdisjoint(_persons(question)):
        return False
    if _persons(fact) and _TOGETHER.search(sentences_of(question)[-1]):
        return False
    return _content(fact).isdisjoint(_content(question))


def _content(text: str) -> set[str]:
    return {word.removesuffix("s") for word in _CONTENT.findall(text.lower())} - _COMMON


# --- where it is told ------------------------------------------------------------------------------------------


def _insert(question: str, fact: str, rng: Random) -> str | None:
    """Return a question with a fact before it, or inside where nothing points back; never behind what is asked."""
    sentences = sentences_of(question)
    asked = next((index for index, sentence in enumerate(sentences) if "?" in sentence), len(sentences) - 1)
    spoken_of = _persons(fact) & _persons(question)
    if spoken_of:  # of the question's own person, once that is named
        first = next(index for index, sentence in enumerate(sentences) if spoken_of & _persons(sentence))
        places = list(range(first + 1, asked + 1))
    else:
        places = [index for index in range(asked + 1) if not _POINTING.search(" ".join(sentences[index:]))]
        places = [index for index in places if not index or not _goes_on(sentences[index:])]
        places += [0] if _names_itself(sentences[0]) else []
    if not places:
        return None
    index = places[rng.randrange(len(places))]
    return " ".join([*sentences[:index], fact, *sentences[index:]])


def _goes_on(sentences: list[str]) -> bool:
    """Tell whether sentences need the one before them: But …, How many are left?"""
    return bool(_GOING_ON.match(sentences[0]) or _SHORT.search(" ".join(sentences)))


def _names_itself(sentence: str) -> bool:
    """Tell whether a first sentence says who or what it is about before it points at it."""
    return _POINTING.search(" ".join(sentence.split()[:3])) is None


# --- that it does not matter -----------------------------------------------------------------------------------


def _used(problem: Problem) -> set[Fraction] | None:
    """Return every number that a problem's trace holds or computes; None if it does not solve to its answer."""
    trace = parse_document(problem.trace or "")
    if isinstance(trace, NoTrace):
        return None
    ledger: list[Entry] = []
    outcome = solve(trace, ledger)
    if not isinstance(outcome, Solved) or outcome.answer != problem.expected:
        return None
    return {*trace_values(trace), outcome.answer, *(value for entry in ledger for value in entry.changed.values())}


def _is_harmless(old: str, new: str, used: set[Fraction]) -> bool:
    """Tell whether all numbers of a question are read as before, and one more that nothing uses or states."""
    before = [(old[mention.start : mention.end], mention.readings) for mention in find_numbers(old)]
    after = [(new[mention.start : mention.end], mention.readings) for mention in find_numbers(new)]
    added = list(after)
    for mention in before:
        if mention not in added:
            return False
        added.remove(mention)
    if len(added) != 1:
        return False
    stated = {reading for _, readings in before for reading in readings}
    return (used | stated).isdisjoint(added[0][1])
