"""The equation that stands beside a question in sets of arithmetic problems → one `Equation`, which gives its answer.

Takes text, infix (3 + 4), prefix (+ 3 4), with an unknown (x=(3+4)*2, 3 + x = 7), or a list of one such.
"""

from collections.abc import Iterator
from typing import Any, Final

from mlx_trace.language.steps import ComputeOp
from mlx_trace.problems.compile.algebra import Unknowns, has_symbol, value
from mlx_trace.problems.compile.equations import Equation
from mlx_trace.problems.compile.expression import Expression, Number, Operation
from mlx_trace.problems.compile.items import parse_expression, read_items

MOST_CHARACTERS: Final = 1000  # of an equation
MOST_DEEP: Final = 100  # operations inside operations, in prefix notation
_OPERATORS: Final[dict[str, ComputeOp]] = {
    "+": "add", "-": "sub", "−": "sub", "*": "mul", "×": "mul", "/": "div", "÷": "div",
}  # fmt: skip


def read_formula(text: Any) -> Equation | None:
    """Return what an equation computes; None if it is none, or has more than one unknown."""
    while isinstance(text, list) and len(text) == 1:
        text = text[0]
    if not isinstance(text, str) or len(text) > MOST_CHARACTERS:
        return None
    sides = [side.strip() for side in text.split("=")]
    told = [side for side in sides if any(map(str.isdigit, side))]  # x, ans and ? say nothing
    if len(sides) > 2 or not told:
        return None
    expressions = [_expression(side) for side in told]
    try:
        return _solved(expressions[0], expressions[-1]) if len(expressions) == 2 else _equation(expressions[0])
    except ZeroDivisionError:
        return None


def _equation(expression: Expression | None) -> Equation | None:
    if not isinstance(expression, Operation) or has_symbol(expression):
        return None
    return Equation((expression,), Number(value(expression)))


def _solved(left: Expression | None, right: Expression | None) -> Equation | None:
    """Return what two sides determine: their unknown, or else the one that is a number is what the other gives."""
    if left is None or right is None:
        return None
    if has_symbol(left) or has_symbol(right):
        return next((_equation(expression) for expression, _ in Unknowns().equate(left, right)), None)
    return _equation(left if isinstance(left, Operation) else right)


def _expression(text: str) -> Expression | None:
    """Read a side: infix if it is that, else prefix."""
    items = read_items(text, unknowns=True)
    if items and items[-1].kind == "break":  # a full stop; one inside parts what is no expression, as 3**2
        del items[-1]
    infix = parse_expression(items)
    if infix is not None:
        return infix
    tokens = iter(_tokens(text))
    expression = _prefix(tokens, MOST_DEEP)
    return expression if expression is not None and next(tokens, None) is None else None


def _tokens(text: str) -> Iterator[ComputeOp | Expression | None]:
    """Yield the operators and operands of a prefix text; its brackets say nothing that its order does not."""
    for word in text.replace("(", " ").replace(")", " ").replace(",", " ").split():
        yield _OPERATORS[word] if word in _OPERATORS else parse_expression(read_items(word, unknowns=True))


def _prefix(tokens: Iterator[ComputeOp | Expression | None], room: int) -> Expression | None:
    token = next(tokens, None)
    if not isinstance(token, str):
        return token
    left = _prefix(tokens, room - 1) if room else None
    right = _prefix(tokens, room - 1) if left is not None else None
    return None if left is None or right is None else Operation(token, left, right)
