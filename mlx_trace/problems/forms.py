"""A gold trace in the form that a run is trained in: made anew for each example, so files hold one form alone.

Files and problems hold `operation_first`. In `name_first` what is called step1, result, rate or total is named after
what it is, and a number is given where it is first used; where no expert is expected, what several could say is
arithmetic, and several parts are one. Other names stay. `commented` says the same, with reasons.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count
from typing import Any, Final

from mlx_trace.config import OPERATION_FIRST, TraceForm
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.solver import Entry, Solved, solve
from mlx_trace.language.steps import (
    AddEntity,
    Compute,
    Consume,
    Init,
    Operand,
    Percent,
    Query,
    Step,
    Transfer,
)
from mlx_trace.language.syntax import NoTrace, Part, Trace, parse_document, render
from mlx_trace.problems.as_told import as_told
from mlx_trace.problems.comments import commented
from mlx_trace.problems.compile.asked import asked
from mlx_trace.problems.compile.names import Namer
from mlx_trace.problems.compile.node import Node
from mlx_trace.problems.compile.result_names import RESERVED, result_name, says_nothing
from mlx_trace.problems.compile.told_results import told_results
from mlx_trace.problems.compile.words import TIMES_OF_DAY
from mlx_trace.problems.one_part import joined, numbers_at_use, operands, renamed, taken_up
from mlx_trace.problems.problem import Problem

_NO_NOUNS: Final = ("", "difference", "still_needed")
_ALIKE: Final = ("rate_equation", "comparison")  # experts that say no more than arithmetic does


def in_form(problem: Problem, form: TraceForm) -> str | None:
    """Return a problem's gold trace in a form; None if it has none."""
    if form == OPERATION_FIRST or problem.trace is None:
        return problem.trace
    trace = parse_document(problem.trace)
    if isinstance(trace, NoTrace):
        return problem.trace
    parts = trace.parts
    if problem.expert is None:
        parts = joined([_as_arithmetic(part, problem.question) for part in parts], problem.question)
    called: Sequence[str] = problem.results if len(parts) == 1 else ()
    if form == "commented" and len(parts) == 1 and problem.solution:
        parts, called = _as_told(parts[0], called, problem)
    parts = tuple(map(numbers_at_use, parts))
    if len(parts) == 1:
        parts = (_told(parts[0], problem.question),)
    said = [*(taken_up(parts, index) for index in range(len(parts) - 1)), list(asked(problem.question))]
    named = tuple(_named(part, names, called) for part, names in zip(parts, said, strict=True))
    return commented(Trace(named), problem.solution) if form == "commented" else render(Trace(named), form)


# --- one way to write one thing --------------------------------------------------------------------------------


def _as_arithmetic(part: Part, question: str) -> Part:
    """Return a part as arithmetic, if that can say the same: anything but percentages and what changes hands."""
    if part.expert in _ALIKE:
        return replace(part, expert="arithmetic")
    if part.expert != "entity_track" or any(isinstance(step, Transfer) for step in part.steps):
        return part
    steps = _Possession(part, question).steps()
    if steps is None:
        return part
    made = Part("arithmetic", steps)
    before, after = solve(Trace((part,))), solve(Trace((made,)))
    is_same = isinstance(before, Solved) and isinstance(after, Solved) and before.answer == after.answer
    return made if is_same else part


class _Possession:
    """What somebody has, gains and loses, as sums and differences."""

    def __init__(self, part: Part, question: str) -> None:
        self.part = part
        mentions = find_numbers(question)
        self.namer = Namer(question, mentions)
        self.namer.given |= {step.var for step in part.steps if isinstance(step, Init | Compute)}
        self.waiting = list(enumerate(mentions))  # numbers of the question that no step has taken
        self.held: dict[str, Operand] = {}  # the variable that an entity stands for
        self.numbers = (name for n in count(1) if (name := f"step{n}") not in self.namer.given)

    def steps(self) -> tuple[Step, ...] | None:
        """Return the steps; None if they cannot be written so."""
        made: list[Step] = []
        for step in self.part.steps:
            match step:
                case Init(var=var, value=value):
                    self._mention(value)
                    self.held[var] = var
                    made.append(step)
                case Consume(entity=entity, amount=amount) | AddEntity(entity=entity, amount=amount):
                    if entity not in self.held:
                        return None
                    self._change(made, entity, amount, "sub" if isinstance(step, Consume) else "add")
                case Compute(args=args, var=var):
                    made.append(replace(step, args=tuple(self._operand(arg) for arg in args)))
                    self.held[var] = var
                case Query(var=var):
                    made.append(Query(str(self._operand(var))))
                case _:
                    return None
        return tuple(made)

    def _operand(self, operand: Operand) -> Operand:
        return self.held.get(operand, operand) if isinstance(operand, str) else operand

    def _change(self, made: list[Step], entity: str, amount: Operand, op: Any) -> None:
        """Add what an event computes; gains one after the other are one sum."""
        last, before, new = made[-1] if made else None, self.held[entity], self._operand(amount)
        if isinstance(new, Fraction):
            name = self.namer.name(self._mention(new))
            made.append(Init(name, new))
            new = name
        if op == "add" and isinstance(last, Compute) and last.compute_op == "add" and last.var == before:
            made.remove(last)
            made.append(replace(last, args=(*last.args, new)))
            return
        self.held[entity] = next(self.numbers)
        made.append(Compute(op, (before, new), str(self.held[entity])))

    def _mention(self, value: Fraction) -> Node:
        """Return the question's next number of this value, as a leaf; a number of its own if there is none."""
        index = next((index for index, mention in self.waiting if value in mention.readings), None)
        self.waiting = [(other, mention) for other, mention in self.waiting if other != index]
        return Node("leaf", value, mention=index)


