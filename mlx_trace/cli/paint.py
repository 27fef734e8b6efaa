"""A question with its numbers marked, and a trace in colours, as rich has them."""

from collections.abc import Collection
from fractions import Fraction
from typing import Final

from rich.highlighter import RegexHighlighter
from rich.style import Style
from rich.text import Text
from rich.theme import Theme

from mlx_trace.evaluate.usage import amounts
from mlx_trace.language.solver import MAX_PARTS
from mlx_trace.language.steps import Step
from mlx_trace.language.syntax import Trace

LONGEST: Final = 2_000  # characters of a question that are shown
USED: Final = Style(color="green", bold=True)
UNUSED: Final = Style(color="yellow", underline=True)
THEME: Final = Theme({"trace.comment": "dim italic", "trace.key": "blue", "trace.number": "green",
                      "trace.op": "magenta", "trace.expert": "cyan"})  # fmt: skip


class TraceHighlighter(RegexHighlighter):
    """Colours of a trace's text, whole or not."""

    base_style = "trace."
    highlights = [  # noqa: RUF012 rich's own way to say them
        r"(?P<key>\b[a-z_]+)(?=:)",
        r"(?<![\w.])(?P<number>-?\d+(?:[./]\d+)?)(?![\w.])",
        r"\b(?:op|compute_op): (?P<op>\w+)",
        r"expert: (?P<expert>\w+)",
        r"(?m)(?P<comment>^ *#.*$)",
    ]


_TRACE: Final = TraceHighlighter()


def painted(text: str) -> Text:
    """Return a trace's text in colours."""
    return _TRACE(Text(text, overflow="fold"))


def marked(question: str, used: Collection[Fraction], is_final: bool) -> Text:
    """Return a question with the numbers marked that are used, and in the end those, too, that are not."""
    text = Text(question[:LONGEST], overflow="fold")
    for mention in amounts(question[:LONGEST]):
        if any(reading in used for reading in mention.readings):
            text.stylize(USED, mention.start, mention.end)
        elif is_final:
            text.stylize(UNUSED, mention.start, mention.end)
    if left := len(question) - LONGEST:
        text.append(f" … and {left:,} more characters" if left > 0 else "", style="dim")
    return text


def literals(trace: Trace) -> set[Fraction]:
    """Return the numbers that a trace writes."""
    return {number for part in trace.parts[:MAX_PARTS] for step in part.steps for number in _numbers(step)}


def _numbers(step: Step) -> list[Fraction]:
    fields = (getattr(step, name) for name in step.__dataclass_fields__)
    values = [value for field in fields for value in (field if isinstance(field, tuple) else (field,))]
    return [value for value in values if isinstance(value, Fraction)]
