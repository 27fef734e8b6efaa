"""Where a run's problems come from: its `data` sources, read, compiled or generated, in the sizes and shares asked for.

Takes source sections of a configuration and a seed; returns a `Mixture`. Questions held out for evaluation stay out.
"""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Final

from mlx_trace.config_sources import CompiledSource, FileSource, Source, SyntheticSource
from mlx_trace.errors import UserError
from mlx_trace.language.grade import is_right
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import Failed, Solved, solve
from mlx_trace.language.syntax import Trace, parse, render
from mlx_trace.numbered import numbered
from mlx_trace.problems import gsm8k
from mlx_trace.problems.compile.compiler import is_worked
from mlx_trace.problems.distract import share_distracted
from mlx_trace.problems.fields import Fields, Told
from mlx_trace.problems.problem import Problem, ReadRow, read_leniently, read_problems, read_row
from mlx_trace.problems.rows import read_rows
from mlx_trace.problems.synthetic.generator import Options, apportion, generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas
from mlx_trace.problems.variants.tell import DOUBTFUL, grounded_problem, variants
from mlx_trace.seeds import stream

_LOOKED_AT: Final = 100  # rows of a file, to know what it holds


@dataclass(frozen=True, slots=True)
class SourcePart:
    """What one source gave: a name for people, its problems, and what was left out of it."""

    name: str
    problems: list[Problem]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Mixture:
    """The problems of a run, source by source."""

    parts: list[SourcePart]

    @property
    def problems(self) -> list[Problem]:
        """Return the problems of all sources, in their order."""
        return [problem for part in self.parts for problem in part.problems]


def mix(sources: Sequence[Source], seed: int, examples: int | None = None) -> Mixture:
    """Gather the problems of all sources; no question appears twice.

    A source with `n` gives so many, one with a `share` that part of the whole, a file with neither all it has. The
    whole follows from the sources without a share, or is `examples` where all have one. Raises UserError.
    """
    seen: set[str] = set()
    parts = {index: _part(source, source.n, seed, seen) for index, source in enumerate(sources) if source.share is None}
    given = sum(len(part.problems) for part in parts.values())
    shares = {index: source.share for index, source in enumerate(sources) if source.share is not None}
    for index, n in _sizes(shares, given, len(shares) == len(sources), examples).items():
        parts[index] = _part(sources[index], n, seed, seen)
    return Mixture([parts[index] for index in range(len(sources))])


def _sizes(shares: dict[int, float], given: int, all_shared: bool, examples: int | None) -> dict[int, int]:
    """Return how many problems each source with a share gives, by its index (largest remainder)."""
    total = sum(shares.values())
    if examples is not None and not all_shared:
        raise UserError("examples: counts the whole where every source has a share; here it follows from those without")
    if not shares:
        return {}
    if all_shared and examples is None:
        raise UserError("data: every source is a share; `examples` says of how many")
    if not all_shared and total >= 1:
        raise UserError(f"data: the shares add up to {total:g} and leave nothing for the sources without one")
    wanted = examples if examples is not None else round(given * total / (1 - total))
    counts = apportion({str(index): Fraction(share) for index, share in shares.items()}, wanted)
    return {int(index): n for index, n in counts.items()}


def _part(source: Source, n: int | None, seed: int, seen: set[str]) -> SourcePart:
    match source:
        case SyntheticSource():
            schemas = select_schemas(source.schemas, load_schemas())
            options = Options("train", source.templates_per_schema, source.number_word_rate)
            drawn = generate_balanced(schemas, n or 0, seed, options, seen, source.weights)
            return SourcePart("synthetic", share_distracted(drawn, source.distractors, seed))
        case CompiledSource():
            return _compiled(source, n, seed, seen)
        case FileSource(path=path, share=share):
            read = _checked(read_file(path, told=source.fields), path)
            sure = [problem for problem in read if not problem.doubt]
            problems, note = _new(sure, seen)
            part = problems[:n] if n is None or share is None else _sample(problems, n, seed, str(path))
            return SourcePart(path.name, part, _joined(note, _left_out(len(read) - len(sure))))


def _checked(problems: list[Problem], path: Path) -> list[Problem]:
    """Return problems with their traces in canonical text; UserError for those that do not solve to their answers."""
    checked, faults = [], []
    for problem in problems:
        trace = problem.trace if problem.trace is None else parse(problem.trace)
        if isinstance(trace, Trace):
            outcome, expected, text = solve(trace), problem.expected, render(trace)
            if isinstance(outcome, Solved) and expected is not None and is_right(outcome, expected):
                checked.append(problem if text == problem.trace else problem.model_copy(update={"trace": text}))
            else:
                why = outcome.message if isinstance(outcome, Failed) else f"it gives {spell(outcome.answer)}"
                faults.append(f"{path}: {problem.id}: its trace does not solve to its answer, {problem.answer}: {why}")
        elif trace is not None:
            faults.append(f"{path}: {problem.id}: its trace is none: {trace.message}")
        else:
            checked.append(problem)
    if faults:
        raise UserError(*faults)
    return checked


