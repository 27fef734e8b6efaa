"""Tracker: what follows a run for somebody else's dashboard: numbers go there, and the configuration, but no question.

Knows nothing of the libraries that are behind it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

State = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a tracker is told of a run. `id` is the run's own, and one that `is_resumed` goes on under it.

    `folder` is the run's, in which a tracker keeps what it writes in one of its own.
    """

    id: str
    project: str
    name: str
    config: Mapping[str, Any]
    folder: Path
    is_resumed: bool


class Tracker(Protocol):
    """Follows one run; whatever it raises ends the following, and never the run."""

    def start(self, run: TrackedRun) -> str | None:
        """Begin, or go on; return where the run can be seen, if that is known."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Note what an update measured; steps rise through all phases, and a resumed run may repeat some."""

    def finish(self, figures: Mapping[str, float], step: int, state: State) -> None:
        """Note the final figures, and end."""
