"""A run's trackers together: they are started with its first update, and what fails in one is told once.

Takes updates as they are reported. Never stops a run, and never lets a library print or ask.
"""

import contextlib
import io
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from mlx_trace.background import begun
from mlx_trace.config import Config, TrackerName
from mlx_trace.errors import UserError, short
from mlx_trace.files import read_json, write_atomically
from mlx_trace.notice import tell
from mlx_trace.run_files import TRACKING_FILE
from mlx_trace.tracking.tracker import State, TrackedRun, Tracker
from mlx_trace.tracking.trackers import TRACKERS

_PROJECT: Final = "mlx-trace"
_PATIENCE: Final = 60.0  # seconds for the last that is sent


class Tracking:
    """The trackers of a run; `before` counts the updates of the phases before each."""

    def __init__(self, config: Config, before: Mapping[str, int], is_resumed: bool) -> None:
        self.config, self.before, self.is_resumed = config, before, is_resumed
        self.trackers: dict[TrackerName, Tracker] | None = None
        self.step = 0

    def note(self, phase: str, done: int, metrics: Mapping[str, float | int | str]) -> None:
        """Send what an update measured: its numbers."""
        if self.trackers is None:
            self.trackers = {}
            self._start()
        self.step = self.before[phase] + done
        values = {f"{phase}/{name}": float(value) for name, value in metrics.items()
                  if isinstance(value, int | float) and name != "update"}  # fmt: skip
        for name, tracker in list(self.trackers.items()):
            self._try(name, partial(tracker.log, values, self.step))

    def finish(self, figures: Mapping[str, float], state: State) -> None:
        """Send the final figures, and wait for what was not sent yet, for a while."""
        for name, tracker in list((self.trackers or {}).items()):
            self._try(name, partial(self._finish_one, tracker, figures, state))

    def _start(self) -> None:
        run = self._described()
        for name in self.config.report_to:
            self._try(name, partial(self._start_one, name, run))

    def _start_one(self, name: TrackerName, run: TrackedRun) -> None:
        tracker = TRACKERS[name]()
        place = tracker.start(run)
        self.trackers = {**(self.trackers or {}), name: tracker}
        if place:
            tell(f"tracked by {name}: {place}")

    def _finish_one(self, tracker: Tracker, figures: Mapping[str, float], state: State) -> None:
        begun(partial(tracker.finish, figures, self.step, state))(_PATIENCE)

    def _described(self) -> TrackedRun:
        """Return the run as trackers know it, with the id that it was given when it began."""
        path = self.config.adapter_path
        known = _known_id(path / TRACKING_FILE) if self.is_resumed else None
        own = known or secrets.token_hex(16)[:21]
        if known is None:
            write_atomically(path / TRACKING_FILE, [json.dumps({"id": own}) + "\n"])
        return TrackedRun(own, self.config.project_name or _PROJECT, self.config.run_name or path.name,
                          self.config.model_dump(mode="json"), path, known is not None)  # fmt: skip

    def _try(self, name: TrackerName, act: Callable[[], object]) -> None:
        """Let a tracker do something; one that fails is told of, and left."""
        try:
            with _silent():
                act()
        except Exception as error:  # whatever a library, a network or an account makes of it: the run goes on
            (self.trackers or {}).pop(name, None)
            tell(f"{name}: {short(error)}; the run goes on, and metrics.jsonl tells of it")


def _known_id(file: Path) -> str | None:
    with contextlib.suppress(UserError):
        content = read_json(file) if file.is_file() else None
        own = content.get("id") if isinstance(content, dict) else None
        return own if isinstance(own, str) else None
    return None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Let nothing print, and nothing ask a person at the terminal, who waits for a run."""
    before = sys.stdin
    with open(os.devnull, encoding="utf-8") as nobody, contextlib.redirect_stdout(io.StringIO()):  # noqa: PTH123
        sys.stdin = nobody
        try:
            yield
        finally:
            sys.stdin = before
