"""Equations of every notation are read, and a row with one compiles to a trace of the numbers that are meant."""

from fractions import Fraction
from typing import Any

import pytest

from mlx_trace.language.solver import Solved, solve
from mlx_trace.language.syntax import Trace, parse
from mlx_trace.problems.compile.compiler import UNLIKE, Compiled, Refused, compile_row, is_worked
from mlx_trace.problems.compile.formula import read_formula


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3+4", 7), ("( 8.0 - 3.0 )", 5), ("+ 3 4", 7), ("- 8.0 2.0", 6), ("(- (+ 3 4) 2)", 5), ("- 3 ( * 4 5 )", -17),
        ("x=(3+4)*2", 14), ("X = ( 8 + 2 )", 10), (["X=5+7"], 12), ("3 + x = 7", 4), ("7+2=9", 9), ("9=7+2", 9),
        ("2*x+3=11", 4), ("ans = 10/4", Fraction(5, 2)), ("* ( + 3 4 ) 2", 14), ("-3 + 5", 2), ("25% * 80", 20),
        ("3 + 4.", 7), ("3 * -2", -6),
    ],
)  # fmt: skip
def test_an_equation_is_read_in_every_notation(text: Any, value: int | Fraction) -> None:
    found = read_formula(text)
    assert found is not None
    assert found.stated.value == value


@pytest.mark.parametrize(
    "text", ["", "x", "5", "x = 5", "x + y = 3", "3 +", "+ 3", "1/0", "/ 1 0", "a lot", None, 7, [], ["1+2", "3+4"],
             "+ " * 2000, "(" * 500 + "1", "+ 3 4 5", "1 = 2 = 3", "3**2", "7//2", "2*-(3+4)"],
)  # fmt: skip
def test_what_is_no_equation_is_none(text: Any) -> None:
    assert read_formula(text) is None


def trace_of(question: str, equation: str, answer: str) -> str:
    found = compile_row({"question": question, "equation": equation, "answer": answer}, "rows:1")
    assert isinstance(found, Compiled)
    assert found.grounded
    trace = parse(found.problem.trace or "")
    assert isinstance(trace, Trace)
    outcome = solve(trace)
    assert isinstance(outcome, Solved)
    assert outcome.answer == found.problem.expected
    return found.problem.trace or ""


def test_a_row_with_an_equation_compiles_with_names_from_the_question() -> None:
    text = trace_of("Ida packs 6 crates with 24 jars in each crate. How many jars are packed?", "* 6 24", "144")
    assert (
        text
        == """\
expert: arithmetic
trace:
- {op: init, var: crates, value: 6}
- {op: init, var: jars_per_crate, value: 24}
- {op: compute, compute_op: mul, args: [crates, jars_per_crate], var: result}
- {op: query, var: result}"""
    )


@pytest.mark.parametrize(
    ("question", "equation", "answer", "last"),
    [  # two numbers are equal: which is which follows from what they count
        ("Ole owns 5 lamps and wants 9. If each lamp costs $5, how much must he pay?", "5 * (9 - 5)", "20",
         "args: [lamps, lamps_ole], var: step1"),
        ("There were 8 sailors on deck when 3 sailors left. If each sailor gets 3 oranges, how many oranges is that?",
         "3 * (8 - 3)", "15", "args: [sailors, sailors_left], var: step1"),
        ("A barn had 4 goats when another 4 came. If 4 goats a day are sold, how many days does it take?",
         "(4 + 4) / 4", "2", "goats_per_day], var: result"),
    ],
)  # fmt: skip
def test_of_equal_numbers_the_one_that_agrees_in_kind_is_taken(
    question: str, equation: str, answer: str, last: str
) -> None:
    assert last in trace_of(question, equation, answer)


def test_a_rounded_answer_becomes_exact_and_a_wrong_one_is_refused() -> None:
    row = {"question": "Una walks 500 meters in 6 minutes. How many meters a minute?", "equation": "500/6"}
    found = compile_row(row | {"answer": "83.33"}, "rows:1")
    assert isinstance(found, Compiled)
    assert (found.problem.answer, found.problem.source) == ("250/3", "equation/rows:1")
    assert compile_row(row | {"answer": "84"}, "rows:1") == Refused("the equation does not give the answer")
    assert compile_row(row | {"equation": "fast", "answer": "84"}, "rows:1") == Refused(
        "an equation that cannot be read"
    )


def test_a_sum_of_unlike_things_is_marked() -> None:
    row = {"question": "A lamp costs $7 and there are 3 owls. How much is it?", "equation": "7 + 3", "answer": "10"}
    found = compile_row(row, "rows:1")
    assert isinstance(found, Compiled) and found.problem.doubt == UNLIKE


def test_a_row_with_a_trace_needs_no_equation() -> None:
    assert is_worked({"question": "?", "equation": "3+4", "answer": "7"})
    assert not is_worked({"question": "?", "equation": "3+4", "answer": "7", "trace": "expert: arithmetic"})
    assert not is_worked({"question": "?", "equation": "", "answer": "7"})


@pytest.mark.parametrize(
    ("question", "is_doubtful"),
    [
        ("Nora's hen had 9 chicks and 3 were brown. She sold 3 to a farm. How many chicks are there now?", True),
        ("Nora's hen had 9 chicks and 5 were brown. She sold 3 to a farm. How many chicks are there now?", False),
    ],
)
def test_a_row_whose_equal_numbers_no_word_tells_apart_is_marked(question: str, is_doubtful: bool) -> None:
    found = compile_row({"question": question, "equation": "9-3", "answer": "6"}, "rows:1")
    assert isinstance(found, Compiled)
    assert bool(found.problem.doubt) is is_doubtful


@pytest.mark.parametrize(
    ("rate", "equation", "answer", "doubt"),
    [
        ("25%", "40*0.75", "30", "a percentage that is not used"),
        ("20%", "40*0.8", "32", ""),
        ("50%", "40-40*0.5", "20", ""),
    ],
)
def test_a_percentage_that_an_equation_worked_out_in_the_head_is_marked(
    rate: str, equation: str, answer: str, doubt: str
) -> None:
    row = {
        "question": f"A hat costs $40 and is {rate} off. What is its price now?",
        "equation": equation,
        "answer": answer,
    }
    found = compile_row(row, "rows:1")
    assert isinstance(found, Compiled) and found.problem.doubt == doubt
