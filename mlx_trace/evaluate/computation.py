"""What a trace that ran computes, as one expression: its answer's operations over numbers, names and steps gone.

As the trace has it, or in its usual form, in which sums of sums and products of products are one and have no order.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

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

_JOINED: Final = ("add", "mul")
_UNSIGNED: Final = {"sub": "add", "div": "mul"}
_AND_PERCENT: Final = {"add": "percent_increase", "sub": "percent_off"}


@dataclass(frozen=True)
class Expression:
    """A number (`op` is number), or an operation on expressions."""

    op: str
    args: tuple["Expression", ...] = ()
    number: Fraction = field(default=Fraction(0))
    size: int = field(init=False, compare=False)  # of the tree, in which what is used twice stands twice
    distinct: frozenset[Fraction] = field(init=False, compare=False)  # numbers in it

    def __post_init__(self) -> None:
        own = [self.number] if self.op == "number" else ()
        object.__setattr__(self, "size", 1 + sum(arg.size for arg in self.args))
        object.__setattr__(self, "distinct", frozenset(own).union(*(arg.distinct for arg in self.args)))

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        """Return what it is sorted by."""
        return (self.op, self.number, tuple(arg._key for arg in self.args))

    @cached_property
    def numbers(self) -> Counter[Fraction]:
        """Return the numbers in it, each as often as it is used."""
        if self.op == "number":
            return Counter([self.number])
        return sum((arg.numbers for arg in self.args), Counter())

    @cached_property
    def meetings(self) -> tuple[Any, ...]:
        """Return which operands meet, whatever is done with them."""
        return (self.number, tuple(sorted(arg.meetings for arg in self.args)))

    @cached_property
    def unsigned(self) -> "Expression":
        """Return it with sums for differences and products for quotients, in its usual form."""
        args = tuple(arg.unsigned for arg in self.args)
        return Expression(_UNSIGNED.get(self.op, self.op), args, self.number).usual

    def parts(self) -> Iterator["Expression"]:
        """Yield itself and all within it that are operations."""
        if self.op != "number":
            yield self
            for arg in self.args:
                yield from arg.parts()

    def replaced(self, old: "Expression", new: "Expression") -> "Expression":
        """Return it with another expression wherever it has one."""
        if self == old:
            return new
        args = tuple(arg.replaced(old, new) for arg in self.args)
        return self if args == self.args else Expression(self.op, args)

    @cached_property
    def usual(self) -> "Expression":
        """Return its usual form: `(a - b) - c` is `a - (b + c)`, `(a / b) / c` is `a / (b * c)`.

        What a percentage of it is added to or taken from is increased by that percentage, or is that percentage off.
        """
        args = [arg.usual for arg in self.args]
        if self.op in _AND_PERCENT and len(args) == 2 and args[1].op == "percent_of" and args[1].args[0] == args[0]:
            return Expression(_AND_PERCENT[self.op], args[1].args)
        if self.op in _JOINED:
            flat = [inner for arg in args for inner in (arg.args if arg.op == self.op else (arg,))]
            return Expression(self.op, tuple(sorted(flat, key=lambda arg: arg._key)))
        if self.op in ("sub", "div") and args[0].op == self.op:
            first, second = args[0].args
            return Expression(self.op, (first, Expression(_JOINED[self.op == "div"], (second, args[1])).usual))
        return Expression(self.op, tuple(args), self.number)


def number(value: Fraction) -> Expression:
    """Return a number as an expression."""
    return Expression("number", (), value)


def computation(trace: Trace) -> Expression:
    """Return the expression of the answer of a trace that ran."""
    answers: list[Expression] = []
    for part in trace.parts:
        answers.append(_answer(part, answers))
    return answers[-1]


def _answer(part: Part, earlier: Sequence[Expression]) -> Expression:
    values: dict[str, Expression] = {}
    for step, changed in defined(part, earlier):
        if isinstance(step, Query):
            return values[step.var]
        values |= changed
    raise ValueError("a part without a query has not run")


def defined(part: Part, earlier: Sequence[Expression]) -> Iterator[tuple[Step, dict[str, Expression]]]:
    """Yield each step with the variables it changes, one used twice as one object; `earlier` are parts' answers."""
    values: dict[str, Expression] = {}
    for step in part.steps:
        changed = _changed(step, values, earlier)
        values |= changed
        yield step, changed


def _changed(step: Step, values: dict[str, Expression], earlier: Sequence[Expression]) -> dict[str, Expression]:
    """Return the variables that a step defines or changes."""

    def of(operand: Operand) -> Expression:
        return values.get(operand, number(Fraction(0))) if isinstance(operand, str) else number(operand)

    match step:
        case Init(var=var, value=value):
            return {var: number(value)}
        case InitFrom(var=var, source=source):
            return {var: earlier[-1 if source == "prev.result" else int(source[3 : -len(".result")])]}
        case Compute(compute_op=op, args=args, var=var):
            return {var: Expression(op, tuple(map(of, args)))}
        case Percent(op=op, base=base, rate=rate, var=var):
            return {var: Expression(op, (of(base), of(rate)))}
        case Consume(entity=entity, amount=amount):
            return {entity: Expression("sub", (of(entity), of(amount)))}
        case AddEntity(entity=entity, amount=amount):
            return {entity: _added(values.get(entity), of(amount))}
        case Transfer(from_=giver, to=taker, amount=amount):
            return {giver: Expression("sub", (of(giver), of(amount))), taker: _added(values.get(taker), of(amount))}
        case Query() | Malformed():
            return {}


def _added(before: Expression | None, amount: Expression) -> Expression:
    return amount if before is None else Expression("add", (before, amount))
