"""A trace for people: each step with its value, like a ledger, and the step that failed pointed at."""

from fractions import Fraction
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlx_trace.cli.screen import Screen
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import Entry, Failed, solve
from mlx_trace.language.steps import (
    AddEntity,
    Compute,
    Consume,
    Init,
    InitFrom,
    Malformed,
    Operand,
    Percent,
    Query,
    Step,
    Transfer,
)
from mlx_trace.language.syntax import Trace

_SIGNS: Final = {"add": " + ", "sub": " − ", "mul": " × ", "div": " ÷ "}
_PERCENT: Final = {"percent_of": "{rate}% of {base}", "percent_off": "{base} less {rate}%",
                   "percent_increase": "{base} plus {rate}%"}  # fmt: skip


def render_ledger(trace: Trace) -> RenderableType:
    """Return a trace's steps with their values; a failed one ends the ledger with its reason."""
    entries: list[Entry] = []
    outcome = solve(trace, entries)
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(justify="right", style="bold", no_wrap=True)
    for index, part in enumerate(trace.parts):
        label = f"part {index + 1}: " if len(trace.parts) > 1 else ""
        table.add_row("", Text(f"{label}{part.expert}", style="cyan"), "")
        done = [entry for entry in entries if entry.part == index]
        for number, entry in enumerate(done, start=1):
            shown, style = "\n".join(map(spell, entry.changed.values())), ""
            if isinstance(entry.step, Query):
                shown, style = spell(_value_of(entries, index, entry.step.var)), "bold green"
            table.add_row(str(number), _say(entry.step), Text(shown, style=style))
        if isinstance(outcome, Failed) and outcome.part == index:
            return Group(table, _failure(trace, outcome))
    return table


def _value_of(entries: list[Entry], part: int, name: str) -> Fraction:
    changes = [entry.changed[name] for entry in entries if entry.part == part and name in entry.changed]
    return changes[-1]


def _failure(trace: Trace, failed: Failed) -> Text:
    steps = trace.parts[failed.part].steps if failed.part < len(trace.parts) else ()
    said = _say(steps[failed.step]) if failed.step < len(steps) else "(end)"
    text = Text(f"{failed.step + 1}  {said}\n", style="red")
    return text.append(f"↳ {failed.kind.replace('_', ' ')}: {failed.message}", style="bold red")


def _say(step: Step) -> str:
    """Word a step as arithmetic."""
    match step:
        case Init(var=var):
            return f"{var} is given"
        case InitFrom(var=var, source=source):
            return f"{var} from {source}"
        case Compute(compute_op=op, args=args, var=var):
            return f"{var} = {_SIGNS[op].join(map(_operand, args))}"
        case Percent(base=base, rate=rate, var=var, op=op):
            return f"{var} = {_PERCENT[op].format(base=_operand(base), rate=_operand(rate))}"
        case Consume(entity=entity, amount=amount):
            return f"{entity} loses {_operand(amount)}"
        case AddEntity(entity=entity, amount=amount):
            return f"{entity} gains {_operand(amount)}"
        case Transfer(from_=giver, to=receiver, amount=amount):
            return f"{giver} gives {_operand(amount)} to {receiver}"
        case Query(var=var):
            return f"answer: {var}"
        case Malformed(text=text):
            return text


def _operand(operand: Operand) -> str:
    return spell(operand) if isinstance(operand, Fraction) else operand


def print_ledger(console: Screen, trace: Trace) -> None:
    """Print a ledger; its columns fit the terminal."""
    console.print(render_ledger(trace), soft_wrap=False)
