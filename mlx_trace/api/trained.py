"""TrainedRun: a run's folder as programs and notebooks read it: its metrics, its samples, its adapter."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_trace.api import html
from mlx_trace.api.arguments import path_of
from mlx_trace.errors import UserError
from mlx_trace.files import lenient_lines
from mlx_trace.json_text import parse_json
from mlx_trace.notice import safe
from mlx_trace.numbered import numbered
from mlx_trace.resources import adapter_at, expanded
from mlx_trace.run_files import BEST, CONFIG_FILE, METRICS_FILE, SAMPLES_FILE

if TYPE_CHECKING:
    from mlx_trace.api.model import Model
    from mlx_trace.config import Config

_SHOWN = ("loss", "val_loss", "reward", "correct", "val_accuracy")


@dataclass(frozen=True, slots=True, repr=False)
class TrainedRun:
    """A run's folder, whole or under way. `doubts` says what went wrong in phases that are done, a line each."""

    adapter_path: Path
    doubts: Sequence[str] = ()

    @classmethod
    def open(cls, path: str | Path) -> "TrainedRun":
        """Return the run of a folder, or a bundled adapter's (`adapters/tiny`); UserError if there is none."""
        folder = adapter_at(expanded(path_of(path, "path")))
        if not (folder / CONFIG_FILE).is_file():
            raise UserError(f"{folder}: no run's folder: it has no {CONFIG_FILE}")
        return cls(folder)

    @property
    def best_path(self) -> Path | None:
        """Return the folder of the adapter that measured best, where anything was measured."""
        return self.adapter_path / BEST if (self.adapter_path / BEST).is_dir() else None

    @property
    def config(self) -> "Config":
        """Return the configuration that it was started with."""
        from mlx_trace.train.run_dir import read_run_config

        return read_run_config(self.adapter_path)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Return a row an update, as metrics.jsonl has them: for pandas, as they are."""
        return list(_rows(self.adapter_path / METRICS_FILE))

    @property
    def samples(self) -> list[dict[str, Any]]:
        """Return the samples of reinforcement that were saved, a row each."""
        return list(_rows(self.adapter_path / SAMPLES_FILE))

    @property
    def figures(self) -> dict[str, float]:
        """Return what the last updates measured, as `sft/loss`, with the number of updates and their seconds."""
        from mlx_trace.train.metrics import figures_of

        return figures_of(self.metrics)

    def curve(self, metric: str, phase: str | None = None) -> tuple[list[int], list[float]]:
        """Return the updates in which something was measured, counted through all phases or within one, and the values.

        UserError where it never was, with what was.
        """
        rows = [row for row in self.metrics if phase in (None, row.get("phase"))]
        points = [(number, float(row[metric])) for number, row in enumerate(rows, start=1)
                  if isinstance(row.get(metric), int | float)]  # fmt: skip
        if not points:
            known = sorted({name for row in rows for name, value in row.items() if isinstance(value, int | float)})
            raise UserError(f"{self.adapter_path}: no update measured {metric!r}; there are {', '.join(known)}")
        return [update for update, _ in points], [value for _, value in points]

    def load(self, best: bool = False) -> "Model":
        """Load the model with the run's adapter, or with the best of those it had."""
        from mlx_trace.api.model import load

        if best and self.best_path is None:
            raise UserError(f"{self.adapter_path}: has no {BEST}: nothing was measured by which one is better")
        return load(adapter_path=self.best_path if best else self.adapter_path)

    def __repr__(self) -> str:
        return safe(f"TrainedRun({str(self.adapter_path)!r}, updates={self.figures['updates']:.0f})")

    def _repr_html_(self) -> str:
        figures = self.figures
        rows = [(name, f"{value:.4g}") for name, value in figures.items() if name.rpartition("/")[2] in _SHOWN]
        told = f"{self.adapter_path}: {numbered(round(figures['updates']), 'update')} in {figures['seconds']:.0f} s"
        return f"<div>{html.paragraph(told)}{html.table((), rows)}{''.join(map(html.paragraph, self.doubts))}</div>"


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, if there is one; a line that is being written is none."""
    for _, line in lenient_lines(file) if file.is_file() else ():
        with suppress(ValueError, RecursionError):
            row = parse_json(line or "")
            if isinstance(row, dict):
                yield row
