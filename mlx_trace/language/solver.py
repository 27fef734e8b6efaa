"""Trace → `Solved` or `Failed`: runs the parts in order and checks every rule of the language.

Exact, and total: a model's mistake is a `Failed` with its kind, part, step and message, never an exception.
Knows nothing of text or of the answer that was expected.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from mlx_trace.language.experts import EFFECTS, EXPERTS, Fault, Scope
from mlx_trace.language.steps import Malformed, Query, Step
from mlx_trace.language.syntax import Part, Trace

MAX_STEPS: Final = 64  # a part
MAX_PARTS: Final = 16

State = dict[str, Fraction]


@dataclass(frozen=True, slots=True)
class Solved:
    """A trace that ran: its answer, and the variables each part ended with."""

    answer: Fraction
    states: tuple[State, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """A trace that did not: the rule it broke, where (0-based part and step), and a message for people."""

    kind: str
    part: int
    step: int
    message: str


Outcome = Solved | Failed


@dataclass(frozen=True, slots=True)
class Entry:
    """One executed step for a ledger: the variables it changed, with their new values."""

    part: int
    step: Step
    changed: State


def solve(trace: Trace, ledger: list[Entry] | None = None) -> Outcome:
    """Run a trace, in exact rationals. A `ledger` list, if given, receives one entry for each step that was done.

    Total: at most 16 parts of 64 steps, numbers up to 10^30; what goes beyond is `Failed`, as any broken rule is.
    """
    if len(trace.parts) > MAX_PARTS:
        return Failed("too_large", MAX_PARTS, 0, f"a trace has at most {MAX_PARTS} parts, not {len(trace.parts)}")
    answers: tuple[Fraction, ...] = ()
    states: list[State] = []
    for index, part in enumerate(trace.parts):
        scope = Scope(answers)
        failed = _run_part(index, part, scope, ledger)
        if failed is not None:
            return failed
        assert scope.answer is not None  # a part without a query has failed
        answers = (*answers, scope.answer)
        states.append(scope.values)
    if not answers:
        return Failed("no_query", 0, 0, "the trace has no parts")
    return Solved(answers[-1], tuple(states))


def _run_part(index: int, part: Part, scope: Scope, ledger: list[Entry] | None) -> Failed | None:
    ops = EXPERTS.get(part.expert)
    if ops is None:
        known = ", ".join(EXPERTS)
        return Failed("unknown_expert", index, 0, f"there is no expert '{part.expert[:40]}'; experts are {known}")
    if len(part.steps) > MAX_STEPS:
        return Failed("too_large", index, MAX_STEPS, f"a part has at most {MAX_STEPS} steps, not {len(part.steps)}")
    for number, step in enumerate(part.steps):
        before = dict(scope.values) if ledger is not None else None
        fault = _order_fault(scope, step) or _run_step(part.expert, ops, scope, step)
        if fault is not None:
            return Failed(fault.kind, index, number, fault.message)
        if ledger is not None:
            changed = {name: value for name, value in scope.values.items() if before and before.get(name) != value}
            ledger.append(Entry(index, step, changed if before else dict(scope.values)))
    if scope.answer is None:
        return Failed("no_query", index, len(part.steps), "the trace ends without a query")
    return None


def _order_fault(scope: Scope, step: Step) -> Fault | None:
    """A query is the one last step."""
    if scope.answer is None:
        return None
    if isinstance(step, Query):
        return Fault("several_queries", "a part has one query")
    return Fault("after_query", "nothing may follow the query")


def _run_step(expert: str, ops: frozenset[str], scope: Scope, step: Step) -> Fault | None:
    if step.op not in ops and not isinstance(step, Malformed):
        return Fault("foreign_op", f"{step.op} is not an op of {expert}; its ops are {', '.join(sorted(ops))}")
    return EFFECTS[type(step)](scope, step)
