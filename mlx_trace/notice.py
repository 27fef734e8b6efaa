"""What a person should know while something goes on that returns no words: one line on stderr, never on stdout.

Of several processes of one run only the first speaks. Text from elsewhere is made safe to show here, and only here.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_RANK: Final = "MLX_RANK"  # as mlx.launch sets it
_UNSAFE: Final = re.compile(  # what a terminal acts on instead of showing it: controls, directions, half characters
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_HEARD: Final[ContextVar[Callable[[str], None] | None]] = ContextVar("heard", default=None)
_HUSHED: Final[ContextVar[bool]] = ContextVar("hushed", default=False)
_PICTURES: Final = 0x2400  # where Unicode has pictures of the control characters
_DELETE: Final = "\x7f"


def safe(text: str) -> str:
    """Return text that a terminal can only show: an escape is seen as ␛, and begins nothing. Lines and tabs stay."""
    return _UNSAFE.sub(_picture, text)


def is_text(text: str) -> bool:
    """Tell whether there are no half characters in it, which is what bytes that are not UTF-8 are read as."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(_PICTURES + code)
    return "␡" if match[0] == _DELETE else "\ufffd"


def safe_json(text: str) -> str:
    """Return JSON that says the same, and that a terminal can only show."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_message(text: str) -> str:
    """Return text as one message: safe, and with its further lines set in, so that none passes for a message."""
    return safe(text).replace("\n", "\n  ")


@contextmanager
def heard(hear: Callable[[str], None]) -> Iterator[None]:
    """Let what is told in here, by this thread, be heard by a function instead of being printed."""
    before = _HEARD.set(hear)
    try:
        yield
    finally:
        _HEARD.reset(before)


@contextmanager
def hushed() -> Iterator[None]:
    """Let nothing be told in here, by this thread, but what is urgent: it has been told before."""
    before = _HUSHED.set(True)
    try:
        yield
    finally:
        _HUSHED.reset(before)


def is_heard() -> bool:
    """Tell whether a program hears what is told here, which then is told to whoever wrote it."""
    return _HEARD.get() is not None


def tell(line: str, is_urgent: bool = False) -> None:
    """Print a line to stderr, at once; a stderr that is closed or full is no reason to stop.

    What a program hears instead is not printed, unless a person waits for it.
    """
    if _HUSHED.get() and not is_urgent:
        return
    if (hear := _HEARD.get()) is not None and not is_urgent:
        hear(one_message(line))
    elif os.environ.get(_RANK, "0") == "0":
        try:
            print(f"mlx-trace: {one_message(line)}", file=sys.stderr, flush=True)
        except (OSError, ValueError, RuntimeError):  # the last: a signal came while something else was being printed
            return
