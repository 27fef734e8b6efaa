"""How much of an evaluation set stands in a training mixture: the same questions, templates, or runs of 13 words.

Takes two lists of problems; the training side may be large, it is only read once.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mlx_trace.problems.problem import Problem
from mlx_trace.problems.skeleton import skeleton

GRAM: Final = 13  # words, as is usual
_WORD: Final = re.compile(r"[a-z0-9]+")


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
    """Compare evaluation sets, by name, with training data."""
    asked = [problem.question for problems in evaluations.values() for problem in problems]
    questions, templates = {_normal(question) for question in asked}, {skeleton(question) for question in asked}
    grams = {gram for question in asked for gram in grams_of(question)}
    found: tuple[set[str], set[bytes], set[int]] = set(), set(), set()
    for problem in training:
        found[0].update({_normal(problem.question)} & questions)
        found[1].update({skeleton(problem.question)} & templates)
        found[2].update(gram for gram in grams_of(problem.question) if gram in grams)
    return [
        Overlap(
            name, len(problems),
            sum(_normal(problem.question) in found[0] for problem in problems),
            sum(skeleton(problem.question) in found[1] for problem in problems),
            sum(any(gram in found[2] for gram in grams_of(problem.question)) for problem in problems),
        )
        for name, problems in evaluations.items()
    ]  # fmt: skip


def grams_of(question: str) -> Iterator[int]:
    """Yield a hash (of this process) of every run of 13 words; of a shorter question, of all of it."""
    words = _WORD.findall(question.lower())
    for start in range(max(1, len(words) - GRAM + 1)):
        yield hash(tuple(words[start : start + GRAM]))


def _normal(question: str) -> str:
    return " ".join(_WORD.findall(question.lower()))
