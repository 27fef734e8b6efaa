"""Arithmetic expressions over numbers as a solution writes them, with unknowns. Knows nothing of text."""

from dataclasses import dataclass
from fractions import Fraction

from mlx_trace.language.steps import ComputeOp


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written: with the noun behind it in lower case, its percent sign, its decimals, its currency sign."""

    value: Fraction
    unit: str = ""
    percent: bool = False
    places: int = 0
    money: bool = False


@dataclass(frozen=True, slots=True)
class Symbol:
    """An unknown, such as x."""

    name: str


@dataclass(frozen=True, slots=True)
class Operation:
    """Two expressions combined."""

    op: ComputeOp
    left: "Expression"
    right: "Expression"


Expression = Number | Symbol | Operation


def leftmost(expression: Expression | None) -> Number | None:
    """Return the number an expression begins with, if it begins with one."""
    while isinstance(expression, Operation):
        expression = expression.left
    return expression if isinstance(expression, Number) else None


def evaluate(expression: Expression, percent: Fraction = Fraction(1)) -> Fraction:
    """Compute an expression without unknowns; a number with a percent sign is taken `percent` times.

    Raises ZeroDivisionError, and ValueError for an unknown.
    """
    if isinstance(expression, Number):
        return expression.value * percent if expression.percent else expression.value
    if isinstance(expression, Symbol):
        raise ValueError(f"{expression.name} is unknown")
    left, right = evaluate(expression.left, percent), evaluate(expression.right, percent)
    match expression.op:
        case "add":
            return left + right
        case "sub":
            return left - right
        case "mul":
            return left * right
        case "div":
            return left / right
