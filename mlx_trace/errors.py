"""The user's mistakes. A model's mistake is data (`Failed`), a bug propagates; only this is caught by the CLI."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from textwrap import shorten

MOST_SHOWN = 10


class UserError(Exception):
    """Say what is wrong, the value got, where, and what is allowed; one line per fault, ten at most."""

    def __init__(self, *faults: str) -> None:
        self.faults: Sequence[str] = faults
        super().__init__("\n".join(faults))

    def lines(self) -> list[str]:
        """Return what a terminal shows: the first ten faults, then how many were left out."""
        shown = list(self.faults[:MOST_SHOWN])
        if left := len(self.faults) - len(shown):
            shown.append(f"… and {left} more")
        return shown


def meant(word: str, known: Iterable[str]) -> str:
    """Return `did you mean …? ` if a word is nearly one of those that are known; nothing if it is near none."""
    near = get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}? " if near else ""


def one_line(error: BaseException) -> str:
    """Return an error's message in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def short(error: Exception) -> str:
    """Return an error's message in a part of a line."""
    return shorten(one_line(error), 100, placeholder="…")


def why(error: Exception) -> str:
    """Return in words why something could not be read or written."""
    return (getattr(error, "strerror", None) or str(error)).lower()
