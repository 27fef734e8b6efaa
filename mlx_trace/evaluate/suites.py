"""Which problems a model is measured on: `synthetic` (new numbers), `phrasing` (new wording), `everyday`, or a file.

Of a set or file fewer than all are a random sample, drawn by a seed: what a file begins with may be of one kind.
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from mlx_trace.notice import tell
from mlx_trace.numbered import numbered
from mlx_trace.problems.fields import Told
from mlx_trace.problems.mixture import read_any_row, read_file, with_gold
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import Options, generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas
from mlx_trace.resources import sets_dir
from mlx_trace.seeds import stream

SUITES: Final = {
    "synthetic": Options("train", held_out=True),  # wording seen in training, questions that no training ever sees
    "phrasing": Options("eval"),  # templates that no training ever sees
}
EVERYDAY: Final = "everyday"  # thirty questions that people ask, frozen; no family has their sentences
DEFAULT_SIZE: Final = 500
EVALUATION_SEED: Final = 1_000_003  # apart from training seeds, which people count from 0


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """The problems to measure on: all `size` of a set, or a sample of them that was drawn by `seed`.

    `digest` names the whole set by its questions, in whatever order and file they stand.
    """

    problems: list[Problem]
    size: int
    seed: int | None
    digest: str

    def as_json(self) -> dict[str, int]:
        """Return what the sample is; nothing of a whole set."""
        return {} if self.seed is None else {"n": len(self.problems), "of": self.size, "seed": self.seed}

    def __str__(self) -> str:
        return "" if self.seed is None else f"{len(self.problems):,} of {self.size:,} problems, seed {self.seed}"


def suite(
    name: str, n: int | None = None, schemas: list[str] | None = None, fields: Told | None = None, seed: int = 0
) -> list[Problem]:
    """Return n problems of a suite, or of a file; the same at every call. What is generated is 500 long."""
    if name in SUITES:
        chosen = select_schemas(schemas or [], load_schemas())
        return generate_balanced(chosen, n or DEFAULT_SIZE, EVALUATION_SEED, SUITES[name])
    return draw(name, n, fields, seed).problems


def draw(
    name: str, n: int | None = None, fields: Told | None = None, seed: int = 0, golds: bool = True
) -> ProblemSet:  # fmt: skip
    """Return a suite, or a file, or n of its problems: drawn by the seed, in their order, and some of a larger sample.

    What is generated has no sample: there n is its size. That a file holds fewer than n is told. Without `golds`
    solutions are not compiled.
    """
    if name in SUITES:
        problems = suite(name, n)
        return ProblemSet(problems, len(problems), None, _digest(problems))
    rows: list[tuple[dict[str, Any], str]] = []
    path = sets_dir() / f"{EVERYDAY}.jsonl" if name == EVERYDAY else Path(name)
    whole = read_file(path, told=None if name == EVERYDAY else fields, read=partial(_noted, rows))
    if n is not None and n > len(whole):
        tell(f"{name}: holds {numbered(len(whole), 'problem')}, and {n:,} were asked for: all are taken")
    order, is_whole = list(range(len(whole))), n is None or n >= len(whole)
    if not is_whole:
        stream("problems", seed).shuffle(order)
    drawn = sorted(order[:n])
    problems = [with_gold(whole[index], *rows[index]) if golds else whole[index] for index in drawn]
    return ProblemSet(problems, len(whole), None if is_whole else seed, _digest(whole))


def _noted(rows: list[tuple[dict[str, Any], str]], row: dict[str, Any], name: str) -> Problem:
    """Make a problem of a row, and note the row: what is drawn is compiled, which tells why a reply is wrong."""
    problem = read_any_row(row, name)
    rows.append((row, name))
    return problem


def _digest(problems: list[Problem]) -> str:
    questions = "\n".join(sorted(problem.question for problem in problems))
    return hashlib.sha256(questions.encode()).hexdigest()[:16]
