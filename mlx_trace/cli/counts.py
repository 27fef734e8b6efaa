"""What `mlx-trace eval` measured, as tables for a person and as JSON for a program."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mlx_trace.evaluate.counted import Counted, count

if TYPE_CHECKING:
    from mlx_trace.evaluate.compared import Comparison
    from mlx_trace.evaluate.costs import Cost
    from mlx_trace.evaluate.polled import PollSummary
    from mlx_trace.evaluate.record import Record, Summary


@dataclass(frozen=True, slots=True)
class Counts(Counted):
    """What was measured, as a table has it."""

    cells: Callable[[Any], dict[str, str]]
    notes: tuple[str, ...] = ()  # beneath the table

    def table(self, title: str) -> Table:
        """Return the counts as a table, a line a stratum: n, and every count with its share and 95% interval."""
        shown = table(title, "", *self.cells(self.total))
        for name, summary in self.strata.items():
            shown.add_row(name, *self.cells(summary).values())
        shown.add_row("all", *self.cells(self.total).values(), style="bold")
        return shown


def table(title: str, *headings: str) -> Table:
    """Return an empty table whose first column holds names."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if index else "left")
    return shown


def counts_of(records: "Sequence[Sequence[Record]]", by: str, repair: int = 0) -> Counts:
    """Count the replies to problems, all and by strata, for people."""
    from mlx_trace.evaluate.polled import PollSummary

    counted, mended = count(records, by), _mended([record for own in records for record in own], repair)
    total = counted.total
    if not isinstance(total, PollSummary):
        return Counts(counted.records, counted.rows, total, counted.strata, _cells, mended)
    voted = "the vote against the first sample: {1} newly right, {0} no longer right; exact McNemar p = {2:.2g}"
    passed = "pass@k: " + "; ".join(f"{k}: {mean.brief()}" for k, mean in total.passes.items())
    notes = (passed, voted.format(*total.paired), *mended)
    return Counts(counted.records, counted.rows, total, counted.strata, _poll_cells, notes)


def _mended(replies: "Sequence[Record]", repair: int) -> tuple[str, ...]:
    """Return how many replies did not run, and after how many turns of repair how many were right."""
    if not repair:
        return ()
    after = [[record.turns[min(turn, len(record.turns) - 1)] for record in replies] for turn in range(repair + 1)]
    failed = [sum(turn.failed for turn in turns) for turns in after]
    right = [sum(turn.grade.kind == "correct" for turn in turns) for turns in after]
    told = "; ".join(f"after {turn or 'no'} repair{'s' * (turn != 1)} {ran} do not run, {correct} are right"
                     for turn, (ran, correct) in enumerate(zip(failed, right, strict=True)))  # fmt: skip
    return (f"of {len(replies)} replies {told}",)


def _cells(summary: "Summary") -> dict[str, str]:
    rates = {"parsed": summary.parsed, "valid": summary.valid, "correct": summary.correct}
    return {"n": str(summary.parsed.n)} | {name: rate.brief() for name, rate in rates.items()}


def _poll_cells(summary: "PollSummary") -> dict[str, str]:
    samples = max(summary.passes)
    return {"n": str(summary.vote.n), "one sample": summary.one_sample.brief(),
            f"vote of {samples}": summary.vote.brief(), f"pass@{samples}": summary.passes[samples].brief()}  # fmt: skip


# --- side by side ----------------------------------------------------------------------------------------------


def beside(main: Counts, other: Counts) -> "dict[str, Comparison]":
    """Compare two ways to ask, problem by problem: the other one before, the main one after.

    Where one has several samples, only answers are of both.
    """
    from mlx_trace.evaluate.compared import compare_counts
    from mlx_trace.evaluate.record import Record

    is_single = isinstance(main.rows[0], Record) and isinstance(other.rows[0], Record)
    kinds = ("parsed", "valid", "correct") if is_single else ("correct",)
    return {kind: compare_counts(*([bool(getattr(row, kind)) for row in side.rows] for side in (other, main)))
            for kind in kinds}  # fmt: skip


def beside_table(title: str, names: tuple[str, str], compared: "Mapping[str, Comparison]") -> Table:
    """Return two ways to ask in two columns, with the difference, what changed sides, and p."""
    shown = table(title, "", *names, "points", "changed", "p")
    for kind, comparison in compared.items():
        mean, low, high = (100 * value for value in comparison.difference)
        difference, changed = f"{mean:+.1f} [{low:+.0f}, {high:+.0f}]", f"+{comparison.gained} −{comparison.lost}"
        rates = _brief(comparison.after), _brief(comparison.before)
        shown.add_row(kind, *rates, difference, changed, f"{comparison.p:.2g}",
                      style="bold" if kind == "correct" else "")  # fmt: skip
    return shown


def _brief(rate: Any) -> str:
    return str(rate.brief())


def cost_table(costs: "Mapping[str, Sequence[Cost]]") -> Table:
    """Return what ways to answer cost, by the name of the way to ask, as a table."""
    shown = table("right against what it takes, a problem", "", "right", "tokens read", "written", "seconds")
    for way, own in costs.items():
        for cost in own:
            shown.add_row(f"{way}: {cost.name}" if way else cost.name, cost.correct.brief(),
                          f"{cost.prompt_tokens:,.0f}", f"{cost.tokens:,.0f}", f"{cost.seconds:.2f}")  # fmt: skip
    return shown
