"""The chat in a real terminal (a pty): it streams, is stopped, resized and suspended, and leaves the terminal as it was."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_chat import FAILS, GOOD, HOSTILE, QUESTION

PATIENCE = 120.0  # seconds: a machine may be busy
ROOT = Path(__file__).parents[2]


class Terminal:
    """A chat that runs in a terminal of its own."""

    def __init__(self, folder: Path, seconds: float, **environment: str) -> None:
        replies = folder / "replies.json"
        replies.write_text(json.dumps([GOOD, FAILS]), encoding="utf-8")
        self.handle, self.inner = pty.openpty()
        self.resize(100, 30)
        self.settings = termios.tcgetattr(self.inner)
        own = {"TERM": "xterm-256color", "XDG_STATE_HOME": str(folder), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
               "PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONUNBUFFERED": "1", **environment}  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.cli.scripted_chat", str(replies), str(seconds)], stdin=self.inner, stdout=self.inner,
            stderr=self.inner, env=own, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self.seen, self.raw = 0, b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text: str | bytes) -> None:
        os.write(self.handle, text if isinstance(text, bytes) else text.encode())

    def until(self, wanted: str) -> str:
        """Return what is shown up to some words that were not shown before."""
        end = time.monotonic() + PATIENCE
        while wanted not in (new := self.text()[self.seen :]):
            assert time.monotonic() < end, f"no {wanted!r} in {new!r}"
            self.read()
        self.seen += new.index(wanted) + len(wanted)
        return new[: new.index(wanted)]

    def read(self) -> None:
        if select.select([self.handle], [], [], 0.2)[0]:
            chunk = os.read(self.handle, 65536)
            if b"\x1b[6n" in chunk:
                self.send("\x1b[1;1R")  # where the cursor is
            self.raw += chunk

    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.raw.decode(errors="replace"))

    def end(self) -> int:
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end
            self.read()
        return self.process.returncode


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Any]:
    """Return what starts a chat."""
    started: list[Terminal] = []

    def start(seconds: float = 0.0, **environment: str) -> Terminal:
        started.append(Terminal(tmp_path, seconds, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        os.close(one.handle)
        os.close(one.inner)


def test_a_conversation_goes_on_through_all_that_happens_to_a_terminal(chat: Any) -> None:
    terminal = chat(0.02)
    terminal.until("1>")
    terminal.send(f"{QUESTION}\r")
    terminal.until("value: 12}")
    for columns in (40, 200, 8, 100):
        terminal.resize(columns, 30)
        os.killpg(terminal.process.pid, signal.SIGWINCH)
        terminal.read()
    terminal.until("= 17")
    terminal.until("does not use 7")
    terminal.until("2>")
    terminal.send(f"\x1b[200~{QUESTION}\nAnd\nthree\nmore\nlines?\x1b[201~\r")
    terminal.until("And three more lines?")
    terminal.until("trace:")
    terminal.send("\x03")
    terminal.until("(stopped)")
    terminal.until("3>")
    terminal.send(b"2 \xff\xfe bytes 3\r")
    terminal.until("not UTF-8 text")
    terminal.send("/model absent\r")
    terminal.until("scripted stays")
    terminal.send(f"1 {HOSTILE.encode(errors='ignore').decode()[5:9]}?\r")
    terminal.until("3>")
    terminal.send("\x04")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.text()
    assert termios.tcgetattr(terminal.inner)[3] == terminal.settings[3], "echo is as it was"


def test_a_reply_that_was_suspended_goes_on(chat: Any) -> None:
    terminal = chat(0.05)
    terminal.until("1>")
    terminal.send(f"{QUESTION}\r")
    terminal.until("trace:")
    os.kill(terminal.process.pid, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(terminal.process.pid, signal.SIGCONT)
    terminal.until("= 17")
    terminal.until("2>")
    terminal.send("\x03")
    terminal.send("q\r")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.text()


@pytest.mark.parametrize(
    "environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}], ids=str
)
def test_a_terminal_that_can_do_less_is_shown_as_much_as_it_can(chat: Any, environment: dict[str, str]) -> None:
    terminal = chat(0.0, **environment)
    terminal.until("1>")
    terminal.send(f"{QUESTION}\r" if "TERM" not in environment else f"{QUESTION}\n")
    terminal.until("= 17")
    terminal.send("q\r" if "TERM" not in environment else "q\n")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.text()
    if "NO_COLOR" in environment:
        assert not re.findall(rb"\x1b\[(?:\d+;)*3[0-7]m", terminal.raw)
    if "TERM" in environment:
        assert b"\x1b" not in terminal.raw
    if "PYTHONIOENCODING" in environment:
        assert terminal.raw.isascii()
