"""Linear equations with unknowns, as solutions write them: Let x be …, 2x - 5 = 13 → x as an expression of numbers.

Takes the sides of an equation in the order they come; returns what they determine, written in the numbers of the
first equation that does, since those are the question's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from mlx_trace.problems.compile.expression import Expression, Number, Operation, Symbol, evaluate

_ZERO: Final = Number(Fraction(0))
_ONE: Final = Number(Fraction(1))
_SHARE: Final = Fraction(1, 100)
MOST_TERMS: Final = 8  # unknowns of one equation
MOST_NODES: Final = 100  # of a definition's expressions


@dataclass(frozen=True, slots=True)
class Linear:
    """A sum of unknowns with coefficients, and a number."""

    terms: dict[str, Expression]
    rest: Expression

    def value_of(self, name: str) -> Fraction:
        """Return a coefficient's value."""
        return value(self.terms[name]) if name in self.terms else Fraction(0)


class _NotLinear(Exception):
    """An expression is not linear in its unknowns."""


class Unknowns:
    """What is known of a solution's unknowns so far."""

    def __init__(self) -> None:
        self.known: dict[str, Expression] = {}
        self.defined: dict[str, Linear] = {}

    def equate(self, left: Expression, right: Expression) -> Iterator[tuple[Expression, Fraction]]:
        """Take left = right; yield an expression and its value for every unknown that it determines."""
        try:
            left_form, right_form = self._linear(left), self._linear(right)
            difference = _combine("sub", left_form, right_form)
            unknown = [name for name in difference.terms if difference.value_of(name) != 0]
            if len(unknown) == 1:
                yield from self._determine(unknown[0], left_form, right_form)
            elif len(unknown) > 1:
                self._define(left, right_form)
                self._define(right, left_form)
        except (_NotLinear, ZeroDivisionError):
            return

    def _determine(self, name: str, left: Linear, right: Linear) -> Iterator[tuple[Expression, Fraction]]:
        if left.value_of(name) < right.value_of(name):
            left, right = right, left
        factor = _minus(left.terms.get(name, _ZERO), right.terms.get(name, _ZERO))
        solution = _over(_minus(right.rest, left.rest), factor)
        yield from self._know(name, solution)
        for other in [key for key, form in self.defined.items() if key not in self.known and not self._open(form)]:
            form = self._substitute(self.defined[other])
            yield from self._know(other, form.rest)

    def _know(self, name: str, solution: Expression) -> Iterator[tuple[Expression, Fraction]]:
        number = value(solution)
        self.known[name] = Number(number)
        if isinstance(solution, Operation):
            yield solution, number

    def _open(self, form: Linear) -> bool:
        return any(name not in self.known for name in form.terms)

    def _define(self, side: Expression, form: Linear) -> None:
        if not isinstance(side, Symbol) or side.name in (*self.known, *self.defined, *form.terms):
            return
        if all(_is_small(part) for part in (*form.terms.values(), form.rest)):
            self.defined[side.name] = form

    def _linear(self, expression: Expression) -> Linear:
        """Return an expression as a linear form, known and defined unknowns replaced."""
        if isinstance(expression, Number):
            return Linear({}, expression)
        if isinstance(expression, Symbol):
            return self._substitute(Linear({expression.name: _ONE}, _ZERO))
        return _combine(expression.op, self._linear(expression.left), self._linear(expression.right))

    def _substitute(self, form: Linear) -> Linear:
        for _ in range(MOST_TERMS):
            name = next((name for name in form.terms if name in self.known or name in self.defined), None)
            if name is None:
                return form
            inner = Linear({}, self.known[name]) if name in self.known else self.defined[name]
            others = Linear({key: factor for key, factor in form.terms.items() if key != name}, form.rest)
            form = _combine("add", others, _combine("mul", inner, Linear({}, form.terms[name])))
        raise _NotLinear


def has_symbol(expression: Expression | None) -> bool:
    """Tell whether an expression holds an unknown."""
    if isinstance(expression, Operation):
        return has_symbol(expression.left) or has_symbol(expression.right)
    return isinstance(expression, Symbol)


def value(expression: Expression) -> Fraction:
    """Compute an expression of numbers, percent signs as hundredths."""
    return evaluate(expression, _SHARE)


def _is_small(expression: Expression) -> bool:
    """Tell whether an expression is small enough to stand in others: definitions of definitions grow fast."""
    waiting, seen = [expression], 0
    while waiting and seen <= MOST_NODES:
        part = waiting.pop()
        seen += 1
        if isinstance(part, Operation):
            waiting += (part.left, part.right)
    return seen <= MOST_NODES


def _combine(op: str, left: Linear, right: Linear) -> Linear:
    if op in ("add", "sub"):
        join = _plus if op == "add" else _minus
        names = dict.fromkeys([*left.terms, *right.terms])
        if len(names) > MOST_TERMS:
            raise _NotLinear
        terms = {name: join(left.terms.get(name, _ZERO), right.terms.get(name, _ZERO)) for name in names}
        return Linear(terms, join(left.rest, right.rest))
    if op == "mul" and right.terms:
        left, right = right, left
    if right.terms:
        raise _NotLinear
    if op == "div" and value(right.rest) == 0:
        raise ZeroDivisionError
    scale = _times if op == "mul" else _over
    return Linear(
        {name: scale(factor, right.rest) for name, factor in left.terms.items()}, scale(left.rest, right.rest)
    )


def _is(expression: Expression, number: Number) -> bool:
    return isinstance(expression, Number) and expression.value == number.value and not expression.percent


def _negated(expression: Expression) -> Expression | None:
    """Return k of 0 - k."""
    if isinstance(expression, Operation) and expression.op == "sub" and _is(expression.left, _ZERO):
        return expression.right
    return None


def _plus(left: Expression, right: Expression) -> Expression:
    if _is(right, _ZERO):
        return left
    if _is(left, _ZERO):
        return right
    if (less := _negated(right)) is not None:
        return _minus(left, less)
    if (less := _negated(left)) is not None:
        return _minus(right, less)
    return Operation("add", left, right)


def _minus(left: Expression, right: Expression) -> Expression:
    if _is(right, _ZERO):
        return left
    if (more := _negated(right)) is not None:
        return _plus(left, more)
    return Operation("sub", left, right)


def _times(left: Expression, right: Expression) -> Expression:
    if _is(left, _ZERO) or _is(right, _ZERO):
        return _ZERO
    if _is(left, _ONE):
        return right
    if _is(right, _ONE):
        return left
    if (less := _negated(left)) is not None:
        return Operation("sub", _ZERO, _times(less, right))
    return Operation("mul", left, right)


def _over(left: Expression, right: Expression) -> Expression:
    if _is(left, _ZERO) or _is(right, _ONE):
        return left
    if (less := _negated(left)) is not None:
        return Operation("sub", _ZERO, _over(less, right))
    return Operation("div", left, right)
