"""Solved problems that are like a question, as example turns before it: found by BM25 among those of a training file.

Takes problems with traces, and questions; returns exchanges. A problem itself, the same text with other numbers or
people, or one that shares 13 words in a row with it, is no example: its answer would be told.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import bm25s
import numpy as np

from mlx_trace.errors import UserError
from mlx_trace.model.prompts import Prompter, TurnPair
from mlx_trace.problems.contamination import grams_of
from mlx_trace.problems.forms import in_form
from mlx_trace.problems.mixture import mix, source_of
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.skeleton import skeleton

_WORD: Final = re.compile(r"[a-z]+")  # what is like another is so by its words, whatever its numbers


@dataclass(frozen=True, slots=True)
class Examples:
    """The example turns of one question, the most similar last, and the ids of their problems.

    `prompt_tokens` are those of the prompt with them; `has_no_room` tells that more would have been too many.
    """

    exchanges: tuple[TurnPair, ...] = ()
    names: tuple[str, ...] = ()
    prompt_tokens: int = 0
    has_no_room: bool = False


class SolvedProblem:
    """A problem that may be an example; what it is compared by is read when it is first needed."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @cached_property
    def marks(self) -> frozenset[int | bytes]:
        """Return what no two share that are unlike: the wording's hash, and those of runs of 13 words."""
        return marks_of(self.problem.question)


def marks_of(question: str) -> frozenset[int | bytes]:
    """Return the hashes of a question's wording without numbers and people, and of its runs of 13 words."""
    return frozenset((skeleton(question), *grams_of(question)))


class Nearest:
    """An index of solved problems. UserError if none of them has a trace; `note` says what was left out of them."""

    def __init__(self, problems: Sequence[Problem], where: str, note: str = "") -> None:
        self.solved = [SolvedProblem(problem) for problem in problems if problem.trace is not None]
        if not self.solved:
            why = f" ({note})" if note else ""
            raise UserError(f"{where}: none of its problems has a trace, or a solution that compiles to one, that may "
                            f"be learnt from{why}")  # fmt: skip
        words = [_WORD.findall(own.problem.question.lower()) for own in self.solved]
        self._has_words = any(words)
        self._index = bm25s.BM25()
        if self._has_words:
            self._index.index(words, show_progress=False)

    def like(self, question: str, k: int) -> list[Problem]:
        """Return the k most similar problems that are no copies, the most similar first (BM25, Robertson 1994)."""
        words = _WORD.findall(question.lower())
        if not words or not self._has_words:
            return []
        scores = self._index.get_scores(words)
        own, similar = marks_of(question), list[Problem]()
        for index in np.argsort(-scores, kind="stable"):
            if len(similar) == k or scores[index] <= 0:
                break
            solved = self.solved[index]
            if own.isdisjoint(solved.marks):
                similar.append(solved.problem)
        return similar


def read_nearest(path: Path) -> Nearest:
    """Read the problems of a training file that may be learnt from, compiled if they are worked solutions."""
    (part,) = mix([source_of(path)], seed=0).parts
    return Nearest(part.problems, str(path), part.note)


def examples_for(nearest: Nearest, k: int, question: str, prompter: Prompter, most_tokens: int | None) -> Examples:
    """Return up to k examples for a question, fewer where the prompt would come to more than `most_tokens`."""
    chosen = nearest.like(question, k)[::-1]
    form, wanted = prompter.prompt.trace_form, len(chosen)
    exchanges = [TurnPair(problem.question, in_form(problem, form) or "") for problem in chosen]
    tokens = len(prompter.ids(question, exchanges))
    while exchanges and most_tokens is not None and tokens > most_tokens:
        del exchanges[0], chosen[0]
        tokens = len(prompter.ids(question, exchanges))
    return Examples(tuple(exchanges), tuple(problem.id for problem in chosen), tokens, len(chosen) < wanted)
