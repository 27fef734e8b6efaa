"""What training measured, as charts: each metric of a phase over its updates, a line a run, thinned to be drawn.

Takes runs; returns charts in numbers from 0 to 1, with their ticks. Knows nothing of HTML.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10, nan
from typing import Any, Final

import numpy as np

from mlx_trace.evaluate.report.training import PhaseMetrics, TrainingRun
from mlx_trace.language.grade import GRADE_KINDS

_POINTS: Final = 180  # of a line; more updates are pooled
_TICKS: Final = 4
_NEARLY: Final = 1e-9
_SMALL: Final = 1e-3  # a step between ticks that is told in powers of ten
_GIGA: Final = 1e9
_TITLES: Final = {
    "reward": "mean reward", "loss": "loss", "val_loss": "loss on held-out examples",
    "kl": "KL from the reference, nats a token", "entropy": "entropy, nats a token",
    "tokens_per_second": "tokens a second",
    "rollout_tokens_per_second": "tokens a second, sampling", "learn_tokens_per_second": "tokens a second, learning",
    "peak_memory": "peak memory, GB", "grad_norm": "gradient norm", "learning_rate": "learning rate",
    "length": "tokens a reply", "truncated": "share of replies cut off", "sampled": "sampled tokens a reply",
    "frac_reward_zero_std": "share of groups whose rewards are all alike",
    "dead_groups": "groups whose rewards are all alike", "seconds": "seconds an update",
    "logprob_gap": "largest gap of log-probabilities", "reward_std": "deviation of rewards",
}  # fmt: skip
_FIRST: Final = tuple(_TITLES)  # in this order
_PHASES: Final = {"sft": "SFT", "rl": "reinforcement"}

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One run's line in a chart: runs of points without a gap, and where values lay if points are means of several.

    `read` has (update, value) of each point, as the page tells them.
    """

    run: int
    segments: list[list[Point]]
    bands: list[list[Point]]
    read: list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """A metric of a phase; ticks are (place from 0 to 1, what stands there)."""

    title: str
    phase: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    last: int  # update


@dataclass(frozen=True, slots=True)
class GradeChart:
    """The share of each grade among a run's rollouts, one above the other: areas as (kind, upper and lower edge)."""

    run: int
    areas: list[tuple[str, list[Point]]]
    x_ticks: list[tuple[float, str]]


def charts(runs: Sequence[TrainingRun]) -> list[Chart]:
    """Return a chart for each metric of each phase, the usual ones first."""
    drawn = []
    for phase in dict.fromkeys(name for run in runs for name in run.phases):
        own = {number: run.phases[phase] for number, run in enumerate(runs) if phase in run.phases}
        columns = {number: _columns(known) for number, known in own.items()}
        names = dict.fromkeys(name for column in columns.values() for name in column)
        for name in sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST)):
            lines = {
                number: (own[number].updates, column[name]) for number, column in columns.items() if name in column
            }
            title = _TITLES.get(name, name.replace("_", " "))
            drawn.append(_chart(title, _PHASES.get(phase, phase), lines))
    return drawn


def _columns(phase: PhaseMetrics) -> dict[str, list[float]]:
    """Return what is drawn of a phase: speeds and gigabytes in place of what they come from; no grades, no counters."""
    columns = dict(phase.columns)
    if "tokens" in columns and "seconds" in columns:
        both = zip(columns["tokens"], columns["seconds"], strict=True)
        columns["tokens_per_second"] = [tokens / seconds if seconds > 0 else nan for tokens, seconds in both]
    if "peak_memory" in columns:
        columns["peak_memory"] = [size / _GIGA for size in columns["peak_memory"]]
    hidden = {*GRADE_KINDS, "tokens", "target_tokens", "epoch", "groups"}
    return {name: column for name, column in columns.items() if name not in hidden}


