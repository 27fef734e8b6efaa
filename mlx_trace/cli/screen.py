"""The terminal as commands draw on it: what is foreign is shown as it stands, and never acts.

No markup is read, no escape passes, and training goes on though nobody looks any more.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from itertools import chain
from threading import current_thread, main_thread
from types import FrameType
from typing import IO, Any, Final, TextIO, cast

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.table import Table
from rich.text import Text

from mlx_trace.cli.output import drop_output
from mlx_trace.errors import why
from mlx_trace.notice import safe, tell

_ENDLESS: Final = 10_000  # columns of a file or a pipe, where a row of a table is a line
_CURSOR, _NO_CURSOR = b"\x1b[?25h", b"\x1b[?25l"
_PAGE: Final = 80  # columns of what is drawn there


class Screen(Console):
    """A console for foreign text, on stdout unless `stderr`; no table is folded where no terminal tells a width."""

    def __init__(self, stderr: bool = False, file: IO[str] | None = None, soft_wrap: bool = False) -> None:
        super().__init__(stderr=stderr, file=file, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)
        self.is_endless = not (self.is_terminal or self.is_jupyter or os.environ.get("COLUMNS", "").isdigit())
        if self.is_endless:
            self.width = _ENDLESS
        self.push_render_hook(_Hook())

    @property
    def page_width(self) -> int:
        """How wide charts, and text that is folded, may be."""
        return _PAGE if self.is_endless else self.width

    def show_cursor(self, show: bool = True) -> bool:
        """Show the cursor or hide it; while it is hidden, Ctrl-Z shows it to whoever goes on in the shell."""
        is_done = super().show_cursor(show)
        is_ours = current_thread() is main_thread() and signal.getsignal(signal.SIGTSTP) in (
            signal.SIG_DFL,
            self._pause,
        )
        if is_done and is_ours:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL if show else self._pause)
        return is_done

    def _pause(self, number: int, _: FrameType | None) -> None:
        self._write_now(_CURSOR)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self._pause)
        self._write_now(_NO_CURSOR)

    def _write_now(self, escape: bytes) -> None:
        """Write beside what may be half written: a signal comes anywhere."""
        with suppress(OSError, ValueError):
            os.write(self.file.fileno(), escape)

    def on_broken_pipe(self) -> None:
        """Let it be known; rich would end the process."""
        raise


class _Hook(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Readable(renderable) for renderable in renderables]


class _Readable:
    """Something to show, with no control characters in its text."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in chain.from_iterable(console.render(part, options) for part in self._parts(console)):
            yield segment if segment.control else segment._replace(text=safe(segment.text))

    def _parts(self, console: Console) -> Iterator[ConsoleRenderable]:
        """Yield a table's title apart where it is not drawn: it would be folded to the table's width."""
        if not isinstance(self.inner, Table) or not self.inner.title or console.is_terminal:
            yield self.inner
            return
        table = copy(self.inner)
        table.title = None
        yield from (Text(str(self.inner.title)), table)


class Patient:
    """A stream whose reader may leave, or whose disk may fill up: that is told once, and what goes on goes on."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.is_gone = stream, False

    def write(self, text: str) -> int:
        """Write text, if there is still somewhere to write it to."""
        if not self.is_gone:
            try:
                self.stream.write(text)
            except (OSError, ValueError) as error:
                self._leave(error)
        return len(text)

    def flush(self) -> None:
        """Flush what was written."""
        if not self.is_gone:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:
                self._leave(error)

    def _leave(self, error: Exception) -> None:
        self.is_gone = True
        drop_output(self.stream)
        if not isinstance(error, BrokenPipeError):
            tell(f"standard output: {why(error)}; training goes on, and metrics.jsonl tells of it")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def patient_screen() -> Screen:
    """Return a screen for what goes on though nobody looks."""
    return Screen(file=cast("IO[str]", Patient(sys.stdout)), soft_wrap=True)
