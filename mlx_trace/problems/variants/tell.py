"""A problem with real wording, told again with other numbers and other people; the solver gives the new answer.

Takes a problem with a trace whose numbers its question states; returns variants, each verified. What is unsure stays.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, Final

from mlx_trace.language.knowledge import known_numbers
from mlx_trace.language.numbers import spell
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
from mlx_trace.language.syntax import NoTrace, Part, Trace, parse_document, render
from mlx_trace.problems import gsm8k
from mlx_trace.problems.audit import check_problem
from mlx_trace.problems.compile.compiler import MOST_CHARACTERS, Refused, compile_row, is_worked
from mlx_trace.problems.fields import Told
from mlx_trace.problems.problem import Problem, read_leniently, read_row
from mlx_trace.problems.variants.retell import new_names, rename, rename_variables, renumber
from mlx_trace.problems.variants.sense import Run, Sense, is_told_whole, run
from mlx_trace.problems.variants.slots import Slot, find_slots
from mlx_trace.seeds import stream

DOUBTFUL: Final = "the trace may not be what the solution means"
MOST_DRAWS: Final = 800  # without a new variant: then the problem has no more to give


@dataclass(frozen=True, slots=True)
class Source:
    """A problem taken apart: its trace, what may change, and what must hold for it to make sense."""

    problem: Problem
    trace: Trace
    slots: tuple[Slot, ...]
    sense: Sense


def variants(problem: Problem, count: int, seed: int = 0) -> list[Problem]:
    """Return up to `count` variants of a problem, no two with the same numbers; none if its numbers are not sure.

    What GSM-Symbolic (Mirzadeh et al. 2024) does with templates made by hand, from the trace. Depends on the problem
    and the seed alone.
    """
    source = take_apart(problem)
    if source is None or not source.slots:
        return []
    rng = stream("variants", seed, problem.question)
    retold: list[Problem] = []
    taken = {tuple(slot.value for slot in source.slots)}
    in_vain = 0
    while len(retold) < count and in_vain < MOST_DRAWS:
        in_vain += 1
        values = _draw(source.slots, rng)
        if values in taken:
            continue
        taken.add(values)
        made = _make(source, values, rng, f"{seed}.{len(retold)}")
        if made is not None:
            retold.append(made)
            in_vain = 0
    return retold


@dataclass(slots=True)
class Tally:
    """What telling a file's problems again came to: `full` counts those with as many variants as were wanted."""

    problems: int = 0
    grounded: int = 0
    full: int = 0
    variants: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # why lines gave none


def tell_again(path: Path, count: int, seed: int, tally: Tally, told: Told | None = None) -> Iterator[Problem]:
    """Yield up to `count` variants of every grounded problem of a file; bad lines are counted by reason."""
    for name, row, fault in read_leniently(path, told):
        tally.problems += 1
        problem, reason = (None, fault) if row is None else grounded_problem(row, name)
        if problem is None:
            tally.reasons[reason] += 1
            continue
        tally.grounded += 1
        retold = variants(problem, count, seed)
        tally.full += len(retold) == count
        tally.variants += len(retold)
        yield from retold


def grounded_problem(row: dict[str, Any], name: str) -> tuple[Problem | None, str]:
    """Return a row's problem if its trace is grounded, else why it is of no use; a worked solution is compiled."""
    if gsm8k.is_row(row) or is_worked(row) or (row.get("equation") and not row.get("trace")):
        outcome = compile_row(row, name)
        if isinstance(outcome, Refused):
            return None, outcome.reason
        if not outcome.grounded:
            return None, "not grounded"
        return (None, DOUBTFUL) if outcome.problem.doubt else (outcome.problem, "")
    try:
        problem = read_row(row, name)
    except ValueError:
        return None, "not a problem"
    if problem.trace is None:
        return None, "no trace"
    if problem.doubt:
        return None, DOUBTFUL
    if len(problem.question) > MOST_CHARACTERS:
        return None, "too long"
    if take_apart(problem) is None:
        return None, "its trace does not solve to its answer"
    if any(check_problem(problem, known_numbers(problem.question), len(problem.question))):
        return None, "not grounded"
    return problem, ""


