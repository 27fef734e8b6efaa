"""Work beside whatever else goes on: begun now, and waited for to its end, or for a while where it may hang."""

from collections.abc import Callable
from threading import Thread
from typing import Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Wait(Protocol[T_co]):
    """Waits for work that was begun."""

    def __call__(self, seconds: float | None = None) -> T_co:
        """Return what the work returns, or raise what it raises; TimeoutError after so many seconds."""


def begun(work: Callable[[], T]) -> Wait[T]:
    """Begin some work; return what waits for it."""
    results: list[T] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # whoever waits gets it
            failures.append(error)

    thread = Thread(target=run, daemon=True)  # a process that ends need not wait for it
    thread.start()

    def wait(seconds: float | None = None) -> T:
        thread.join(seconds)
        if failures:
            raise failures[0]
        if not results:
            raise TimeoutError(f"no answer in {seconds} s")
        return results[0]

    return wait
