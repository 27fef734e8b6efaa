"""A solution's equations: once each, in order, with what they are said to equal."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_trace.problems.compile.equations import MOST_CHARACTERS, MOST_EQUATIONS, Equation, read_chains, read_equations
from mlx_trace.problems.compile.expression import Expression, Number, Operation, evaluate
from mlx_trace.problems.compile.items import read_items

SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def shown(expression: Expression) -> str:
    """Return an expression as text, every operation in brackets."""
    if isinstance(expression, Operation):
        return f"({shown(expression.left)}{SIGNS[expression.op]}{shown(expression.right)})"
    return str(expression.value) if isinstance(expression, Number) else expression.name


def facts(solution: str, unknowns: bool = False) -> list[str]:
    """Return the equations that hold, each as text; of its expressions the first that does."""
    return [
        f"{shown(expression)}={equation.stated.value}"
        for equation in read_equations(solution, unknowns)
        for expression in [next((e for e in equation.expressions if holds(e, equation)), None)]
        if expression is not None
    ]


def holds(expression: Expression, equation: Equation) -> bool:
    try:
        return evaluate(expression) == equation.stated.value
    except (ZeroDivisionError, ValueError):
        return False


@pytest.mark.parametrize(
    ("solution", "found"),
    [
        ("3*4=<<3*4=12>>12", ["(3*4)=12"]),
        ("He has 3*4=<<3*4=12>>12 pens.", ["(3*4)=12"]),
        ("He has <<3*4=12>>12 pens.", ["(3*4)=12"]),
        ("3*4 = <<12=12>>12", ["(3*4)=12"]),
        ("3*4 = <<12>>12", ["(3*4)=12"]),
        ("3 * $4 = $<<3*4=12>>12.", ["(3*4)=12"]),
        ("3 pens * 4 = << 3 * 4 = 12 >> 12 pens", ["(3*4)=12"]),
        ("3*4 = 12", ["(3*4)=12"]),
        ("3*4=<<3*4=12>>12 and 12+5=<<12+5=17>>17", ["(3*4)=12", "(12+5)=17"]),
        ("3*4=<<3*4=12>>12\n12+5 = 17", ["(3*4)=12", "(12+5)=17"]),
        ("2*3=6*4=24", ["(2*3)=6", "(6*4)=24"]),
        ("2*3=<<2*3=6>>6*4=<<6*4=24>>24", ["(2*3)=6", "(6*4)=24"]),
        ("3*8+2*11 = 24+22 = 46", ["((3*8)+(2*11))=46"]),
        ("60 = 5*12", ["(5*12)=60"]),
        ("That is 3*4 = 12, and 12 - 5 = 7.", ["(3*4)=12", "(12-5)=7"]),
        ("3 times 4 is 12", ["(3*4)=12"]),
        ("3 plus 4 equals 7", ["(3+4)=7"]),
        ("1 - 1/6 = 5/6", ["(1-(1/6))=5/6"]),
        ("1-1/6 = 5/6", ["(1-(1/6))=5/6"]),
        ("1-1/6=<<1-1/6=5/6>>5/6", ["(1-(1/6))=5/6"]),
        ("Mixed: 2 1/2 * 4 = 10", ["(5/2*4)=10"]),
        ("-5+8=<<-5+8=3>>3", ["(-5+8)=3"]),
        ("no sum here", []),
        ("12 = 12", []),
        ("<<12=12>>12", []),
        ("3*4=", []),
        ("=12", []),
        ("<<>>", []),
        ("<<=>>", []),
        ("<<=12>>", []),
        ("<<3*4=>>", []),
        ("", []),
    ],
)
def test_equations_are_found_once_each_in_order(solution: str, found: list[str]) -> None:
    assert facts(solution) == found


def test_prose_and_annotation_are_one_equation() -> None:
    (equation,) = read_equations("He pays 3 * 4 + 1 = <<3*4+1=13>>13 dollars.")
    assert equation.stated == Number(Fraction(13), "dollars")
    assert {shown(expression) for expression in equation.expressions} == {"((3*4)+1)"}


def test_a_stated_number_keeps_unit_percent_and_places() -> None:
    assert read_equations("7/3=<<7/3=2.33>>2.33 feet")[0].stated == Number(Fraction("2.33"), "feet", False, 2)
    assert read_equations("17/85 x 100% = 20%")[0].stated == Number(Fraction(20), "", True, 0)


def test_an_equation_knows_its_line() -> None:
    lines = ["First 3*4=<<3*4=12>>12.", "Then nothing.", "Last 12+5 = 17."]
    assert [equation.line for equation in read_equations("\n".join(lines))] == [lines[0], lines[2]]


def test_a_false_equation_is_handed_on_for_the_graph_to_judge() -> None:
    (equation,) = read_equations("3*4=<<3*4=13>>13")
    assert evaluate(equation.expressions[0]) == 12
    assert equation.stated.value == 13


def test_unknowns_count_where_asked_for() -> None:
    solution = "Let x be the pens.\n2x + 9 = 61\n2x = 52\nx = 26"
    assert facts(solution) == []
    assert facts(solution, True)[0] == "((61-9)/2)=26"


def test_a_chain_has_sides_and_notes() -> None:
    (chain,) = [chain for chain in read_chains(read_items("3*4=<<3*4=12>>12")) if len(chain) > 1]
    assert [[item.kind for item in side] for side, _ in chain] == [["number", "operator", "number"], ["number"]]
    assert [note.text if note else None for _, note in chain] == [None, "3*4=12"]


def test_bounds_of_lines_and_equations() -> None:
    assert read_equations("3*4=12" + " " * MOST_CHARACTERS) == []
    assert len(read_equations("3*4=12\n" * (MOST_EQUATIONS * 3))) == MOST_EQUATIONS
    assert facts("x" * (MOST_CHARACTERS + 1) + "\n3*4=12") == ["(3*4)=12"]


STEPS = st.lists(st.tuples(st.integers(1, 999), st.sampled_from("+-*"), st.integers(1, 999)), min_size=1, max_size=20)


@given(
    STEPS, st.sampled_from(["{e}=<<{e}={v}>>{v}", "{e} = {v}", "{e} = <<{v}={v}>>{v}", "It is {e}=$<<{e}={v}>>{v}."])
)
@settings(max_examples=100)
def test_every_written_step_is_found_whatever_its_form(steps: list[tuple[int, str, int]], form: str) -> None:
    steps = [step for step in steps if step[1] != "-" or step[0] > step[2]]
    values = [a + b if sign == "+" else a - b if sign == "-" else a * b for a, sign, b in steps]
    lines = [form.format(e=f"{a}{sign}{b}", v=value) for (a, sign, b), value in zip(steps, values, strict=True)]
    assert facts("\n".join(lines)) == [f"({a}{s}{b})={value}" for (a, s, b), value in zip(steps, values, strict=True)]


@given(st.integers(2, 60).flatmap(lambda below: st.tuples(st.integers(1, below - 1), st.just(below))))
def test_a_fraction_that_comes_out_is_one_result_and_its_numerator_none(part: tuple[int, int]) -> None:
    above, below = part
    rest = Fraction(below - above, below)
    (equation,) = read_equations(f"1-{above}/{below}={below - above}/{below}")
    assert equation.stated.value == rest


def test_the_first_number_of_a_side_is_a_result_where_the_side_is_none() -> None:
    assert facts("6*4=24/5=4.8") == ["(6*4)=24", "(24/5)=24/5"]


PIECES = "3 4 12 0.5 20% 1/2 ½ + - * × x / = = << >> <<3*4=12>> <<12>> $ . , is of times by a b y pens \n".split(" ")


@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=40).map("".join)), st.booleans())
@settings(max_examples=200)
def test_any_text_is_read_into_equations(text: str, unknowns: bool) -> None:
    for equation in read_equations(text, unknowns):
        assert equation.expressions
        assert all(isinstance(expression, Operation) for expression in equation.expressions)
        assert equation.line in text.splitlines()