def _chart(title: str, phase: str, columns: Mapping[int, tuple[Sequence[int], Sequence[float]]]) -> Chart:
    last = max(updates[-1] for updates, _ in columns.values())
    pooled = {number: _pooled(updates, column, last) for number, (updates, column) in columns.items()}
    values = [value for rows in pooled.values() for _, mean, low, high in rows for value in (mean, low, high)
              if isfinite(value)]  # fmt: skip
    ticks = _ticks(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)

    def place(update: float, value: float) -> Point:
        return round(_share(update, 1, last), 4), round(_share(value, low, high), 4)

    lines = [_line(number, rows, place) for number, rows in pooled.items()]
    y_ticks = [(_share(tick, low, high), _spelled(tick, ticks)) for tick in ticks]
    return Chart(title, phase, lines, _x_ticks(last), y_ticks, last)


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _pooled(updates: Sequence[int], column: Sequence[float], last: int) -> list[tuple[float, float, float, float]]:
    """Return (update, mean, least, most) of each point; a gap has NaN."""
    x, y = np.asarray(updates, dtype=np.float64), np.asarray(column, dtype=np.float64)
    y[~np.isfinite(y)] = np.nan
    size = max(1, -(-last // _POINTS))
    starts = np.flatnonzero(np.diff(np.floor((x - 1) / size), prepend=-1))
    rows = []
    for start, end in zip(starts, [*starts[1:], len(x)], strict=True):
        known = y[start:end][np.isfinite(y[start:end])]
        mean, low, high = (known.mean(), known.min(), known.max()) if known.size else (nan, nan, nan)
        rows.append((float(x[start:end].mean()), float(mean), float(low), float(high)))
    return rows


def _line(
    number: int, rows: Sequence[tuple[float, float, float, float]], place: Callable[[float, float], Point]
) -> Line:
    segments: list[list[Point]] = [[]]
    bands: list[list[Point]] = []
    for update, mean, _, _ in rows:
        if isfinite(mean):
            segments[-1].append(place(update, mean))
        elif segments[-1]:
            segments.append([])
    known = [row for row in rows if isfinite(row[1])]
    if any(low < high for _, _, low, high in known):
        upper = [place(update, high) for update, _, _, high in known]
        lower = [place(update, low) for update, _, low, _ in known]
        bands.append([*upper, *reversed(lower)])
    read = [(round(update), float(f"{mean:.5g}")) for update, mean, _, _ in known]
    return Line(number, [segment for segment in segments if segment], bands, read)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers that hold a range, from 0 where that is near."""
    if high - low <= _NEARLY * max(abs(low), abs(high)):  # equal, to rounding
        low, high = (min(0.0, 2 * low), max(0.0, 2 * low)) if low else (0.0, 1.0)
    if 0 < low < (high - low):
        low = 0.0
    rough = (high - low) / _TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)
    first = floor(low / step)
    count = int(-(-(high - first * step) // step))
    return [(first + k) * step for k in range(count + 1)]


def _spelled(value: float, ticks: Sequence[float]) -> str:
    """Return a tick's number with as many places as tell ticks apart."""
    step = ticks[1] - ticks[0]
    if abs(value) < step / 1e6:
        return "0"
    if abs(value) >= 1e6 or step < _SMALL:
        number, power = f"{value:.1e}".split("e")
        return f"{number.removesuffix('.0')}e{int(power)}".replace("-", "−")
    places = max(0, -floor(log10(step) + 1e-9))
    if abs(round(step, places) - step) > step / 1e6:  # 2.5
        places += 1
    return f"{value:,.{places}f}".replace("-", "−")


def _x_ticks(last: int) -> list[tuple[float, str]]:
    if last <= 1:
        return [(0.5, "1")]
    inner = [tick for tick in _ticks(1, last) if 1 < tick < 0.93 * last and tick == int(tick)]
    return [(_share(tick, 1, last), f"{tick:,.0f}") for tick in (1, *inner, last) if tick == 1 or tick > 0.07 * last]


def grade_charts(runs: Sequence[TrainingRun]) -> list[GradeChart]:
    """Return for each run that reinforced how its grades shifted."""
    drawn = []
    for number, run in enumerate(runs):
        phase = next((phase for phase in run.phases.values() if "correct" in phase.columns), None)
        if phase is not None:
            drawn.append(_grade_chart(number, phase))
    return drawn


def _grade_chart(number: int, phase: PhaseMetrics) -> GradeChart:
    last = phase.updates[-1]
    kinds = [kind for kind in GRADE_KINDS if kind in phase.columns]
    rows = {kind: _pooled(phase.updates, phase.columns[kind], last) for kind in kinds}
    below = [0.0] * len(rows[kinds[0]])
    xs = [round(_share(row[0], 1, last), 4) for row in rows[kinds[0]]]
    areas: list[tuple[str, list[Point]]] = []
    for kind in kinds:
        above = [low + (row[1] if isfinite(row[1]) else 0.0) for low, row in zip(below, rows[kind], strict=True)]
        edge = [(x, round(min(1.0, y), 4)) for x, y in zip(xs, above, strict=True)]
        edge += [(x, round(min(1.0, y), 4)) for x, y in reversed(list(zip(xs, below, strict=True)))]
        areas.append((kind, edge if len(xs) > 1 else _widened(edge)))
        below = above
    return GradeChart(number, areas, _x_ticks(last))


def _widened(edge: Sequence[Point]) -> list[Point]:
    """Return the area of the one update that there is."""
    (_, high), (_, low) = edge
    return [(0.0, high), (1.0, high), (1.0, low), (0.0, low)]


def readable(chart: Chart) -> dict[str, Any]:
    """Return what the page tells of the points of a chart."""
    return {"last": chart.last, "lines": [{"run": line.run, "read": line.read} for line in chart.lines]}
