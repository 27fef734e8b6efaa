"""Arithmetic in schemas: `(eggs - eaten) * price`, `whole(total / 3)`, `left >= 5`, on exact rationals.

Takes text and the names it may use, returns a function from values to a number or a truth value.
"""

import ast
import operator
from collections.abc import Callable, Collection
from fractions import Fraction
from typing import Any, Final

Values = dict[str, Fraction]
Evaluate = Callable[[Values], Any]

_BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod, ast.FloorDiv: operator.floordiv,
}  # fmt: skip
_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {"whole": lambda x: x.denominator == 1, "min": min, "max": max}


def compile_expression(text: str, names: Collection[str], truth: bool = False) -> Evaluate:
    """Compile an expression over `names`; ValueError says what in it is not allowed.

    `truth` asks for a condition (a comparison or `whole(…)`); else a number is meant.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is not an expression") from None
    is_truth = isinstance(tree, ast.Compare) or (
        isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "whole"
    )
    if is_truth != truth:
        raise ValueError(f"{text!r} is {'not a condition' if truth else 'a condition, not a number'}")
    return _compile(tree, frozenset(names))


def _compile(node: ast.expr, names: frozenset[str]) -> Evaluate:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            number = Fraction(str(value))
            return lambda _: number
        case ast.Name(id=name):
            if name not in names:
                raise ValueError(f"{name!r} is not a quantity here; those are {', '.join(sorted(names)) or 'none'}")
            return operator.itemgetter(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _compile(operand, names)
            return lambda values: -inner(values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            apply, first, second = _BINARY[type(op)], _compile(left, names), _compile(right, names)
            return lambda values: Fraction(apply(first(values), second(values)))
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARE for op in ops):
            sides = [_compile(side, names) for side in (left, *rest)]
            tests = [_COMPARE[type(op)] for op in ops]
            return lambda values: _chain(tests, [side(values) for side in sides])
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS and args:
            function, inners = _FUNCTIONS[name], [_compile(arg, names) for arg in args]
            return lambda values: function(*(inner(values) for inner in inners))
    raise ValueError(f"{ast.unparse(node)!r} has no place in an expression")


def _chain(tests: list[Callable[[Any, Any], bool]], sides: list[Fraction]) -> bool:
    return all(test(left, right) for test, left, right in zip(tests, sides, sides[1:], strict=False))
