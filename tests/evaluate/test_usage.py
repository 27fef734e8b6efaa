"""A number of a question is used when the answer depends on it, through whatever steps and parts."""

from fractions import Fraction

import pytest

from mlx_trace.evaluate.usage import amounts, answer_numbers, share_used, unused
from mlx_trace.language.solver import Solved, solve
from mlx_trace.language.syntax import Trace, parse
from mlx_trace.problems.synthetic.generator import draw
from mlx_trace.problems.synthetic.schema import load_schemas

QUESTION = "Anna has 5 pens and 7 books. She buys 3 more pens. How many pens has she?"


def trace(steps: str, expert: str = "arithmetic") -> Trace:
    found = parse(f"expert: {expert}\ntrace:\n" + "\n".join(f"- {{{step.strip()}}}" for step in steps.split(";")))
    assert isinstance(found, Trace)
    assert isinstance(solve(found), Solved)
    return found


def words(question: str, steps: str, expert: str = "arithmetic") -> list[str]:
    return [question[m.start : m.end] for m in unused(question, trace(steps, expert))]


A, B = "op: init, var: a, value: 5; op: init, var: b, value: 3", "op: init, var: c, value: 7"
ADD = "op: compute, compute_op: add, args: [a, b], var: d"


def test_a_number_that_is_defined_and_left_alone_is_not_used() -> None:
    assert words(QUESTION, f"{A}; {ADD}; op: query, var: d") == ["7"]
    assert words(QUESTION, f"{A}; {B}; {ADD}; op: query, var: d") == ["7"]
    on = "op: compute, compute_op: mul, args: [d, c], var: e"
    assert words(QUESTION, f"{A}; {B}; {ADD}; {on}; op: query, var: d") == ["7"]
    assert words(QUESTION, f"{A}; {B}; {ADD}; {on}; op: query, var: e") == []
    assert share_used(QUESTION, trace(f"{A}; {ADD}; op: query, var: d")) == Fraction(2, 3)


def test_what_is_given_is_behind_who_has_it() -> None:
    start = "op: init, var: anna, value: 5; op: init, var: ben, value: 7"
    given = f"{start}; op: transfer, from: anna, to: ben, amount: 3"
    assert words(QUESTION, f"{given}; op: query, var: anna", "entity_track") == ["7"]
    assert words(QUESTION, f"{given}; op: query, var: ben", "entity_track") == ["5"]
    taken = f"{start}; op: consume, entity: ben, amount: anna; op: add_entity, entity: ben, amount: 3"
    assert words(QUESTION, f"{taken}; op: query, var: ben", "entity_track") == []


def test_an_answer_goes_on_into_later_parts() -> None:
    first = "expert: arithmetic\ntrace:\n- {op: init, var: a, value: 5}\n- {op: init, var: b, value: 3}\n"
    first += "- {op: compute, compute_op: add, args: [a, b], var: d}\n- {op: query, var: d}\n"
    for source in ("prev.result", "sub0.result"):
        second = f"expert: percentage\ntrace:\n- {{op: init, var: x, source: {source}}}\n"
        second += "- {op: percent_off, base: x, rate: 7, var: y}\n- {op: query, var: y}\n"
        both = "".join(f"- {part.strip().replace(chr(10), chr(10) + '  ')}\n" for part in (first, second))
        found = parse(both)
        assert isinstance(found, Trace), found
        assert isinstance(solve(found), Solved), solve(found)
        assert answer_numbers(found) == {5, 3, 7}


@pytest.mark.parametrize(
    ("question", "stated"),
    [
        ("hello", []),
        ("Which one came fifth?", []),  # a pronoun, and a place
        ("One box costs $1.50. What do two boxes cost?", ["1.50", "two"]),
        ("Half of the 20 cakes, and 10% of 1 dozen?", ["Half", "20", "10%", "1 dozen"]),
    ],
)
def test_amounts_are_what_an_answer_may_use(question: str, stated: list[str]) -> None:
    assert [question[m.start : m.end] for m in amounts(question)] == stated


def test_a_question_without_amounts_leaves_nothing_unused() -> None:
    assert share_used("How many?", trace(f"{A}; {ADD}; op: query, var: d")) == 1


def test_gold_traces_use_nearly_all_that_their_questions_state() -> None:
    drawn = [draw(schema, 3, k) for schema in load_schemas().values() for k in range(2)]
    shares = [share_used(problem.question, gold) for problem in drawn
              if isinstance(gold := parse(problem.trace or ""), Trace)]  # fmt: skip
    assert len(shares) == len(drawn)
    assert sum(share == 1 for share in shares) >= 0.85 * len(shares)
