"""Equations with unknowns give what they determine, in numbers of the first equation that does."""

from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlx_trace.language.steps import COMPUTE_OPS
from mlx_trace.problems.compile.algebra import MOST_TERMS, Unknowns, has_symbol, value
from mlx_trace.problems.compile.equations import read_chains
from mlx_trace.problems.compile.expression import Expression, Number, Operation, Symbol
from mlx_trace.problems.compile.items import parse_expression, read_items


def sides(line: str) -> tuple[Expression, Expression]:
    """Read an equation with unknowns."""
    ((left, _), (right, _)) = next(read_chains(read_items(line, True)))
    one, other = parse_expression(left), parse_expression(right)
    assert one is not None
    assert other is not None
    return one, other


def solved(*lines: str) -> dict[str, Fraction]:
    """Return what equations, taken in order, tell of their unknowns; every expression is worth what is said of it."""
    unknowns = Unknowns()
    for line in lines:
        for expression, number in unknowns.equate(*sides(line)):
            assert not has_symbol(expression)
            assert value(expression) == number
    return {name: value(expression) for name, expression in unknowns.known.items()}


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["2x + 9 = 61"], {"x": 26}),
        (["61 = 2x + 9"], {"x": 26}),
        (["5x + 4 = 3x + 30"], {"x": 13}),
        (["3x + 30 = 5x + 4"], {"x": 13}),
        (["2(x + 3) = 40"], {"x": 17}),
        (["(x + 3)/2 = 10"], {"x": 17}),
        (["x/3 + 4 = 17"], {"x": 39}),
        (["1/3x + 4 = 17"], {"x": 39}),
        (["x - 20%x = 56"], {"x": 70}),
        ([".15x = 18"], {"x": 120}),
        (["60 - x = 14"], {"x": 46}),
        (["100 - 2x = 40 + x"], {"x": 20}),
        (["x + 2x + 3x = 66"], {"x": 11}),
        (["x = 5*4"], {"x": 20}),
        (["x = 20", "y = x + 3"], {"x": 20, "y": 23}),
        (["o = 6d - 8", "o + d = 69"], {"d": 11, "o": 58}),
        (["b = 2c", "d = b + 2", "d + b + c = 42"], {"c": 8, "b": 16, "d": 18}),
        (["x + y = 10"], {}),
        (["y = x + 3"], {}),
        (["x = x"], {}),
        (["2x = x + x"], {}),
        (["x = x + 1"], {}),
        (["x*x = 9"], {}),
        (["6/x = 2"], {}),
        (["x/0 = 2"], {}),
        (["x/(y - y) = 2"], {}),
        (["0x = 0"], {}),
    ],
)  # fmt: skip
def test_equations_determine_their_unknowns(lines: list[str], found: dict[str, int]) -> None:
    assert solved(*lines) == found


def test_what_is_found_is_written_in_the_equations_numbers() -> None:
    ((expression, number),) = Unknowns().equate(*sides("2x + 9 = 61"))
    assert expression == Operation(
        "div", Operation("sub", Number(Fraction(61)), Number(Fraction(9))), Number(Fraction(2))
    )
    assert number == 26


def test_a_known_unknown_is_yielded_once() -> None:
    unknowns = Unknowns()
    assert len(list(unknowns.equate(*sides("2x = 52")))) == 1
    assert list(unknowns.equate(*sides("x = 26"))) == []
    assert list(unknowns.equate(*sides("2x = 52"))) == []


def test_a_false_equation_after_the_fact_changes_nothing() -> None:
    assert solved("2x = 52", "x = 30") == {"x": 26}


def test_too_many_unknowns_are_left_alone() -> None:
    letters = "bcdefghjklm"[: MOST_TERMS + 2]
    assert solved(" + ".join(f"1{letter}" for letter in letters) + " = 10") == {}


def test_definitions_that_go_in_circles_end() -> None:
    assert solved("b = c + d", "c = b + d", "d = b + c") in ({}, {"d": 0}, {"b": 0, "c": 0, "d": 0}, {"d": 0, "b": 0})


