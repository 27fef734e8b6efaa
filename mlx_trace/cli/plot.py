"""`mlx-trace plot`: what updates measured, as curves in the terminal, of a run or of several, while they go on too.

Drawn in braille, or in ASCII where the output is no UTF-8; without colours every run has a chart of its own.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlx_trace.cli.options import at_least
from mlx_trace.cli.screen import Screen
from mlx_trace.errors import UserError, meant
from mlx_trace.resources import is_bundled
from mlx_trace.run_files import METRICS_FILE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlx_trace.evaluate.report.training import PhaseMetrics, TrainingRun

SHOWN: Final = ("loss", "val_loss", "reward", "correct", "val_accuracy", "learn_tokens_per_second")  # unless named
_COLOURS: Final = ("cyan", "yellow", "magenta", "green", "red", "blue")
_MARGIN: Final = 11  # columns of the numbers beside a chart, and its edge
_LEAST: Final = 8  # columns of a chart
_DOTS: Final = 2  # of braille, in a column
_HEIGHT: Final = 10
_PAUSE: Final = 2.0  # seconds between two looks
_ASCII: Final = {0x2800 + dots: " .:-=+*%#"[dots.bit_count()] for dots in range(256)} | {ord("┤"): "|", ord("→"): ">"}


def add_plot_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's directory, finished or under way")
    parser.add_argument("-m", "--metric", nargs="+", action="extend", default=[], metavar="NAME",
                        help=f"what to draw, of what metrics.jsonl has; unless given {', '.join(SHOWN)}")  # fmt: skip
    parser.add_argument("--over", choices=("updates", "tokens"), default="updates",
                        help="what a curve goes over: updates (default), or the tokens they read")  # fmt: skip
    parser.add_argument("--height", type=at_least(2, 200), default=_HEIGHT, metavar="N",
                        help="lines of a chart (default %(default)s)")  # fmt: skip
    parser.add_argument("--follow", action="store_true", help="draw again as the run goes on, until Ctrl-C")


def run_plot(options: argparse.Namespace) -> int:
    screen = Screen()
    screen.soft_wrap = not screen.is_terminal
    if not options.follow:
        for chart in charts(options, screen):
            screen.print(chart)
        return 0
    if not screen.is_terminal:
        raise UserError("--follow draws over what it has drawn, which only a terminal can; leave it out in a pipe")
    from rich.console import Group
    from rich.live import Live

    try:
        with Live(Group(*charts(options, screen)), console=screen, auto_refresh=False) as live:
            while True:
                time.sleep(_PAUSE)
                live.update(Group(*charts(options, screen)), refresh=True)
    except KeyboardInterrupt:
        return 0


@dataclass(frozen=True, slots=True)
class PlottedCurve:
    """What a phase of a run measured: a name for people, and points in rising order."""

    run: str
    xs: list[float]
    ys: list[float]

    def thinned(self, most: int) -> "PlottedCurve":
        """Return at most so many points, each the mean of those it stands for."""
        size = -(-len(self.xs) // most)
        parts = [slice(start, start + size) for start in range(0, len(self.xs), size)]
        return PlottedCurve(self.run, *([sum(own[part]) / len(own[part]) for part in parts]
                                        for own in (self.xs, self.ys)))  # fmt: skip


def charts(options: argparse.Namespace, screen: Screen) -> "Iterator[RenderableType]":
    """Yield a heading and a chart for every metric of every phase; UserError where there is nothing to draw."""
    from rich.text import Text

    from mlx_trace.evaluate.report.training import read_training

    runs = [read_training(run) for run in options.runs]
    names = options.metric or SHOWN
    panels = list(_found(runs, names, options.over))
    if missing := [name for name in options.metric if name not in {metric for _, metric, _ in panels}]:
        known = sorted({name for run in runs for phase in run.phases.values() for name in phase.columns})
        listed = f"there are {', '.join(known)}"
        raise UserError(*(f"no update measured {name!r}; {meant(name, known).strip() or listed}" for name in missing))
    if not panels:
        raise UserError(*map(_undrawn, options.runs))
    has_colours = screen.color_system is not None
    for phase, metric, curves in panels:
        yield Text(f"{phase} {metric}, over {options.over}", style="bold")
        for own in [curves] if has_colours else [[curve] for curve in curves]:
            yield from _chart(own, curves, options, screen, has_colours)


def _undrawn(run: Path) -> str:
    """Say that there is nothing to draw of a run, and whether there will be."""
    if is_bundled(run):
        return f"{run}: the adapter that comes with mlx-trace has no updates in a {METRICS_FILE} to draw"
    return f"{run}: there are no updates to draw yet"


def _found(
    runs: "Sequence[TrainingRun]", names: Sequence[str], over: str
) -> Iterator[tuple[str, str, list[PlottedCurve]]]:
    """Yield the curves of all runs, by phase and metric."""
    for phase in dict.fromkeys(name for run in runs for name in run.phases):
        for metric in dict.fromkeys(names):
            curves = [curve for run in runs if phase in run.phases
                      if (curve := _curve(run.name, run.phases[phase], metric, over)).xs]  # fmt: skip
            if curves:
                yield phase, metric, curves


def _curve(run: str, phase: "PhaseMetrics", metric: str, over: str) -> PlottedCurve:
    xs: list[float] = [float(update) for update in phase.updates]
    if over == "tokens":
        xs, total = [], 0.0
        for tokens in _tokens(phase):
            total += tokens
            xs.append(total)
        if not total:  # earlier versions did not note them
            return PlottedCurve(run, [], [])
    points = [(x, y) for x, y in zip(xs, phase.columns.get(metric, ()), strict=False) if isfinite(y)]
    return PlottedCurve(run, [x for x, _ in points], [y for _, y in points])


def _tokens(phase: "PhaseMetrics") -> list[float]:
    """Return how many tokens each update read, or sampled."""
    columns, none = phase.columns, [0.0] * len(phase.updates)
    if "tokens" in columns:
        counts = columns["tokens"]
    else:
        lengths, episodes = columns.get("length", none), columns.get("episodes", none)
        counts = [length * count for length, count in zip(lengths, episodes, strict=True)]
    return [count if isfinite(count) else 0.0 for count in counts]


def _chart(
    own: Sequence[PlottedCurve], of_all: Sequence[PlottedCurve], options: argparse.Namespace, screen: Screen,
    has_colours: bool,
) -> "Iterator[RenderableType]":  # fmt: skip
    """Yield a line that says which curve is which, and a chart in the limits of all curves."""
    from plotille import Canvas
    from rich.text import Text

    is_ascii = not (screen.encoding or "").lower().startswith("utf")
    width = max(_LEAST, screen.page_width - _MARGIN)
    limits = (*_span([x for curve in of_all for x in curve.xs]), *_span([y for curve in of_all for y in curve.ys]))
    left, right, low, high = limits
    canvas = Canvas(width, options.height, left, low, right, high)
    for index, curve in enumerate(own):
        colour = _COLOURS[index % len(_COLOURS)] if has_colours else None
        thin = curve.thinned(_DOTS * width)
        yield Text(f"{curve.run}: {curve.ys[0]:.4g} → {curve.ys[-1]:.4g}".translate(_ASCII if is_ascii else {}),
                   style=colour or "")  # fmt: skip
        points = list(zip(thin.xs, thin.ys, strict=True))
        for before, after in zip(points, points[1:] or points, strict=False):
            canvas.line(*before, *after, color=colour)
    lines = canvas.plot().split("\n")
    labels = {0: f"{high:.4g}", len(lines) - 1: f"{low:.4g}"}
    drawn = "\n".join(
        f"{labels.get(number, ''):>{_MARGIN - 1}.{_MARGIN - 1}}┤{line}" for number, line in enumerate(lines)
    )
    first, last = f"{of_all[0].xs[0]:,.0f}", f"{max(curve.xs[-1] for curve in of_all):,.0f}"
    axis = f"{'':{_MARGIN}}{first}{last:>{max(1, width - len(first))}}"
    yield Text.from_ansi(drawn.translate(_ASCII) if is_ascii else drawn)
    yield Text(axis)


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Return the least and the largest value, a little apart where they are one."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - abs(low) / 10 - 0.5, high + abs(high) / 10 + 0.5)
