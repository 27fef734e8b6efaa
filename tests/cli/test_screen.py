"""A screen gives the terminal back in order, also to a shell that somebody goes on with after Ctrl-Z."""

import os
import pty
import select
import signal
from collections.abc import Iterator
from typing import TextIO

import pytest

from mlx_trace.cli.screen import Screen

SHOWN, HIDDEN = "\x1b[?25h", "\x1b[?25l"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, TextIO]]:
    """Return a terminal's two ends."""
    monkeypatch.setenv("TERM", "xterm-256color")
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w", encoding="utf-8") as file:
        yield outer, file
    os.close(outer)


def read_until(outer: int, wanted: str) -> str:
    """Return what a terminal was sent, up to something that it must be sent."""
    text = ""
    while wanted not in text:
        assert select.select([outer], [], [], 60)[0], f"no {wanted!r} in {text!r}"
        text += os.read(outer, 4096).decode()
    return text


def test_ctrl_z_shows_the_cursor_while_the_shell_has_the_terminal(
    terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    outer, file = terminal
    stops: list[tuple[str, object]] = []

    def stop(_: int, number: int) -> None:
        stops.append((read_until(outer, SHOWN), signal.getsignal(number)))

    before = signal.getsignal(signal.SIGTSTP)
    screen = Screen(file=file)
    with screen.status("at work"):
        assert signal.getsignal(signal.SIGTSTP) == screen._pause
        monkeypatch.setattr(os, "kill", stop)
        signal.raise_signal(signal.SIGTSTP)
        monkeypatch.undo()
        (seen, handler), = stops  # fmt: skip
        assert seen.rindex(SHOWN) > seen.rindex(HIDDEN) and handler == signal.SIG_DFL
        read_until(outer, HIDDEN)  # it goes on as it was
        assert signal.getsignal(signal.SIGTSTP) == screen._pause
    assert signal.getsignal(signal.SIGTSTP) == before


def test_what_is_handled_or_ignored_already_stays_so(terminal: tuple[int, TextIO]) -> None:
    before = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        with Screen(file=terminal[1]).status("at work"):
            assert signal.getsignal(signal.SIGTSTP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTSTP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTSTP, before)
