"""Questions to the network, which may hang beyond any timeout of its own: name servers do."""

from collections.abc import Callable
from threading import Thread
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE: Final = 4.0  # seconds to find out whether the hub is there


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what `ask` returns, or raise what it raises; TimeoutError after so many seconds."""
    answers: list[T] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # whoever waits gets it
            failures.append(error)

    thread = Thread(target=run, daemon=True)  # a process that ends need not wait for it
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not answers:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return answers[0]