def _compiled(source: CompiledSource, n: int | None, seed: int, seen: set[str]) -> SourcePart:
    """Return compiled problems, and variants of them once they are too few."""
    refused: Counter[str] = Counter()
    originals: list[Problem] = []
    for name, row, fault in read_leniently(source.file, source.fields):
        problem, reason = (None, fault) if row is None else grounded_problem(row, name)
        if problem is None:
            refused[reason] += 1
        else:
            originals.append(problem)
    if not originals:
        why = ", ".join(f"{count} {reason}" for reason, count in refused.most_common())
        raise UserError(f"{source.file}: none of its rows can be used ({why or 'it holds none'})")
    problems, held_out = _new(originals, seen)
    if source.variants and (n is None or n > len(problems)):
        told = [variants(problem, source.variants, seed) for problem in problems]
        again = [row[k] for k in range(source.variants) for row in told if k < len(row)]  # each one's first, second, …
        problems += _new(again, seen)[0] if n is None else _new(again, seen)[0][: n - len(problems)]
    notes = [held_out, _left_out(refused.pop(DOUBTFUL, 0))]
    if refused:
        why = ", ".join(f"{count} {reason}" for reason, count in refused.most_common(3))
        notes.append(f"{refused.total():,} not used ({why})")
    part = problems if n is None else _sample(problems, n, seed, f"{source.file} with {source.variants} variants")
    part = share_distracted(part, source.distractors, seed)
    return SourcePart(f"compiled {source.file.name}", part, _joined(*notes))


def _left_out(doubtful: int) -> str:
    return f"{doubtful:,} left out: {DOUBTFUL}" if doubtful else ""


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _new(problems: list[Problem], seen: set[str]) -> tuple[list[Problem], str]:
    """Return the problems whose questions are new and not held out, and a note of how many were."""
    kept = []
    held_out = 0
    for problem in problems:
        if gsm8k.is_held_out(problem):
            held_out += 1
        elif problem.question not in seen:
            seen.add(problem.question)
            kept.append(problem)
    return kept, f"{held_out:,} held out for evaluation" if held_out else ""


def _sample(problems: list[Problem], n: int, seed: int, where: str) -> list[Problem]:
    """Return n of the problems, drawn by the seed, in their order."""
    if n > len(problems):
        raise UserError(f"{where}: gives {numbered(len(problems), 'problem')}, and {n:,} are wanted")
    return [problems[index] for index in sorted(stream("sample", seed, where).sample(range(len(problems)), n))]


def source_of(path: Path, fields: Told | None = None) -> CompiledSource | FileSource:
    """Return the source that a file of problems is: what can be compiled is, others are taken as they are.

    Of a folder, as mlx-lm's --data names one, its training file.
    """
    if path.is_dir():
        path = next((file for file in sorted(path.glob("train.*")) if file.is_file()), path)
    for _, row, _ in islice(read_rows(path), _LOOKED_AT):
        with contextlib.suppress(ValueError):
            if row is not None and is_worked(Fields(fields).read(row)):
                return CompiledSource.model_validate({"source": "compiled", "file": path, "fields": fields or {}})
    return FileSource.model_validate({"source": "file", "path": path, "fields": fields or {}})


def read_file(
    path: Path, limit: int | None = None, told: Told | None = None, read: ReadRow | None = None
) -> list[Problem]:
    """Read problems with answers from a file in any known form: ours, GSM-8K's, mlx-lm's chat forms, other sets'.

    `read` makes a problem of a row; by default `read_any_row`.
    """
    problems = read_problems(path, read or read_any_row, limit, told)
    if faults := [f"{path}: {problem.id}: has no answer" for problem in problems if problem.answer is None]:
        raise UserError(*faults)
    return problems


def read_any_row(row: dict[str, Any], name: str) -> Problem:
    """Make a problem of a row in any known form; ValueError if it is none."""
    return gsm8k.read_row(row, name) if gsm8k.is_row(row) else read_row(row, name)


def with_gold(problem: Problem, row: dict[str, Any], name: str) -> Problem:
    """Return the problem of a row with the trace that its solution or equation compiles to, if it does.

    A trace that is not grounded, or in doubt, is none.
    """
    if problem.trace is not None or not is_worked(row):
        return problem
    gold, _ = grounded_problem(row, name)
    return problem if gold is None else problem.model_copy(update={"trace": gold.trace})
