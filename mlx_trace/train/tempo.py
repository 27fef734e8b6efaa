"""How fast a run is beside its own best, and whether the machine slept: lines for people, as it happens.

Takes what updates measured, in their order. Works on the clocks it is given; knows nothing of why a machine is slow.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mlx_trace.train.metrics import Metrics

SLOW: Final = 0.7  # of the best
_WINDOW: Final = 60.0  # seconds of work that are looked at together,
_SLOW_WINDOWS: Final = 2  # and so many of them in a row
_OTHER_WORK: Final = 1.25  # times as many loss positions a token are other work, with a best of its own
_ASLEEP: Final = 30.0  # seconds by which the wall clock goes ahead


@dataclass
class _Window:
    """Some updates together: tokens, those in the loss, and seconds."""

    tokens: float = 0.0
    targets: float = 0.0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds

    def is_other_work(self, other: "_Window") -> bool:
        """Tell whether a token costs something else than another's, for a larger or smaller share is in the loss."""
        own, its = self.targets / self.tokens, other.targets / other.tokens
        return max(own, its) > _OTHER_WORK * min(own, its)


class Tempo:
    """A run's pace, phase by phase, and its clocks."""

    def __init__(
        self, wall: Callable[[], float] = time.time, awake: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self.wall, self.awake = wall, awake  # the second one stands still while the machine sleeps
        self.before = wall(), awake()
        self.phase: object = None
        self.window, self.best, self.slow = _Window(), _Window(), 0
        self.has_told = False

    def note(self, metrics: Metrics) -> list[str]:
        """Take in an update; return what is to be said of it."""
        return [line for line in (self._slept(), self._slowed(metrics)) if line]

    def _slept(self) -> str | None:
        now = self.wall(), self.awake()
        gap = (now[0] - self.before[0]) - (now[1] - self.before[1])
        self.before = now
        if gap < _ASLEEP:
            return None
        return (f"the clock went on for {gap / 60:.0f} min without this process: the machine slept, or its clock was "
                "set; training goes on, and the time to come does not count it")  # fmt: skip

    def _slowed(self, metrics: Metrics) -> str | None:
        """Compare some updates with the fastest of their phase."""
        if metrics["phase"] != self.phase:
            self.phase, self.window, self.best, self.slow = metrics["phase"], _Window(), _Window(), 0
        tokens = float(metrics.get("tokens", 0.0)) or float(metrics.get("length", 0.0)) * float(
            metrics.get("episodes", 0.0)
        )
        self.window.tokens += tokens
        self.window.targets += float(metrics.get("target_tokens", tokens))
        self.window.seconds += float(metrics["seconds"])
        if self.window.seconds < _WINDOW or not self.window.tokens:
            return None
        window, self.window = self.window, _Window()
        if not self.best.tokens or window.rate > self.best.rate or window.is_other_work(self.best):
            self.best, self.slow = window, 0
            return None
        self.slow = self.slow + 1 if window.rate < SLOW * self.best.rate else 0
        if self.slow < _SLOW_WINDOWS or self.has_told:
            return None
        self.has_told = True
        return (f"{window.rate:,.0f} tokens/s, {window.rate / self.best.rate:.0%} of this run's best "
                f"({self.best.rate:,.0f}), for some minutes: the machine is hot, on battery or busy with something "
                "else; the time to come grows with it")  # fmt: skip
