"""The terminal as commands draw on it: what is foreign is shown as it stands, and never acts.

No markup is read, no escape passes, and training goes on though nobody looks any more.
"""

import sys
from typing import IO, Any, TextIO, cast

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult

from mlx_trace.cli.output import drop_output
from mlx_trace.errors import why
from mlx_trace.notice import safe, tell


class Screen(Console):
    """A console for foreign text, on stdout unless `stderr`."""

    def __init__(self, stderr: bool = False, file: IO[str] | None = None, soft_wrap: bool = False) -> None:
        super().__init__(stderr=stderr, file=file, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)
        self.push_render_hook(_Hook())

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
        for segment in console.render(self.inner, options):
            yield segment if segment.control else segment._replace(text=safe(segment.text))


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
