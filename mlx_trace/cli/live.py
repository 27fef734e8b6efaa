"""An answer on a terminal while it comes: the question with its numbers, the trace in colours, the ledger beside it.

Narrow terminals have the ledger below. Takes events of `mlx_trace.chat`; draws frames.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.console import ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlx_trace.cli.frame import Frame
from mlx_trace.cli.ledger import render_ledger
from mlx_trace.cli.paint import literals, marked, painted
from mlx_trace.cli.reply import without
from mlx_trace.evaluate.usage import answer_numbers
from mlx_trace.language.ledger import ledger_so_far
from mlx_trace.language.syntax import NoTrace, Trace, parse
from mlx_trace.notice import safe
from mlx_trace.numbered import numbered

if TYPE_CHECKING:
    from mlx_trace.chat import Reply
    from mlx_trace.evaluate.vote import Vote

WIDE: Final = 100  # columns from which the ledger stands beside the trace
_TRACE: Final = 72  # columns of a trace, at most, beside its ledger
_BARS: Final = 24  # columns of the longest bar
_MOST_BARS: Final = 6


@dataclass
class AnswerView:
    """A question and what has come of its answer so far, as wide as the terminal is when it is drawn."""

    question: str
    mark: str  # before the question
    text: str = ""
    vote: "Vote | None" = None
    samples: int = 1
    reply: "Reply | None" = None
    began: float = field(default_factory=time.monotonic)

    def rendered(self, options: ConsoleOptions) -> RenderableType:
        """Return all of it, to be drawn on a screen of some width and encoding."""
        return Group(*self._parts(options))

    def _parts(self, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self._asked()
        if self.text:
            yield from self._written(options)
        if self.vote is not None:
            yield from self._voted(options)
        elif self.samples > 1:
            yield Text(f"{self.samples} replies …", style="dim")
        if self.reply is not None:
            yield from self._concluded(self.reply)

    def _asked(self) -> Text:
        shown = parse(self.text) if self.reply else None
        used = set()
        if self.reply is not None and self.reply.grade.answer is not None and isinstance(shown, Trace):
            used = set(answer_numbers(shown))
        elif so_far := ledger_so_far(safe(self.text)):
            used = literals(so_far[0])
        return Text.assemble((self.mark, "bold"), marked(safe(self.question), used, self.reply is not None))

    def _written(self, options: ConsoleOptions) -> Iterator[RenderableType]:
        text = safe(self.text)
        trace, steps = painted(text.rstrip("`").strip("\n")), self._steps(text)
        if options.max_width < WIDE:
            yield trace
            if steps is not None:
                yield Text("─" * min(options.max_width, 24) if not options.ascii_only else "-" * 24, style="dim")
                yield steps
            return
        columns = Table.grid(padding=(0, 2), expand=True)
        columns.add_column(width=min(_TRACE, 2 * options.max_width // 3))
        columns.add_column(ratio=1)
        columns.add_row(trace, steps or "")
        yield columns

    def _steps(self, text: str) -> RenderableType | None:
        """Return the ledger of what has run, which of a reply that is whole may end with a fault."""
        if self.reply is None:
            so_far = ledger_so_far(text)
            return None if so_far is None else render_ledger(*so_far, is_plain=True)
        whole = parse(text)
        return None if isinstance(whole, NoTrace) else render_ledger(whole, is_plain=True)

    def _voted(self, options: ConsoleOptions) -> Iterator[RenderableType]:
        from mlx_trace.chat import say_vote

        assert self.vote is not None
        block = "#" if options.ascii_only else "█"
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", style="bold")
        for candidate in self.vote.candidates[:_MOST_BARS]:
            longest = min(_BARS, max(1, options.max_width // 3))
            bar = block * max(1, round(longest * len(candidate.samples) / max(self.samples, 1)))
            is_winner = candidate is self.vote.winner
            table.add_row(str(candidate), Text(bar, "green" if is_winner else "dim"), str(len(candidate.samples)))
        yield table
        if self.reply is None:
            yield Text(f"{len(self.vote.ballots)} of {self.samples} replies", style="dim")
        else:
            yield Text(say_vote(self.vote), style="yellow" if self.vote.is_split or self.vote.winner is None else "")

    def _concluded(self, reply: "Reply") -> Iterator[RenderableType]:
        if isinstance(parse(reply.text), NoTrace):
            cut = " (it was cut off; --max-tokens allows more)" if reply.truncated else ""
            yield Text(f"no trace: {safe(reply.grade.detail)}{cut}", style="bold red")
        if reply.grade.answer is None:
            yield Text("no answer; /repair gives it back with what is wrong, /again asks anew", style="yellow")
        else:
            seconds = (
                f"   {numbered(reply.tokens, 'token')}, {time.monotonic() - self.began:.1f} s"
                if self.samples == 1
                else ""
            )
            yield Text.assemble((f"= {reply.grade.answer}", "bold green"), (seconds, "dim"))
        if reply.unused:
            yield Text(safe(without(reply.unused)), style="yellow")


def show_written(frame: Frame, view: AnswerView, events: "Iterator[str | Reply]") -> "Reply":
    """Draw a reply while it is written; return it."""
    frame.draw(view.rendered)
    for event in events:
        if isinstance(event, str):
            view.text += event
            frame.draw(view.rendered)
        else:
            view.text, view.reply = event.text, event
            frame.draw(view.rendered, is_final=True)
            return event
    raise RuntimeError("the reply ended without a grade")


def show_polled(frame: Frame, view: AnswerView, events: "Iterator[Vote | tuple[Reply, Vote]]") -> "tuple[Reply, Vote]":
    """Draw a vote while its replies come; return what wins."""
    frame.draw(view.rendered)
    for event in events:
        if isinstance(event, tuple):
            view.reply, view.vote = event
            view.text = view.reply.text
            frame.draw(view.rendered, is_final=True)
            return event
        view.vote = event
        frame.draw(view.rendered)
    raise RuntimeError("the vote ended without a reply")