# --- taking a problem apart ------------------------------------------------------------------------------------


def take_apart(problem: Problem) -> Source | None:
    """Return a problem with what may change in it; None if it has no trace that solves to its answer."""
    trace = parse_document(problem.trace or "")
    if isinstance(trace, NoTrace):
        return None
    original = run(trace)
    if original is None or original[-1][1] != problem.expected:
        return None
    slots: tuple[Slot, ...] = ()
    if is_told_whole(problem.question, trace):
        slots = tuple(slot for slot in find_slots(problem.question, trace) if _tells(slot, trace, original))
    return Source(problem, trace, slots, Sense(problem.question, trace, original))


def _tells(slot: Slot, trace: Trace, original: Run) -> bool:
    """Tell whether the answer depends on a number; if not, the trace has missed what it is for."""
    for factor in (Fraction(11, 10), Fraction(9, 7)):
        new = run(_renumber(trace, {slot.value: slot.value * factor}))
        if new is None or new[-1][1] != original[-1][1]:
            return True
    return False


# --- drawing ---------------------------------------------------------------------------------------------------


def _draw(slots: Sequence[Slot], rng: Random) -> tuple[Fraction, ...]:
    """Draw values for some of the slots; the others keep theirs. More often few change than all, since few may fit."""
    count = min(len(slots), rng.choice((1, 1, 2, 2, 3, len(slots))))
    values = [slot.value for slot in slots]
    for index in rng.sample(range(len(slots)), count):
        values[index] = slots[index].choices[rng.randrange(len(slots[index].choices))]
    return tuple(values)


def _make(source: Source, values: tuple[Fraction, ...], rng: Random, name: str) -> Problem | None:
    """Return the problem with these values and other people, if it makes as much sense as the original."""
    changed = {slot.value: value for slot, value in zip(source.slots, values, strict=True)}
    if len(set(changed.values())) < len(changed):  # two numbers would become one, and no longer tell themselves apart
        return None
    if not source.sense.admits_numbers(changed):
        return None
    trace = _renumber(source.trace, changed)
    new = run(trace)
    if new is None or not source.sense.admits(changed, new):
        return None
    original = source.problem
    names = new_names(original.question, rng)
    question = rename(renumber(original.question, source.slots, changed), names)
    text = rename_variables(render(trace), names)
    made = original.model_copy(update={
        "id": f"{original.id}~{name}", "question": question, "answer": spell(new[-1][1]), "trace": text,
        "source": f"{original.source}~{name}", "solution": "",  # whose numbers are others
    })  # fmt: skip
    return None if any(check_problem(made, known_numbers(question), len(question))) else made


def _renumber(trace: Trace, changed: Mapping[Fraction, Fraction]) -> Trace:
    return Trace(tuple(Part(part.expert, tuple(_step(step, changed) for step in part.steps)) for part in trace.parts))


def _step(step: Step, changed: Mapping[Fraction, Fraction]) -> Step:
    def new(operand: Operand) -> Operand:
        return changed.get(operand, operand) if isinstance(operand, Fraction) else operand

    match step:
        case Init(value=value):
            return replace(step, value=changed.get(value, value))
        case Compute(args=args):
            return replace(step, args=tuple(map(new, args)))
        case Percent(base=base, rate=rate):
            return replace(step, base=new(base), rate=new(rate))
        case Consume(amount=amount) | AddEntity(amount=amount):
            return replace(step, amount=new(amount))
        case Transfer(amount=amount):
            parties: dict[str, Any] = {"from": step.from_, "to": step.to}
            return Transfer(amount=new(amount), **parties)
        case InitFrom() | Query() | Malformed():
            return step