def test_has_symbol() -> None:
    assert has_symbol(Operation("add", Number(Fraction(1)), Symbol("x")))
    assert not has_symbol(Number(Fraction(1)))
    assert not has_symbol(None)


# --- properties ------------------------------------------------------------------------------------------------

COUNTS = st.integers(0, 60)


def side(factor: int, rest: int) -> str:
    return f"{factor}x + {rest}"


@given(COUNTS, COUNTS, COUNTS, COUNTS)
@settings(max_examples=150)
def test_one_unknown_on_both_sides(a: int, b: int, c: int, d: int) -> None:
    found = solved(f"{side(a, b)} = {side(c, d)}")
    if a == c:
        assert found == {}
    else:
        x = Fraction(d - b, a - c)
        assert found == {"x": x}
        assert a * x + b == c * x + d


@given(*[st.fractions(-20, 20, max_denominator=9)] * 4)
@settings(max_examples=100)
def test_one_unknown_with_any_coefficients(a: Fraction, b: Fraction, c: Fraction, d: Fraction) -> None:
    def linear(factor: Fraction, rest: Fraction) -> Operation:
        return Operation("add", Operation("mul", Number(factor), Symbol("x")), Number(rest))

    unknowns = Unknowns()
    yielded = list(unknowns.equate(linear(a, b), linear(c, d)))
    if a == c:
        assert unknowns.known == {}
    else:
        assert value(unknowns.known["x"]) == (d - b) / (a - c)
        assert all(value(expression) == number == (d - b) / (a - c) for expression, number in yielded)


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99), st.booleans())
@settings(max_examples=100)
def test_a_definition_and_a_sum(a: int, b: int, p: int, q: int, total: int, less: bool) -> None:
    """y = ax ± b; px + qy = total."""
    shift = -b if less else b
    found = solved(f"y = {a}x {'-' if less else '+'} {b}", f"{p}x + {q}y = {total}")
    x = Fraction(total - q * shift, p + q * a)
    assert found == {"x": x, "y": a * x + shift}


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> Expression:
    """Draw an expression of numbers and three unknowns."""
    if depth == 0 or draw(st.integers(0, 2)) == 0:
        leaves: st.SearchStrategy[Expression] = st.one_of(
            st.sampled_from([Symbol("x"), Symbol("y"), Symbol("z")]),
            st.builds(Number, st.integers(-3, 9).map(Fraction), percent=st.booleans()),
        )
        return draw(leaves)
    op = draw(st.sampled_from(COMPUTE_OPS))
    return Operation(op, draw(expressions(depth - 1)), draw(expressions(depth - 1)))


def substituted(expression: Expression, known: dict[str, Fraction]) -> Fraction:
    if isinstance(expression, Symbol):
        return known[expression.name]
    if isinstance(expression, Number):
        return value(expression)
    left, right = substituted(expression.left, known), substituted(expression.right, known)
    match expression.op:
        case "add":
            return left + right
        case "sub":
            return left - right
        case "mul":
            return left * right
        case "div":
            return left / right


@given(expressions(), expressions())
@example(Symbol("x"), Operation("add", Number(Fraction(3)), Operation("div", Number(Fraction(0)), Number(Fraction(0)))))
@settings(max_examples=100)
def test_what_an_equation_determines_satisfies_it(left: Expression, right: Expression) -> None:
    unknowns = Unknowns()
    for expression, number in unknowns.equate(left, right):
        assert value(expression) == number
    known = {name: value(expression) for name, expression in unknowns.known.items()}
    assert len(known) <= 1
    if known:
        every = {"x": Fraction(5), "y": Fraction(7), "z": Fraction(11)} | known  # what fell out may be anything
        assert substituted(left, every) == substituted(right, every)


@given(st.lists(st.tuples(expressions(2), expressions(2)), max_size=6))
@settings(max_examples=50)
def test_any_equations_are_taken(equations: list[tuple[Expression, Expression]]) -> None:
    unknowns = Unknowns()
    for left, right in equations:
        for expression, number in unknowns.equate(left, right):
            assert value(expression) == number
