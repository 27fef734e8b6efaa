"""A part of the terminal that is drawn again and again while a reply is written, and then stays as it is.

It follows the terminal's width and height as they change, and what a shell has written while the process was stopped.
"""

import contextlib
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

from rich.console import ConsoleOptions, RenderableType
from rich.control import Control
from rich.segment import ControlType, Segment, Segments

from mlx_trace.cli.paint import THEME
from mlx_trace.cli.screen import Screen

Drawing = Callable[[ConsoleOptions], RenderableType]  # of what is drawn, as wide as the screen is by then
_PAUSE: Final = 1 / 15  # seconds between two drawings


class Frame:
    """What was drawn last on a screen, to be drawn over. What is taller than the screen shows its end."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._widths: list[int] = []  # of the lines that stand there
        self._drawn = 0.0

    def draw(self, drawing: Drawing, is_final: bool = False) -> None:
        """Draw over what was drawn before, if it is time to; in the end all of it, with what follows below."""
        now = time.monotonic()
        if not is_final and now - self._drawn < _PAUSE:
            return
        self._drawn = now
        options = self.screen.options.update(height=None)
        lines = [_trimmed(line) for line in self.screen.render_lines(drawing(options), options, pad=False)]
        if not is_final:
            lines = lines[-max(1, self.screen.height - 1) :]
        segments = [segment for line in lines for segment in (*line, Segment.line())]
        with uninterrupted(), self.screen:
            self.screen.control(self._back())
            self.screen.print(Segments(segments if is_final else segments[:-1]), end="", soft_wrap=True)
            self._widths = [] if is_final else [Segment.get_line_length(line) for line in lines]

    def forget(self) -> None:
        """Begin anew below what stands there."""
        self._widths = []

    def _back(self) -> Control:
        """Return the moves to where the drawing began, with all that stands there gone.

        Terminals wrap lines again when they get narrower, so that a line may take several rows by now.
        """
        rows = sum(max(1, -(-width // self.screen.width)) for width in self._widths)
        up = [(ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)] * (min(rows, self.screen.height) - 1)
        return Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up)


def _trimmed(line: list[Segment]) -> list[Segment]:
    """Return a line without the blanks at its end."""
    while line and not line[-1].text.strip():
        line = line[:-1]
    return [*line[:-1], line[-1]._replace(text=line[-1].text.rstrip())] if line else []


@contextlib.contextmanager
def drawn_on(screen: Screen) -> Iterator[Frame]:
    """Draw on a terminal, with its cursor hidden and what is typed kept for later instead of shown."""
    frame = Frame(screen)

    def resumed(_: int, __: FrameType | None) -> None:
        frame.forget()
        screen.show_cursor(False)

    before = signal.signal(signal.SIGCONT, resumed)
    screen.show_cursor(False)
    try:
        with _unheard(), screen.use_theme(THEME):
            yield frame
    finally:
        with uninterrupted():
            screen.show_cursor(True)
            signal.signal(signal.SIGCONT, before)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Have a Ctrl-C wait until what must be whole is done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Have the terminal not show what is typed, nor ^C."""
    try:
        number = sys.stdin.fileno()
        settings = termios.tcgetattr(number)
    except (termios.error, OSError, ValueError):
        yield
        return
    quiet = [*settings]
    quiet[3] = settings[3] & ~termios.ECHO
    termios.tcsetattr(number, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        with uninterrupted():
            termios.tcsetattr(number, termios.TCSADRAIN, settings)
