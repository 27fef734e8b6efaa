"""A trace as a ledger: each step that was done, in words, with its values, and the one that failed with its reason.

Takes a trace and runs it. Knows nothing of terminals or JSON.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from mlx_trace.language.numbers import spell
from mlx_trace.language.objection import objection
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
from mlx_trace.language.syntax import NoTrace, Trace, parse

_SIGNS: Final = {"add": " + ", "sub": " − ", "mul": " × ", "div": " ÷ "}
_PERCENT: Final = {"percent_of": "{rate}% of {base}", "percent_off": "{base} less {rate}%",
                   "percent_increase": "{base} plus {rate}%"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A step of a part, both from 0: what it does, the values it leaves (a query's is the answer), or why it failed,
    as the solver has it and in plain words."""

    part: int
    step: int
    said: str
    values: dict[str, str] = field(default_factory=dict)
    is_query: bool = False
    fault: str = ""
    objection: str = ""


def ledger(trace: Trace) -> list[LedgerLine]:
    """Return a trace's lines, up to the one that fails."""
    entries: list[Entry] = []
    outcome = solve(trace, entries)
    lines: list[LedgerLine] = []
    for part in range(len(trace.parts)):
        values: dict[str, str] = {}
        for number, entry in enumerate(entry for entry in entries if entry.part == part):
            changed = {name: spell(value) for name, value in entry.changed.items()}
            values |= changed
            is_query = isinstance(entry.step, Query)
            shown = {entry.step.var: values[entry.step.var]} if isinstance(entry.step, Query) else changed
            lines.append(LedgerLine(part, number, worded(entry.step), shown, is_query))
    if isinstance(outcome, Failed):
        steps = trace.parts[outcome.part].steps if outcome.part < len(trace.parts) else ()
        said = worded(steps[outcome.step]) if outcome.step < len(steps) else "(end)"
        fault = f"{outcome.kind.replace('_', ' ')}: {outcome.message}"
        lines.append(LedgerLine(outcome.part, outcome.step, said, fault=fault, objection=objection(outcome)))
    return lines


def ledger_so_far(text: str) -> tuple[Trace, list[LedgerLine]] | None:
    """Return the trace of the whole lines of a text that still grows, and its ledger; None before its first step.

    That it does not say its answer yet is no fault.
    """
    whole = text if text.endswith("}") else text[: text.rfind("\n") + 1]
    trace = parse(whole)
    if isinstance(trace, NoTrace):
        return None
    lines = ledger(trace)
    if lines and lines[-1].fault and lines[-1].step >= len(trace.parts[lines[-1].part].steps):
        lines.pop()
    return trace, lines


def worded(step: Step) -> str:
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
