"""Expressions are exact arithmetic over named quantities, and nothing else."""

from fractions import Fraction

import pytest

from mlx_trace.problems.synthetic.expression import compile_expression

VALUES = {"a": Fraction(10), "b": Fraction(3)}


@pytest.mark.parametrize(
    ("text", "value"),
    [("a / b", Fraction(10, 3)), ("(a - b) * 2", 14), ("a // b", 3), ("a % b", 1), ("-a + 0.1", Fraction(-99, 10)),
     ("max(a, b, 4)", 10), ("min(a, b)", 3)],
)  # fmt: skip
def test_numbers(text: str, value: Fraction) -> None:
    assert compile_expression(text, VALUES)(VALUES) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("a > b", True), ("1 < b < a", True), ("whole(a / b)", False), ("whole(a / 5)", True), ("a == b", False)],
)
def test_conditions(text: str, value: bool) -> None:
    assert compile_expression(text, VALUES, truth=True)(VALUES) is value


@pytest.mark.parametrize(
    "text",
    ["", "a +", "c", "a.real", "a[0]", "__import__('os')", "a if b else a", "a ** b", "'a'", "True", "lambda: a", "[a]",
     "f(a)", "a and b", "a > b", "max()", "whole(a)", "a; b", "(" * 500],
)  # fmt: skip
def test_nothing_else_compiles(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        compile_expression(text, VALUES)
