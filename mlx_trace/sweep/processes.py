"""Commands of ours, each in a process of its own, and the log that they share.

The log is held by the sweep and by what it started: a command that outlives its sweep keeps the next one off.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final, TextIO

from mlx_trace.errors import UserError
from mlx_trace.files import try_lock, unreadable
from mlx_trace.train.interrupt import STOPS

_LOG: Final = "log.txt"


@dataclass(frozen=True)
class SweepLog:
    """A sweep's log, open and held."""

    path: Path
    file: TextIO


@contextmanager
def held_log(folder: Path) -> Iterator[SweepLog]:
    """Make a sweep's folder, and hold its log; UserError if another sweep does, or it cannot be written to."""
    path = folder / _LOG
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise unreadable(path, error) from None
    with file:
        try:
            is_ours = try_lock(file.fileno())
        except OSError as error:
            raise unreadable(path, error) from None
        if not is_ours:
            raise UserError(f"{folder}: another sweep is at work here, or what one began and left behind; the last "
                            f"line with $ in {path} names the process, and another --folder keeps both")  # fmt: skip
        yield SweepLog(path, file)


def run_command(command: Sequence[str], log: SweepLog, output: Path | None = None) -> str | None:
    """Run a command of ours; return the first line that it complains in if it failed.

    Ctrl-C, or what else asks for an end, is passed on, so that it comes once: training saves then; KeyboardInterrupt.
    """
    begun = log.path.stat().st_size
    with (
        nullcontext(log.file) if output is None else output.open("w", encoding="utf-8") as out,
        _passing_on() as relay,
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "mlx_trace", *command], stdout=out, stderr=log.file, start_new_session=True
        )
        relay.serve(process)
        with suppress(OSError):  # a full disk, say, of which the command itself will tell
            os.write(log.file.fileno(), f"$ mlx-trace {shlex.join(command)}  (process {process.pid})\n".encode())
        code = process.wait()
    if relay.came:
        raise KeyboardInterrupt
    return None if code == 0 else _complaint(log, begun, code)


def _complaint(log: SweepLog, begun: int, code: int) -> str:
    with log.path.open("rb") as file:
        file.seek(begun)
        said = file.read().decode("utf-8", errors="replace").splitlines()
    ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return next((line for line in said if line.startswith("mlx-trace")), ended)


@dataclass
class _Relay:
    """Signals on their way to a process, which may still be about to start."""

    came: list[int] = field(default_factory=list)
    waiting: deque[int] = field(default_factory=deque)
    process: "subprocess.Popen[bytes] | None" = None

    def serve(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self._send()

    def pass_on(self, number: int, _: FrameType | None) -> None:
        self.came.append(number)
        self.waiting.append(number)
        self._send()

    def suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Stop with the process, which is in a session of its own, and go on with it."""
        self._signal_group(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._signal_group(signal.SIGCONT)

    def _send(self) -> None:
        with suppress(IndexError):  # another signal took them along
            while self.process is not None:
                self.process.send_signal(self.waiting.popleft())

    def _signal_group(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


@contextmanager
def _passing_on() -> Iterator[_Relay]:
    """Pass signals that ask for an end, or for a pause, on to a process."""
    relay = _Relay()
    handlers = {**dict.fromkeys(STOPS, relay.pass_on), signal.SIGTSTP: relay.suspend}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()
              if signal.getsignal(number) != signal.SIG_IGN}  # fmt: skip
    try:
        yield relay
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
