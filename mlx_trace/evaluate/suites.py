"""Which problems a model is measured on: `synthetic` (new numbers), `phrasing` (new wording), `everyday`, or a file."""

from pathlib import Path
from typing import Final

from mlx_trace.problems.fields import Told
from mlx_trace.problems.mixture import read_file
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import Options, generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas
from mlx_trace.resources import sets_dir

SUITES: Final = {
    "synthetic": Options("train", held_out=True),  # wording seen in training, questions that no training ever sees
    "phrasing": Options("eval"),  # templates that no training ever sees
}
EVERYDAY: Final = "everyday"  # thirty questions that people ask, frozen; no family has their sentences
DEFAULT_SIZE: Final = 500
EVALUATION_SEED: Final = 1_000_003  # apart from training seeds, which people count from 0


def suite(
    name: str, n: int | None = None, schemas: list[str] | None = None, fields: Told | None = None
) -> list[Problem]:
    """Return the problems of a suite, or of a file (its first n); the same at every call. What is drawn is 500 long."""
    if name in SUITES:
        chosen = select_schemas(schemas or [], load_schemas())
        return generate_balanced(chosen, n or DEFAULT_SIZE, EVALUATION_SEED, SUITES[name])
    if name == EVERYDAY:
        return read_file(sets_dir() / f"{EVERYDAY}.jsonl", n)
    return read_file(Path(name), n, fields)
