"""Two measurements of the same problems side by side: what changed sides, and whether chance would do as much.

Takes files of records, as `mlx-trace eval -o` writes them: of replies, of votes, or of losses on gold traces.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from mlx_trace.errors import UserError
from mlx_trace.evaluate.losses import deciding
from mlx_trace.evaluate.stats import Rate, mcnemar, mean_interval, paired_difference, sign_test
from mlx_trace.files import read_text
from mlx_trace.json_text import parse_json
from mlx_trace.problems.problem import Problem


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one problem: whether it is right, 1 or 0, or the mean loss of what decides."""

    problem: Problem
    score: float
    is_loss: bool
    got: str | None


def read_measured(path: Path) -> dict[str, Measured]:
    """Return a file's records by their problem's id, with a number where one comes again; UserError if it has none."""
    measured: dict[str, Measured] = {}
    often: Counter[str] = Counter()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            row = _measured(parse_json(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UserError(f"{path}:{number}: is no record of mlx-trace eval -o") from None
        name = row.problem.id
        often[name] += 1
        measured[name if often[name] == 1 else f"{name} ({often[name]})"] = row
    if not measured:
        raise UserError(f"{path}: holds no records")
    return measured


def _measured(row: Mapping[str, Any]) -> Measured:
    problem = Problem.model_validate({key: row[key] for key in Problem.model_fields if key in row})
    if "losses" in row:
        return Measured(problem, fmean(deciding(row["losses"]) or [0.0]), True, None)
    if not isinstance(row["correct"], bool):
        raise ValueError("correct is neither true nor false")
    return Measured(problem, float(row["correct"]), False, None if row["got"] is None else str(row["got"]))


@dataclass(frozen=True, slots=True)
class Pair:
    """One problem as it was measured before and after."""

    before: Measured
    after: Measured

    @property
    def problem(self) -> Problem:
        """Return the problem."""
        return self.after.problem


def paired(before: Mapping[str, Measured], after: Mapping[str, Measured], names: Sequence[Path]) -> list[Pair]:
    """Return the problems that both files hold, in the order of the second; UserError if none is the same in both."""
    pairs = [Pair(before[name], row) for name, row in after.items() if name in before]
    other = sum(_asked(pair.before) != _asked(pair.after) for pair in pairs)
    if other:
        raise UserError(
            f"{names[0]} and {names[1]}: {other} of {len(pairs)} problems of one id are not the same problem"
        )
    if not pairs:
        raise UserError(f"{names[0]} and {names[1]}: have no problem in common")
    if len({row.is_loss for pair in pairs for row in (pair.before, pair.after)}) > 1:
        raise UserError(f"{names[0]} and {names[1]}: one has answers, and the other losses on gold traces")
    return pairs


def _asked(row: Measured) -> tuple[str, str | None]:
    return row.problem.question, row.problem.answer


@dataclass(frozen=True, slots=True)
class Comparison:
    """How measurements of the same problems differ. `p` is McNemar's, exact; of losses, the sign test's.

    `difference` is of shares, or of mean losses, with its 95% interval, as `before` and `after` are.
    """

    n: int
    before: Rate | tuple[float, float, float]
    after: Rate | tuple[float, float, float]
    difference: tuple[float, float, float]
    gained: int
    lost: int
    p: float

    def as_json(self) -> dict[str, Any]:
        """Return the counts, the shares or means with their intervals, the difference and p."""
        return {
            "n": self.n, "before": _as_json(self.before), "after": _as_json(self.after),
            "difference": _as_json(self.difference), "gained": self.gained, "lost": self.lost, "p": self.p,
        }  # fmt: skip


def _as_json(value: Rate | tuple[float, float, float]) -> dict[str, Any]:
    if isinstance(value, Rate):
        return value.as_json()
    mean, *ends = (round(number, 5) if isfinite(number) else None for number in value)  # of one pair, no interval
    return {"mean": mean, "interval": ends}


def compare(pairs: Sequence[Pair]) -> Comparison:
    """Compare what was measured before with what was measured after; lower losses are gains."""
    before, after = [pair.before.score for pair in pairs], [pair.after.score for pair in pairs]
    if pairs[0].after.is_loss:
        gained = sum(second < first for first, second in zip(before, after, strict=True))
        lost = sum(second > first for first, second in zip(before, after, strict=True))
        difference = mean_interval([second - first for first, second in zip(before, after, strict=True)])
        means = mean_interval(before), mean_interval(after)
        return Comparison(len(pairs), *means, difference, gained, lost, sign_test(gained, lost))
    return compare_counts([score == 1 for score in before], [score == 1 for score in after])


def compare_counts(before: list[bool], after: list[bool]) -> Comparison:
    """Compare what holds of each problem before with what holds of it after."""
    lost, gained, p = mcnemar(before, after)
    rates = Rate(sum(before), len(before)), Rate(sum(after), len(after))
    return Comparison(len(before), *rates, paired_difference(before, after), gained, lost, p)
