"""The figures of a report as tables of Markdown, for a README or a model card: every share with its n and interval."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Final

from mlx_trace.evaluate.compared import Comparison
from mlx_trace.evaluate.records import Candidacy, ReadRecord, RecordFile
from mlx_trace.evaluate.report.figures import Loss, Report, Stratum, counts, loss
from mlx_trace.evaluate.stats import Mean, Rate
from mlx_trace.notice import safe

_MOST_STRATA: Final = 12  # of a division: the families of problems are more
_MOST_VOTES: Final = 20  # of a file: the page has all
_ESCAPED: Final = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>()#|~!&"})


def markdown(report: Report) -> str:
    """Return the tables: what was measured, by stratum, why replies are wrong, and file against file."""
    votes = map(_votes, report.files)
    tables = [_files(report.files), _strata(report), _causes(report), _comparisons(report), *votes, _runs(report)]
    return "\n\n".join("\n".join(lines) for table in tables if (lines := list(table)))


def foreign(text: str) -> str:
    """Return text that Markdown shows as it stands, in one line."""
    return " ".join(safe(text).split()).translate(_ESCAPED)


def percent(rate: Rate | Mean) -> str:
    """Return a share with its interval: 16% [8, 29]."""
    low, high = rate.interval
    return f"{100 * rate.share:.0f}% [{100 * low:.0f}, {100 * high:.0f}]"


def loss_in_words(loss: Loss) -> str:
    """Return a mean loss with its interval."""
    mean, low, high = loss
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]" if isfinite(low) else f"{mean:.3f} [one alone]"


def p_value(p: float) -> str:
    """Return a p to two places that count."""
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*cells: str) -> Iterator[str]:
    yield _row(cells)
    yield _row(["---", *["---:"] * (len(cells) - 1)])


def _files(files: Sequence[RecordFile]) -> Iterator[str]:
    replies = [file for file in files if not file.is_loss]
    if replies:
        yield from _head("records", "n", "parsed", "valid", "correct (95% interval)")
        for file in replies:
            cells = [percent(rate) for rate in counts(file).values()]
            yield _row([foreign(file.name), str(len(file.rows)), *cells[:2], f"**{cells[2]}**"])
    losses = [file for file in files if file.is_loss]
    if losses:
        yield from ["", *_head("gold traces", "n", "mean loss of what decides (95% interval)")][not replies :]
        for file in losses:
            yield _row([foreign(file.name), str(len(file.rows)), loss_in_words(loss(file.rows))])


def _strata(report: Report) -> Iterator[str]:
    replies = [k for k, file in enumerate(report.files) if not file.is_loss]
    if not replies:
        return
    divisions = report.strata()
    if not divisions:
        return
    yield from _head("correct, by", *(foreign(report.files[k].name) for k in replies))
    for by, rows in divisions.items():
        if len(rows) > _MOST_STRATA:
            continue
        for row in rows:
            yield _row([f"{by}: {foreign(row.label)}", *(_cell(row, k) for k in replies)])


def _cell(row: Stratum, file: int) -> str:
    rate = row.rates.get(file)
    return "–" if rate is None else f"{percent(rate)}, n {rate.n}"


def _causes(report: Report) -> Iterator[str]:
    causes = report.causes()
    if causes:
        yield from _head("why replies are wrong", *(foreign(file.name) for file in report.files if not file.is_loss))
        for name, row in causes.items():
            yield _row([foreign(name), *(str(count) for count, file in zip(row, report.files, strict=True)
                                         if not file.is_loss)])  # fmt: skip


def _comparisons(report: Report) -> Iterator[str]:
    known = [(against, against.comparison) for against in report.against() if against.comparison is not None]
    if known:
        yield from _head("on the same problems", "n", "before", "after", "difference", "gained", "lost", "exact p")
        for against, comparison in known:
            names = [foreign(report.files[k].name) for k in (against.after, against.before)]
            yield _row([" against ".join(names), str(comparison.n), *compared_in_words(comparison),
                        str(comparison.gained), str(comparison.lost), p_value(comparison.p)])  # fmt: skip


def compared_in_words(comparison: Comparison) -> tuple[str, str, str]:
    """Return before, after, and the difference in points (of losses, in nats), each with its interval."""
    mean, low, high = comparison.difference
    if isinstance(comparison.before, Rate) and isinstance(comparison.after, Rate):
        points = f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        return percent(comparison.before), percent(comparison.after), points
    first, second = (side for side in (comparison.before, comparison.after) if isinstance(side, tuple))
    return loss_in_words(first), loss_in_words(second), f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def _votes(file: RecordFile) -> Iterator[str]:
    """Yield the candidates of votes that went wrong or were not of one mind, wrong ones first."""
    apart = [row for row in file.rows if row.samples > 1 and (row.is_wrong or len(row.votes) > 1 or row.failed)]
    shown = sorted(apart, key=lambda row: row.correct)[:_MOST_VOTES]
    if shown:
        of = f" ({len(shown)} of {len(apart)})" if len(apart) > len(shown) else ""
        yield from _head(f"votes of {foreign(file.name)}{of}", "answer", "candidates: samples, weight", "no answer")
        for row in shown:
            said = "; ".join(f"{_candidate(row, vote)}: {vote.count}, {vote.weight:.3g}" for vote in row.votes)
            failed = ", ".join(f"{foreign(kind)} {count}" for kind, count in row.failed.items())
            yield _row([foreign(row.problem.id), row.problem.answer or "–", said or "–", failed or "–"])


def _candidate(row: ReadRecord, candidate: Candidacy) -> str:
    return f"**{foreign(candidate.answer)}**" if row.is_right(candidate) else foreign(candidate.answer)


def _runs(report: Report) -> Iterator[str]:
    if report.runs:
        yield from _head("run", "phase", "updates", "last loss or reward")
        for run in report.runs:
            for name, phase in run.phases.items():
                metric = next((column for column in ("reward", "loss") if column in phase.columns), "")
                value = f"{metric} {phase.columns[metric][-1]:.4g}" if metric else "–"
                yield _row([foreign(run.name), foreign(name), f"{phase.updates[-1]:,}", value])
