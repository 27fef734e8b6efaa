"""Where a run's problems come from: its `data` sources, read or generated, in one list.

Takes source sections of a configuration and a seed. Left out so far: weights, variants, curriculum, contamination.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlx_trace.config import FileSource, Source, SyntheticSource
from mlx_trace.errors import UserError
from mlx_trace.problems import gsm8k
from mlx_trace.problems.generator import Options, generate_balanced
from mlx_trace.problems.problem import Problem, read_jsonl, read_row
from mlx_trace.problems.schema import load_schemas, select_schemas


def gather(sources: Sequence[Source], seed: int) -> list[Problem]:
    """Return the problems of all sources, in their order; no synthetic question appears twice."""
    problems: list[Problem] = []
    seen: set[str] = set()
    for source in sources:
        match source:
            case SyntheticSource():
                problems += _synthetic(source, seed, seen)
            case FileSource(path=path, n=n):
                problems += read_file(path, n)
    return problems


def _synthetic(source: SyntheticSource, seed: int, seen: set[str]) -> list[Problem]:
    schemas = select_schemas(source.schemas, load_schemas())
    options = Options("train", source.templates_per_schema, source.number_word_rate)
    return generate_balanced(schemas, source.n, seed, options, seen)


def read_file(path: Path, limit: int | None = None) -> list[Problem]:
    """Read problems with answers from a JSONL file in any known form: ours, GSM-8K's, mlx-lm's chat forms."""
    problems = read_jsonl(path, _read_any_row, limit)
    if faults := [f"{path}: {problem.id}: has no answer" for problem in problems if problem.answer is None]:
        raise UserError(*faults)
    return problems


def _read_any_row(row: dict[str, Any], name: str) -> Problem:
    return gsm8k.read_row(row, name) if gsm8k.is_row(row) else read_row(row, name)