def _as_told(part: Part, called: Sequence[str], problem: Problem) -> tuple[tuple[Part], Sequence[str]]:
    """Return a part in the steps that the solution takes, and what that calls the result of each."""
    made = as_told(part, problem.solution)
    if made == part:
        return (part,), called
    before = dict(zip((step.var for step in part.steps if isinstance(step, Compute | Percent)), called, strict=False))
    told, ledger = told_results(problem.solution, problem.question), list[Entry]()
    solve(Trace((made,)), ledger)
    values = {name: value for entry in ledger for name, value in entry.changed.items()}
    names = [step.var for step in made.steps if isinstance(step, Compute | Percent)]
    return (made,), [before[name] if name in before else told.get(values[name], "") for name in names]


# --- names that say what they are ------------------------------------------------------------------------------


def _told(part: Part, question: str) -> Part:
    """Return a part whose numbers with names that say nothing are called after the words near them."""
    namer = Namer(question, mentions := find_numbers(question))
    namer.given |= {name for step in part.steps for name in _defined(step) if not says_nothing(name)}
    names: dict[str, str] = {}
    for step in part.steps:
        if isinstance(step, Init) and says_nothing(step.var):
            stated = [index for index, mention in enumerate(mentions) if step.value in mention.readings]
            if len(stated) == 1:
                rate = mentions[stated[0]].kind == "percent" and step.value == mentions[stated[0]].value
                names[step.var] = namer.name(Node("leaf", step.value, mention=stated[0], rate=rate))
    return replace(part, steps=tuple(renamed(step, names) for step in part.steps))


def _named(part: Part, said: list[str], called: Sequence[str]) -> Part:
    """Return a part whose results have names; `said` is what is asked for, `called` what the solution calls them."""
    computing = [step for step in part.steps if isinstance(step, Compute | Percent)]
    told = dict(zip((step.var for step in computing), called, strict=False))
    queried = next((step.var for step in part.steps if isinstance(step, Query)), "")
    kept = {name for step in part.steps for name in _defined(step) if not RESERVED.fullmatch(name)}
    nouns = _nouns(computing, queried, min(said, key=len, default=""))
    often = Counter(told.values())
    names: dict[str, str] = {}
    # the answer's name first: those on the way give way to it
    for step in sorted(computing, key=lambda step: not said or step.var != queried):
        if not RESERVED.fullmatch(step.var):
            continue
        called_so = told.get(step.var, "")
        wanted = _with_unit(said, called_so) if step.var == queried and said else [called_so] * (called_so != "money")
        shown = [names.get(arg, "" if RESERVED.fullmatch(arg) else arg) for arg in map(str, operands(step))]
        noun = nouns.get(step.var, called_so.removeprefix("total_").removesuffix("_left"))
        names[step.var] = result_name(
            wanted, _op(step), shown, {*kept, *names.values()}, noun, often[called_so] > 1 and step.var != queried
        )
    return replace(part, steps=tuple(renamed(step, names) for step in part.steps))


def _with_unit(said: list[str], told: str) -> list[str]:
    """Return what is asked for, a time in the unit in which the solution gives it."""
    return [f"time_{told}" if name == "time" and told in TIMES_OF_DAY else name for name in said]


def _nouns(computing: Sequence[Compute | Percent], queried: str, noun: str) -> dict[str, str]:
    """Return what results count, by their names: sums and differences count what their operands do."""
    nouns = {queried: noun.removesuffix("_left").removeprefix("total_")} if noun not in _NO_NOUNS else {}
    for step in reversed(computing):
        if _op(step) in ("add", "sub"):
            nouns |= {arg: nouns[step.var] for arg in operands(step) if isinstance(arg, str) and step.var in nouns}
    return nouns


def _op(step: Compute | Percent) -> str:
    return step.compute_op if isinstance(step, Compute) else step.op


def _defined(step: Step) -> tuple[str, ...]:
    """Return the names that a step may be the first to use."""
    return tuple(name for field in ("var", "entity", "to") if (name := getattr(step, field, "")))
