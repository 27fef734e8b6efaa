"""The figures of a report: counts with n and intervals, apart by stratum, causes, and what pairs of files differ by.

Takes what was read; returns what the page, the table of Markdown and the JSON object all tell.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any

from mlx_trace.errors import UserError
from mlx_trace.evaluate.causes import CAUSES
from mlx_trace.evaluate.compared import Comparison, Pair, compare, paired
from mlx_trace.evaluate.records import ReadRecord, RecordFile, grades_of
from mlx_trace.evaluate.report.training import TrainingRun
from mlx_trace.evaluate.stats import Mean, Rate, mean_interval
from mlx_trace.evaluate.strata import STRATA, strata

Loss = tuple[float, float, float]  # mean and 95% interval


@dataclass(frozen=True, slots=True)
class Stratum:
    """How many of a stratum's problems are right in each file, by its number; or what their golds cost."""

    label: str
    rates: Mapping[int, Rate]
    losses: Mapping[int, tuple[int, Loss]]


@dataclass(frozen=True, slots=True)
class Against:
    """What one file differs by from an earlier one, on the problems that both hold; or why that cannot be said."""

    before: int
    after: int
    pairs: Sequence[Pair]
    comparison: Comparison | None
    fault: str = ""


@dataclass(frozen=True)
class Report:
    """What is reported on: runs that trained, files of records, and each file against an earlier one."""

    runs: Sequence[TrainingRun]
    files: Sequence[RecordFile]

    def strata(self) -> dict[str, list[Stratum]]:
        """Return the strata by what they are told apart by; a division of one stratum says nothing and is left out."""
        divisions = {by: self._strata(by) for by in STRATA}
        return {by: rows for by, rows in divisions.items() if len(rows) > 1}

    def _strata(self, by: str) -> list[Stratum]:
        apart = [dict(strata(by, file.rows)) for file in self.files]
        labels = [label for label, _ in strata(by, [row for own in apart for (row, *_) in own.values()])]
        return [Stratum(label, {k: rate(own[label]) for k, own in enumerate(apart)
                                if label in own and not self.files[k].is_loss},
                        {k: (len(own[label]), loss(own[label])) for k, own in enumerate(apart)
                         if label in own and self.files[k].is_loss}) for label in labels]  # fmt: skip

    def causes(self) -> dict[str, list[int]]:
        """Return how often each cause is the one, a count a file, the most frequent first."""
        counts = [Counter(cause for row in file.rows if (cause := row.why)) for file in self.files]
        names = [*CAUSES, *sorted({name for count in counts for name in count} - {*CAUSES})]
        rows = {name: [count[name] for count in counts] for name in names}
        return dict(sorted(((name, row) for name, row in rows.items() if sum(row)), key=lambda item: -sum(item[1])))

    def against(self) -> list[Against]:
        """Compare each file with the first earlier one that holds problems of its own."""
        comparisons = []
        for after in range(1, len(self.files)):
            known, is_loss = self.files[after].measured, self.files[after].is_loss
            before = next((k for k in range(after) if self.files[k].is_loss == is_loss
                           and not known.keys().isdisjoint(self.files[k].measured)), None)  # fmt: skip
            if before is not None:
                comparisons.append(self._against(before, after))
        return comparisons

    def _against(self, before: int, after: int) -> Against:
        first, second = self.files[before], self.files[after]
        try:
            pairs = paired(first.measured, second.measured, (Path(first.name), Path(second.name)))
        except UserError as error:
            return Against(before, after, (), None, str(error))
        return Against(before, after, pairs, compare(pairs))

    def as_json(self) -> dict[str, Any]:
        """Return all figures as one JSON object."""
        return {
            "runs": [run_json(run) for run in self.runs],
            "files": [file_json(file) for file in self.files],
            "strata": {by: {row.label: _stratum_json(row, self.files) for row in rows}
                       for by, rows in self.strata().items()},
            "causes": {name: dict(zip((file.name for file in self.files), row, strict=True))
                       for name, row in self.causes().items()},
            "comparisons": [
                {"file": self.files[against.after].name, "against": self.files[against.before].name,
                 **(against.comparison.as_json() if against.comparison else {"fault": against.fault})}
                for against in self.against()
            ],
        }  # fmt: skip


