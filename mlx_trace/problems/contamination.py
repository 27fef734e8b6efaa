"""How much of an evaluation set stands in a training mixture: the same questions, templates, or runs of 13 words.

Takes two lists of problems; the training side may be large, it is only read once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from mlx_trace.problems.problem import Problem
from mlx_trace.problems.skeleton import hash_of, skeleton, words_of

GRAM: Final = 13  # words, as is usual
_WORD: Final = re.compile(r"[a-z0-9]+")
_LONG: Final = re.compile(r"[a-z]{4,}")


@dataclass(frozen=True, slots=True)
class Overlap:
    """Of an evaluation set, how many questions stand in the training data: as they are, re-numbered, or in part."""

    name: str
    size: int
    same_question: int
    same_template: int
    shared_gram: int

    def __str__(self) -> str:
        """Say the overlap in one line."""
        return (
            f"{self.name}: of {self.size:,} questions {self.same_question:,} are in the training data, "
            f"{self.same_template:,} with other numbers, {self.shared_gram:,} share {GRAM} words in a row"
        )


def overlaps(evaluations: Mapping[str, Sequence[Problem]], training: Iterable[Problem]) -> list[Overlap]:
    """Compare evaluation sets, by name, with training data; counts are of evaluation questions.

    Shared runs of 13 words are after GPT-3's study of contamination (Brown et al. 2020, appendix C). The training side
    is read once, in time linear in its words.
    """
    asked = {problem.question: _read(problem.question) for problems in evaluations.values() for problem in problems}
    questions = {read.text for read in asked.values()}
    grams = {gram for read in asked.values() for gram in read.grams}
    same_questions: set[str] = set()
    same_grams: set[int] = set()
    templates = _Wordings(asked.values())
    for problem in training:
        lowered = problem.question.lower()
        words = _WORD.findall(lowered)
        if (text := " ".join(words)) in questions:
            same_questions.add(text)
        same_grams |= grams.intersection(_grams(words))
        templates.look_for(problem.question, set(_LONG.findall(lowered)))
    overlapping = []
    for name, problems in evaluations.items():
        reads = [asked[problem.question] for problem in problems]
        same = (read.text in same_questions for read in reads)
        alike = (read.skeleton in templates.matched for read in reads)
        sharing = (not same_grams.isdisjoint(read.grams) for read in reads)
        overlapping.append(Overlap(name, len(problems), sum(same), sum(alike), sum(sharing)))
    return overlapping


class _AskedQuestion(NamedTuple):
    """A question of an evaluation set, read once in each way in which it is looked for."""

    text: str  # its words
    grams: frozenset[int]
    skeleton: bytes
    long_words: frozenset[str]


def _read(question: str) -> _AskedQuestion:
    words, masked = _WORD.findall(question.lower()), words_of(question)
    return _AskedQuestion(
        " ".join(words), frozenset(_grams(words)), hash_of(masked), frozenset(_LONG.findall(" ".join(masked).lower()))
    )


class _Wordings:
    """The wordings of some questions, and those of them that were found elsewhere.

    To read a wording takes ten times as long as to see that it cannot be one that is still looked for.
    """

    def __init__(self, asked: Iterable[_AskedQuestion]) -> None:
        self.matched: set[bytes] = set()
        self._all: dict[bytes, frozenset[str]] = {}  # words that are too long to be what a number leaves of a word
        for read in asked:
            self._all.setdefault(read.skeleton, read.long_words)
        counts = Counter(word for words in self._all.values() for word in words)
        self._open: dict[str, set[bytes]] = {}  # by a wording's rarest word
        for name, words in self._all.items():
            self._open.setdefault(min(words, key=lambda word: (counts[word], word), default=""), set()).add(name)

    def look_for(self, question: str, words: set[str]) -> None:
        """Note whether a question, of these long words, has one of the wordings."""
        rare = (*(self._open.keys() & words), "")
        candidates = (name for word in rare for name in self._open.get(word, ()) if self._all[name] <= words)
        if any(candidates) and (name := skeleton(question)) in self._all and name not in self.matched:
            self.matched.add(name)
            for names in self._open.values():
                names.discard(name)


def grams_of(question: str) -> Iterator[int]:
    """Return a hash (of this process) of every run of 13 words; of a shorter question, of all of it."""
    return _grams(_WORD.findall(question.lower()))


def _grams(words: list[str]) -> Iterator[int]:
    size = min(GRAM, max(1, len(words)))
    return map(hash, zip(*(words[start:] for start in range(size)), strict=False)) if words else iter([hash(())])
