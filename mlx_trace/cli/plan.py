"""What `mlx-trace train --plan` shows of a run besides its data: an example as it is learnt, and the time it takes."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.text import Text

from mlx_trace.cli.screen import Screen
from mlx_trace.times import clock

if TYPE_CHECKING:
    from mlx_trace.train.masked import MaskedToken
    from mlx_trace.train.run import Plan

_STYLES: Final = {"context": "dim", "loss": "bold green", "spelled": "green", "forced": "cyan"}
_MARKS: Final = {"context": "  ", "loss": "^~", "spelled": "*~", "forced": "--"}  # of a token's beginning, and the rest
_NEWLINE: Final = "↵"
_NARROWEST: Final = 20
_AMONG: Final = 1000  # examples of which the one of middle length is shown

Cell = tuple[str, str, str]  # a character, its style, and the mark beneath it


def show_example(screen: Screen, planned: "Plan") -> None:
    """Print one example as it is tokenised and masked: in colour, or with marks beneath where there is none."""
    from mlx_trace.train.examples import Example
    from mlx_trace.train.masked import masked_tokens

    rows, config, tokenizer = planned.material.rows, planned.config, planned.base.tokenizer
    if rows:
        example = sorted(rows[:_AMONG], key=len)[len(rows[:_AMONG]) // 2]
    else:
        example = Example(planned.prompter.ids(planned.material.problems[0].question), [])
    tokens = masked_tokens(example, partial(tokenizer.decode, skip_special_tokens=False), config.name_weight)
    is_coloured = screen.is_terminal and screen.color_system is not None and not screen.no_color
    screen.print(_legend(tokens, planned, is_coloured))
    width = max(_NARROWEST, screen.page_width)
    for line in _lines(tokens):
        for part in _wrapped(line, width):
            screen.print(_coloured(part))
            marks = "".join(mark * cell_len(character) for character, _, mark in part).rstrip()
            if marks and not is_coloured:
                screen.print(marks)


def _legend(tokens: "Sequence[MaskedToken]", planned: "Plan", is_coloured: bool) -> Text:
    config = planned.config
    meaning = {
        "context": "context",
        "loss": "in the loss",
        "spelled": f"in the loss, weighing {config.name_weight:g} (names, comments)",
        "forced": "forced by the constraint, not in the loss",
    }
    text = Text("one example: ")
    for use, told in meaning.items():
        if count := sum(token.use == use for token in tokens):
            mark = "" if is_coloured or use == "context" else f" {_MARKS[use]}"
            text.append(f"{told}{mark}", style=_STYLES[use]).append(f" {count:,}  ")
    text.right_crop(1)
    text.append("tokens")
    if not planned.material.rows:
        text.append("; replies are sampled, no trace is learnt from")
    elif config.finish_on_all:
        text.append(f"; in the last {config.finish_on_all:,} updates all of the trace is in the loss")
    return text


def _lines(tokens: "Sequence[MaskedToken]") -> Iterator[list[Cell]]:
    """Yield the lines of an example, character by character; what is learnt of ends of lines can be seen."""
    line: list[Cell] = []
    for token in tokens:
        for index, character in enumerate(token.text):
            mark = _MARKS[token.use][min(index, 1)]
            if character == "\n":
                if token.use != "context":
                    line.append((_NEWLINE, _STYLES[token.use], mark))
                yield line
                line = []
            else:
                line.append((" " if character == "\t" else character, _STYLES[token.use], mark))
    if line:
        yield line


def _wrapped(line: list[Cell], width: int) -> Iterator[list[Cell]]:
    """Yield a line in pieces that are no wider than so many columns."""
    piece: list[Cell] = []
    used = 0
    for cell in line:
        size = cell_len(cell[0])
        if piece and used + size > width:
            yield piece
            piece, used = [], 0
        piece.append(cell)
        used += size
    yield piece


def _coloured(cells: Sequence[Cell]) -> Text:
    text = Text()
    for character, style, mark in cells:
        text.append(character, style=f"{style} underline" if mark in "^*" else style)
    return text


def show_time(screen: Screen, planned: "Plan") -> None:
    """Print about how long the run takes, from a probe of some seconds; not known where that was too short."""
    from mlx_trace.train.probe import SECONDS, probe

    if planned.ranks.size > 1:
        screen.print("time: not known: one process alone can be probed", style="dim")
        return
    parts = probe(planned)
    known = {name: seconds for name, seconds in parts.items() if seconds is not None}
    told = ", ".join(f"{name} {clock(known[name]) if name in known else 'not known'}" for name in parts)
    if not known:
        screen.print(f"time: not known: a probe of {SECONDS:.0f} s does not suffice for this model here", style="dim")
    elif len(parts) == 1:
        screen.print(f"time: about {clock(sum(known.values()))}, from a short probe", style="dim")
    else:
        sign = "about" if len(known) == len(parts) else "more than"
        screen.print(f"time: {sign} {clock(sum(known.values()))} ({told}), from a short probe", style="dim")