def rate(replies: Sequence[ReadRecord]) -> Rate:
    """Return how many of some records are right."""
    return Rate(sum(reply.correct for reply in replies), len(replies))


def loss(replies: Sequence[ReadRecord]) -> Loss:
    """Return the mean loss of what decides over some records, with its interval."""
    return mean_interval([reply.loss for reply in replies if reply.loss is not None])


def counts(file: RecordFile) -> dict[str, Rate]:
    """Return the three counts of a file of replies; of votes only what was voted is known to be right or not."""
    rows, n = file.rows, len(file.rows)
    return {
        "parsed": Rate(sum(reply.parsed for reply in rows), n),
        "valid": Rate(sum(reply.valid for reply in rows), n), "correct": file.correct,
    }  # fmt: skip


def one_sample(file: RecordFile) -> tuple[int, Mean] | None:
    """Return how many samples voted on a problem, and the mean share of them that are right; None of single replies."""
    most = max(reply.samples for reply in file.rows)
    shares = (Fraction(min(reply.right, reply.samples), reply.samples) for reply in file.rows)
    return (most, Mean.of(shares)) if most > 1 else None


def sides(report: Report) -> dict[tuple[int, str], str]:
    """Return by file and record's name which side a record changed to, against the file that it is compared with."""
    changed = {}
    for against in report.against():
        if against.comparison is None or report.files[against.after].is_loss:
            continue
        before, after = report.files[against.before].measured, report.files[against.after].measured
        for name in after.keys() & before.keys():
            if after[name].score != before[name].score:
                changed[against.after, name] = "gained" if after[name].score > before[name].score else "lost"
    return changed


def file_json(file: RecordFile) -> dict[str, Any]:
    """Return a file's counts, grades and spending."""
    rows = file.rows
    told: dict[str, Any] = {"file": file.name, "n": len(rows), "partial": file.is_partial, "settings": file.settings}
    if file.is_loss:
        mean, low, high = loss(rows)
        return told | {"loss": {"mean": round(mean, 5), "interval": [_finite(low), _finite(high)]}}
    return told | {name: count.as_json() for name, count in counts(file).items()} | {
        **({"one_sample": round(single[1].share, 4), "samples": single[0]} if (single := one_sample(file)) else {}),
        "kinds": grades_of(rows), "truncated": sum(row.truncated for row in rows),
        "tokens": sum(row.tokens for row in rows), "sampled": sum(row.sampled for row in rows),
        "seconds": round(sum(row.seconds for row in rows), 2),
        **({"votes": votes} if (votes := [row.vote_json() for row in rows if row.samples > 1]) else {}),
    }  # fmt: skip


def run_json(run: TrainingRun) -> dict[str, Any]:
    """Return what a run was, and its last metrics by phase."""
    last = {name: {"updates": phase.updates[-1], **{metric: _last(column) for metric, column in phase.columns.items()}}
            for name, phase in run.phases.items()}  # fmt: skip
    return {"run": run.name, "seed": run.seed, "versions": run.versions, "phases": last}


def _last(column: Sequence[float]) -> float | None:
    return column[-1] if isfinite(column[-1]) else None


def _finite(value: float) -> float | None:
    """Return a number that JSON has; the interval of one number has no ends."""
    return round(value, 5) if isfinite(value) else None


def _stratum_json(row: Stratum, files: Sequence[RecordFile]) -> dict[str, Any]:
    rates = {files[k].name: {"n": rate.n, **rate.as_json()} for k, rate in row.rates.items()}
    losses = {files[k].name: {"n": n, "mean": round(mean, 5)} for k, (n, (mean, _, _)) in row.losses.items()}
    return rates | losses
