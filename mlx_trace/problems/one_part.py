"""Several parts as one, and numbers where they are used: one way to write what a trace can say in many.

Takes parts and returns parts that give the same answer.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count
from typing import Any, Final

from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.solver import Outcome, Solved, solve
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
from mlx_trace.language.syntax import Part, Trace
from mlx_trace.problems.compile.result_names import RESERVED, says_nothing

_COMPUTING: Final = ("arithmetic", "percentage")  # experts of which the second may do all that the first does


def joined(parts: Sequence[Part], question: str) -> tuple[Part, ...]:
    """Return arithmetic and percentages as one part with the last one's answer; other parts as they are.

    A part's answer is called what the part that takes it up calls it. A number that the question states
    once is given once.
    """
    if len(parts) == 1 or any(part.expert not in _COMPUTING for part in parts):
        return tuple(parts)
    before = solve(Trace(tuple(parts)))
    if not isinstance(before, Solved):
        return tuple(parts)
    made = Part(max(part.expert for part in parts), tuple(_Joiner(parts, question).steps()))
    return (made,) if _gives(made, before) else tuple(parts)


def numbers_at_use(part: Part) -> Part:
    """Return a part that gives each number just before the step that first uses it; what is never used comes first."""
    if any(not isinstance(step, Init | Compute | Percent | Query) for step in part.steps):
        return part
    waiting = {step.var: step for step in part.steps if isinstance(step, Init)}
    if len(waiting) < sum(isinstance(step, Init) for step in part.steps):
        return part  # a name that is given twice is in its place
    steps: list[Step] = []
    for step in part.steps:
        if not isinstance(step, Init):
            used = (step.var,) if isinstance(step, Query) else map(str, operands(step))
            steps += [waiting.pop(name) for name in dict.fromkeys(used) if name in waiting]
            steps.append(step)
    made = replace(part, steps=(*waiting.values(), *steps))
    return part if made == part or not _gives(made, solve(Trace((part,)))) else made


def _gives(part: Part, before: Outcome) -> bool:
    after = solve(Trace((part,)))
    return isinstance(before, Solved) and isinstance(after, Solved) and before.answer == after.answer


class _Joiner:
    """The steps of several parts in one scope."""

    def __init__(self, parts: Sequence[Part], question: str) -> None:
        self.parts = parts
        self.stated = Counter(value for mention in find_numbers(question) for value in set(mention.readings))
        self.answers: list[str] = []  # of the parts so far, by their names in the whole
        self.given: dict[str, Fraction] = {}  # numbers by their names
        self.own = {step.var for part in parts for step in part.steps if isinstance(step, Init | Compute | Percent)}
        self.taken: set[str] = set()

    def steps(self) -> list[Step]:
        """Return the steps; the last part's query alone stays."""
        made: list[Step] = []
        for index, part in enumerate(self.parts):
            names: dict[str, str] = {}
            for step in part.steps:
                match step:
                    case Init(var=var, value=value):
                        if (known := self._known(var, value)) is not None:
                            names[var] = known
                            continue
                        names[var] = self._free(var)
                        self.given[names[var]] = value
                    case InitFrom(var=var, source=source):
                        names[var] = self.answers[_source(source, index)]
                        continue
                    case Compute(var=var) | Percent(var=var):
                        reading: Any = renamed(step, names)  # before its result may take the name of what it reads
                        names[var] = self._free(self._called(index, part, var))
                        made.append(replace(reading, var=names[var]))
                        continue
                    case Query(var=var):
                        self.answers.append(names.get(var, var))
                        if index < len(self.parts) - 1:
                            continue
                    case Consume() | AddEntity() | Transfer() | Malformed():
                        pass
                made.append(renamed(step, names))
        return made

    def _known(self, var: str, value: Fraction) -> str | None:
        """Return the name under which a number is given already."""
        if self.given.get(var) == value and self.stated[value] <= 1:
            return var
        alike = [name for name, other in self.given.items() if other == value]
        return alike[-1] if 0 < self.stated[value] <= len(alike) else None

    def _called(self, index: int, part: Part, var: str) -> str:
        """Return what a part's result is called: its answer as a later part calls it, else as the part does."""
        is_answer = isinstance(part.steps[-1], Query) and part.steps[-1].var == var
        said = (name for name in taken_up(self.parts, index) if is_answer and not says_nothing(name))
        return next(said, var)

    def _free(self, name: str) -> str:
        """Return a name that the whole has not used, and no part if it is made up; step1, … for what has none."""
        if RESERVED.fullmatch(name):
            name = next(made for n in count(1) if (made := f"step{n}") not in self.taken)
        elif name in self.taken:
            name = next(made for n in count(2) if (made := f"{name}_{n}") not in self.taken | self.own)
        self.taken.add(name)
        return name


def taken_up(parts: Sequence[Part], index: int) -> list[str]:
    """Return what later parts call a part's answer."""
    later = enumerate(parts[index + 1 :], index + 1)
    return [step.var for number, part in later for step in part.steps
            if isinstance(step, InitFrom) and _source(step.source, number) == index]  # fmt: skip


def _source(text: str, index: int) -> int:
    """Return the part whose answer a part takes up: the one before, or subN."""
    return index - 1 if text.startswith("prev") else int(text.removeprefix("sub").removesuffix(".result"))


# --- names of steps ----------------------------------------------------------------------------------------------


def operands(step: Step) -> tuple[Operand, ...]:
    """Return what a computing step reads; nothing for others."""
    match step:
        case Compute(args=args):
            return args
        case Percent(base=base, rate=rate):
            return base, rate
        case Init() | InitFrom() | Consume() | AddEntity() | Transfer() | Query() | Malformed():
            return ()


def renamed(step: Step, names: Mapping[str, str]) -> Step:
    """Return a step with other names for its variables."""

    def new(operand: Operand) -> Any:
        return names.get(operand, operand) if isinstance(operand, str) else operand

    match step:
        case Init(var=var) | InitFrom(var=var):
            return replace(step, var=new(var))
        case Compute(args=args, var=var):
            return replace(step, args=tuple(map(new, args)), var=new(var))
        case Percent(base=base, rate=rate, var=var):
            return replace(step, base=new(base), rate=new(rate), var=new(var))
        case Query(var=var):
            return Query(new(var))
        case Consume(entity=entity, amount=amount) | AddEntity(entity=entity, amount=amount):
            return replace(step, entity=new(entity), amount=new(amount))
        case Transfer(amount=amount):
            parties: dict[str, Any] = {"from": new(step.from_), "to": new(step.to)}
            return Transfer(amount=new(amount), **parties)
        case Malformed():
            return step
