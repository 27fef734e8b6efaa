"""Which problems a model is measured on: `synthetic` (new numbers), `phrasing` (new wording), `everyday`, or a file.

Of a set or file fewer than all are a random sample, drawn by a seed: what a file begins with may be of one kind.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlx_trace.notice import tell
from mlx_trace.problems.fields import Told
from mlx_trace.problems.mixture import read_file, read_with_gold
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


def draw(name: str, n: int | None = None, fields: Told | None = None, seed: int = 0) -> ProblemSet:
    """Return a suite, or a file, or n of its problems: drawn by the seed, in their order, and some of a larger sample.

    What is generated has no sample: there n is its size. That a file holds fewer than n is told.
    """
    if name in SUITES:
        problems = suite(name, n)
        return ProblemSet(problems, len(problems), None, _digest(problems))
    whole = read_file(sets_dir() / f"{EVERYDAY}.jsonl") if name == EVERYDAY else _read(Path(name), fields)
    if n is not None and n > len(whole):
        tell(f"{name}: holds {len(whole):,} problems, and {n:,} were asked for: all are taken")
    if n is None or n >= len(whole):
        return ProblemSet(whole, len(whole), None, _digest(whole))
    order = list(range(len(whole)))
    stream("problems", seed).shuffle(order)
    return ProblemSet([whole[index] for index in sorted(order[:n])], len(whole), seed, _digest(whole))


def _read(path: Path, fields: Told | None) -> list[Problem]:
    """Read a file's problems, with gold traces where solutions compile: they tell why a reply is wrong."""
    return read_file(path, told=fields, read=read_with_gold)


def _digest(problems: list[Problem]) -> str:
    questions = "\n".join(sorted(problem.question for problem in problems))
    return hashlib.sha256(questions.encode()).hexdigest()[:16]
