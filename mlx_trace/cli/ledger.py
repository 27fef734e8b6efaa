"""A trace for people: each step with its value, like a ledger, and the step that failed pointed at."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlx_trace.cli.screen import Screen
from mlx_trace.language.ledger import LedgerLine, ledger
from mlx_trace.language.syntax import Trace


def render_ledger(trace: Trace, lines: Sequence[LedgerLine] | None = None, is_plain: bool = False) -> RenderableType:
    """Return a trace's steps with their values, or those lines of them; a failed one ends it with its reason.

    The reason is in plain words, `is_plain`, for those who do not know the solver's words.
    """
    lines = ledger(trace) if lines is None else lines
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(justify="right", style="bold", no_wrap=True)
    for index, part in enumerate(trace.parts):
        label = f"part {index + 1}: " if len(trace.parts) > 1 else ""
        table.add_row("", Text(f"{label}{part.expert}", style="cyan"), "")
        for line in (line for line in lines if line.part == index):
            if line.fault:
                return Group(table, _failure(line, line.objection if is_plain else line.fault))
            shown, style = "\n".join(line.values.values()), "bold green" if line.is_query else ""
            table.add_row(str(line.step + 1), line.said, Text(shown, style=style))
    return table


def _failure(line: LedgerLine, reason: str) -> Text:
    text = Text(f"{line.step + 1}  {line.said}\n", style="red")
    return text.append(f"↳ {reason}", style="bold red")


def print_ledger(console: Screen, trace: Trace) -> None:
    """Print a ledger; its columns fit the terminal."""
    console.print(render_ledger(trace), soft_wrap=False)
