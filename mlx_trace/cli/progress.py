"""How far a run is: a line that lives at a terminal, of whatever width; a line now and then elsewhere.

Takes updates as they are reported. Shows phase, progress, losses or rewards, rate, memory, and the time to come.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mlx_trace.cli.screen import Screen
from mlx_trace.times import clock

if TYPE_CHECKING:
    from mlx_trace.train.examples import Watch
    from mlx_trace.train.loop import Report
    from mlx_trace.train.metrics import Metrics

_SHOWN: Final = {
    "sft": {"loss": "loss", "val_loss": "val", "val_accuracy": "acc"},
    "rl": {"reward": "reward", "correct": "correct", "val_accuracy": "acc"},
}
_NOW_AND_THEN: Final = ("val_loss", "val_accuracy")  # what not every update measures
_EVERY: Final = 10  # updates between two lines where there is no terminal,
_SECONDS: Final = 10.0  # or seconds
_RECENT: Final = 0.1  # weight of the latest update in the mean time of one
_OUTLIER: Final = 4.0  # times the mean, beyond which an update was held up, as by a lid: more tells nothing of the next
_FEW: Final = 5  # updates whose speed is no best yet
_BELOW: Final = 0.9  # of the best speed, from which on it is said how far
_LEAST_BAR: Final = 8  # columns; a shorter bar shows nothing
_GB: Final = 1e9


class Pace:
    """What is known of a phase: the time an update takes, and the latest of what is measured now and then."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.speed = self.best = 0.0  # tokens a second, lately and at most
        self.noted, self.validating = 0, 0.0  # updates, and seconds in which accuracy was measured between them
        self.kept: dict[str, Any] = {}

    def note(self, metrics: "Metrics") -> None:
        """Take in an update."""
        spent = min(float(metrics["seconds"]), _OUTLIER * (self.seconds or float(metrics["seconds"])))
        self.seconds = spent if self.seconds is None else (1 - _RECENT) * self.seconds + _RECENT * spent
        self.noted += 1
        self._note_speed(float(metrics.get("tokens", 0.0)), float(metrics["seconds"]))
        self.validating += float(metrics.get("val_seconds", 0.0))
        self.kept |= {name: metrics[name] for name in _NOW_AND_THEN if name in metrics}

    def _note_speed(self, tokens: float, seconds: float) -> None:
        if tokens and seconds:
            self.speed += (tokens / seconds - self.speed) * (_RECENT if self.speed else 1.0)
            self.best = max(self.best, self.speed) if self.noted > _FEW else self.speed

    def parts(self, phase: str, done: int, updates: int, metrics: "Metrics") -> list[str]:
        """Return what is shown of an update, in the order of its weight."""
        known = self.kept | metrics
        parts = [f"{phase} {done:,}/{updates:,}"]
        parts += [f"{label} {_short(known[name])}" for name, label in _SHOWN.get(phase, {}).items() if name in known]
        tokens = known.get("tokens", float(known.get("length", 0)) * float(known.get("episodes", 0)))
        if float(tokens) and float(metrics["seconds"]):
            share = f" ({self.speed / self.best:.0%} of best)" if self.speed < _BELOW * self.best else ""
            parts.append(f"{float(tokens) / float(metrics['seconds']):,.0f} tok/s{share}")
        if "peak_memory" in known:
            parts.append(f"{float(known['peak_memory']) / _GB:.2f} GB")
        if done < updates:
            each = (self.seconds or 0.0) + self.validating / max(1, self.noted)
            parts.append(f"ETA {clock((updates - done) * each)}")
        return parts


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def laid_out(parts: Iterable[str], width: int) -> list[str]:
    """Return parts as lines that are no wider than `width`, unless a part is by itself."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines.append(part)
    return lines


class Bars(Progress):
    """The line of each phase, with a bar where there is room for one, and on several lines where there is not."""

    def __init__(self, screen: Screen, auto_refresh: bool = True) -> None:
        self.screen = screen  # before rich draws for the first time, as it does at once
        super().__init__(console=screen, auto_refresh=auto_refresh)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield each phase's line or lines."""
        width = self.screen.width
        for task in self.tasks:
            parts = task.fields["parts"] or [task.description]
            lines = laid_out(parts, width)
            room = width - len(lines[0]) - 2
            if len(lines) > 1 or room < _LEAST_BAR:
                yield Text("\n".join(lines), no_wrap=True, overflow="crop")
                continue
            row = Table.grid(padding=(0, 2, 0, 0))
            bar = ProgressBar(total=task.total, completed=task.completed, width=room)
            row.add_row(Text(parts[0]), bar, Text("  ".join(parts[1:])))
            yield row


@contextlib.contextmanager
def progress(console: Screen) -> "Iterator[Report]":
    """Show updates as they come: live at a terminal; elsewhere the first, the last, every tenth, or one in 10 s."""
    paces: dict[str, Pace] = {}

    def parts(phase: str, done: int, updates: int, metrics: "Metrics") -> list[str]:
        pace = paces.setdefault(phase, Pace())
        pace.note(metrics)
        return pace.parts(phase, done, updates, metrics)

    if not console.is_terminal:
        told: dict[str, float] = {}

        def line(phase: str, done: int, updates: int, metrics: "Metrics") -> None:
            shown, now = parts(phase, done, updates, metrics), time.monotonic()
            is_due = phase not in told or done % _EVERY == 0 or done == updates or now - told[phase] >= _SECONDS
            if is_due or not metrics.keys().isdisjoint(_NOW_AND_THEN):
                told[phase] = now
                console.print("  ".join(shown))

        yield line
        return
    with Bars(console) as bars:
        tasks: dict[str, Any] = {}

        def bar(phase: str, done: int, updates: int, metrics: "Metrics") -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=updates, parts=[])
            bars.update(tasks[phase], completed=done, parts=parts(phase, done, updates, metrics))

        yield bar


@contextlib.contextmanager
def watching() -> "Iterator[Watch]":
    """Show at a terminal how far the data are, on stderr; nothing elsewhere."""
    console = Screen(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None), MofNCompleteColumn(),
               TextColumn("ETA"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("loading", total=None)

        def watch(what: str, done: int, total: int) -> None:
            if bars.tasks[0].description != what:
                bars.reset(task, description=what, total=total)
            bars.update(task, completed=done, total=total)

        yield watch
