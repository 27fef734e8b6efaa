"""How much of an evaluation set stands in a training mixture: the same questions, templates, or runs of 13 words.

Takes two lists of problems; the training side may be large, it is only read once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mlx_trace.problems.problem import Problem
from mlx_trace.problems.skeleton import skeleton, words_of

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
    asked = [problem.question for problems in evaluations.values() for problem in problems]
    questions, grams = (
        {_normal(question) for question in asked},
        {gram for question in asked for gram in grams_of(question)},
    )
    same_questions: set[str] = set()
    same_grams: set[int] = set()
    templates = _Wordings(asked)
    for problem in training:
        words = _WORD.findall(problem.question.lower())
        same_questions |= {" ".join(words)} & questions
        same_grams |= grams.intersection(_grams(words))
        templates.look_for(problem.question)
    return [
        Overlap(
            name, len(problems),
            sum(_normal(problem.question) in same_questions for problem in problems),
            sum(skeleton(problem.question) in templates.matched for problem in problems),
            sum(any(gram in same_grams for gram in grams_of(problem.question)) for problem in problems),
        )
        for name, problems in evaluations.items()
    ]  # fmt: skip


class _Wordings:
    """The wordings of some questions, and those of them that were found elsewhere.

    To read a wording takes ten times as long as to see that it cannot be one that is still looked for.
    """

    def __init__(self, questions: Iterable[str]) -> None:
        self.matched: set[bytes] = set()
        self._all: dict[bytes, frozenset[str]] = {}
        for question in questions:
            self._all.setdefault(skeleton(question), frozenset(_long_words(" ".join(words_of(question)))))
        counts = Counter(word for words in self._all.values() for word in words)
        self._open: dict[str, set[bytes]] = {}  # by a wording's rarest word
        for name, words in self._all.items():
            self._open.setdefault(min(words, key=lambda word: (counts[word], word), default=""), set()).add(name)

    def look_for(self, question: str) -> None:
        """Note whether a question has one of the wordings."""
        words = _long_words(question)
        rare = (*(self._open.keys() & words), "")
        candidates = (name for word in rare for name in self._open.get(word, ()) if self._all[name] <= words)
        if any(candidates) and (name := skeleton(question)) in self._all and name not in self.matched:
            self.matched.add(name)
            for names in self._open.values():
                names.discard(name)


def _long_words(text: str) -> set[str]:
    """Return the words of a text, in lower case, that are too long to be what a number leaves of a word."""
    return set(_LONG.findall(text.lower()))


def grams_of(question: str) -> Iterator[int]:
    """Return a hash (of this process) of every run of 13 words; of a shorter question, of all of it."""
    return _grams(_WORD.findall(question.lower()))


def _grams(words: list[str]) -> Iterator[int]:
    size = min(GRAM, max(1, len(words)))
    return map(hash, zip(*(words[start:] for start in range(size)), strict=False)) if words else iter([hash(())])


def _normal(question: str) -> str:
    return " ".join(_WORD.findall(question.lower()))
