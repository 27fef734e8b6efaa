"""`mlx-trace eval --gold-loss`: what problems' gold traces cost a model, by what is chosen, in place of answers."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mlx_trace.cli.counts import table
from mlx_trace.cli.screen import Screen

if TYPE_CHECKING:
    from rich.table import Table

    from mlx_trace.train.gold_loss import GoldLoss


class LossCounts:
    """The losses of many gold traces, by the kind of choice: the costliest first, then sums of them."""

    def __init__(self, losses: "Sequence[GoldLoss]") -> None:
        from mlx_trace.evaluate.losses import SPELLED, deciding

        kinds: dict[str, list[float]] = {}
        for own in losses:
            for kind, values in own.kinds.items():
                kinds.setdefault(kind, []).extend(values)
        deciders = deciding(kinds)
        spelled = [value for kind, values in kinds.items() if kind.endswith(SPELLED) for value in values]
        self.n = len(losses)
        self.sums = {"what decides": deciders, "words that are spelled": spelled, "all": [*deciders, *spelled]}
        self.costliest = dict(sorted(kinds.items(), key=lambda item: -sum(item[1])))

    def as_json(self) -> dict[str, Any]:
        """Return the mean loss of each kind, and how many choices it is of."""
        means = {kind: {"choices": len(values), "mean": round(fmean(values), 5)}
                 for kind, values in {**self.sums, **self.costliest}.items() if values}  # fmt: skip
        return {"n": self.n, "loss": means}

    def table(self, data: str) -> "Table":
        """Return the same as a table."""
        shown = table(f"{data}: {self.n} gold traces", "", "choices", "mean loss", "of all")
        for kind, values in (*self.costliest.items(), *self.sums.items()):
            share = sum(values) / max(sum(self.sums["all"]), 1e-9)
            shown.add_row(kind, f"{len(values):,}", f"{fmean(values or [0]):.3f}", f"{share:.1%}",
                          style="bold" if kind in self.sums else "")  # fmt: skip
        return shown

    def show(self, data: str) -> None:
        """Print the table."""
        Screen().print(self.table(data))
