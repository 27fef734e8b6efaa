"""Stopping a run from outside: the first signal asks for an end after this update, the second ends at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Final

from mlx_trace.notice import tell

STOPS: Final = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


class Interrupted(Exception):
    """Training was stopped by the user after a finished, saved update."""


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or SIGTERM, or a terminal that closes) into a wish to stop after this update.

    A second Ctrl-C or SIGTERM stops at once, as a KeyboardInterrupt, so that the terminal is put in order; a third ends
    the process wherever it is. A closing terminal may say so twice, and says nothing to who started this with nohup.
    Signals are the main thread's: in another one nothing is turned into anything.
    """
    if current_thread() is not main_thread():
        yield lambda: False
        return
    wished = False

    def wish(number: int, _: FrameType | None) -> None:
        nonlocal wished
        if wished and number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
        if not wished:
            wished = True
            tell("finishing this update; once more stops at once", is_urgent=True)

    ignored = [number for number in STOPS[2:] if signal.getsignal(number) == signal.SIG_IGN]
    before = {number: signal.signal(number, wish) for number in STOPS if number not in ignored}
    try:
        yield lambda: wished
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
