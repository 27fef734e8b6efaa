"""A run's folder as a report reads it: what its updates measured, its configuration, its versions.

Takes a folder that training left, whole or under way. What is broken in it is told, and the rest is read.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final

from mlx_trace.errors import UserError
from mlx_trace.files import lenient_lines, read_json, read_text
from mlx_trace.json_text import parse_json
from mlx_trace.notice import tell
from mlx_trace.resources import adapter_at
from mlx_trace.run_files import ADAPTER_CONFIG, CONFIG_FILE, METRICS_FILE, PROGRESS, STATE
from mlx_trace.yaml_text import read_yaml

FILES: Final = (METRICS_FILE, CONFIG_FILE, ADAPTER_CONFIG)
_NO_METRIC: Final = ("phase", "update")
_MOST_METRICS: Final = 60  # of one phase

Columns = dict[str, list[float]]  # by metric, a number an update; NaN where there is none


@dataclass(frozen=True, slots=True)
class PhaseMetrics:
    """What the updates of SFT or of reinforcement measured; `updates` are their numbers, rising."""

    updates: list[int]
    columns: Columns


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A run: its phases by name, its configuration as it is written, and what its checkpoints say it ran with."""

    name: str
    phases: dict[str, PhaseMetrics]
    config: str
    seed: int | None
    adapter: dict[str, Any]
    versions: dict[str, str]


def read_training(named: Path) -> TrainingRun:
    """Read a run's folder, by which it stays named, or a bundled adapter's; UserError where it holds none of a run's
    files."""
    folder = adapter_at(named)
    if not any((folder / name).is_file() for name in FILES):
        raise UserError(f"{folder}: is no run's folder: it has none of {', '.join(FILES)}")
    config = read_text(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else ""
    content = read_yaml(config, str(folder / CONFIG_FILE)) if config else None
    seed = content.get("seed") if isinstance(content, dict) else None
    adapter = read_json(folder / ADAPTER_CONFIG) if (folder / ADAPTER_CONFIG).is_file() else {}
    return TrainingRun(
        str(named), _phases(folder / METRICS_FILE), config, seed if isinstance(seed, int) else None,
        adapter if isinstance(adapter, dict) else {}, _versions(folder / STATE),
    )  # fmt: skip


def _phases(file: Path) -> dict[str, PhaseMetrics]:
    """Return the updates by phase; one that was done again after a stop counts once, as it was done last."""
    rows: dict[str, dict[int, dict[str, Any]]] = {}
    broken = 0
    for _, line in lenient_lines(file) if file.is_file() else ():
        row = _row(line)
        if row is None:
            broken += 1
        else:
            rows.setdefault(str(row["phase"]), {})[row["update"]] = row
    if broken and not rows:
        raise UserError(f"{file}: holds no updates as mlx-trace train writes them")
    if broken > 1:  # one may be half a line that is being written
        tell(f"{file}: {broken} lines are no updates, and are left out")
    return {name: _phase(own) for name, own in rows.items()}


def _row(line: str | None) -> dict[str, Any] | None:
    with suppress(ValueError):
        row = parse_json(line or "")
        if isinstance(row, dict) and "phase" in row and type(row.get("update")) is int:
            return row
    return None


def _phase(rows: dict[int, dict[str, Any]]) -> PhaseMetrics:
    updates = sorted(rows)
    names: dict[str, None] = {}
    for update in updates:
        names.update(dict.fromkeys(rows[update]))
    columns = {name: [_number(rows[update].get(name)) for update in updates] for name in names
               if name not in _NO_METRIC}  # fmt: skip
    known = {name: column for name, column in columns.items() if any(map(isfinite, column))}
    return PhaseMetrics(updates, dict(list(known.items())[:_MOST_METRICS]))


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) else float("nan")
    except OverflowError:
        return float("nan")


def _versions(state: Path) -> dict[str, str]:
    """Return what the last checkpoint says that the result depends on; nothing if there is none."""
    for file in _progress(state):
        with suppress(ValueError, UserError):
            content = read_json(file)
            known = content.get("versions") if isinstance(content, dict) else None
            if isinstance(known, dict):
                return {str(name): str(version) for name, version in known.items()}
    return {}


def _progress(state: Path) -> Iterator[Path]:
    if state.is_dir():
        for folder in sorted((path for path in state.iterdir() if path.name.isdigit()), reverse=True):
            if (folder / PROGRESS).is_file():
                yield folder / PROGRESS
