"""Rewards are graduated, the same for a mistake alone and in a composition, and no known loophole pays."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mlx_trace.config_reinforce import Rewards
from mlx_trace.language.grade import grade
from mlx_trace.language.syntax import render
from tests.language.test_solver import FIRST, RULES, composed, part
from tests.language.traces import traces

RIGHT = part("op: init, var: a, value: 8", "op: compute, compute_op: add, args: [a, 1], var: b", "op: query, var: b")


def test_the_five_grades() -> None:
    nine = Fraction(9)
    assert (grade(RIGHT, nine, "arithmetic").reward, grade(RIGHT, nine).kind) == (1.0, "correct")
    assert (grade(RIGHT, Fraction(10)).reward, grade(RIGHT, Fraction(10)).kind) == (0.7, "wrong_answer")
    broken = RIGHT.replace("args: [a, 1]", "args: [a, z]")
    assert (grade(broken, nine).reward, grade(broken, nine).kind) == (0.5, "invalid_trace")
    assert (grade(RIGHT, nine, "percentage").reward, grade(RIGHT, nine, "percentage").kind) == (0.3, "wrong_expert")
    assert (grade("no", nine, "percentage").reward, grade("no", nine).kind) == (0.0, "parse_failure")


def test_the_failed_kind_travels_in_the_detail() -> None:
    assert grade(RIGHT.replace("args: [a, 1]", "args: [a, z]"), Fraction(9)).detail.startswith("undefined_variable")


def test_without_an_expected_answer_the_grade_says_so() -> None:
    solved = grade(RIGHT)
    assert (solved.reward, solved.kind, solved.answer) == (None, "solved", "9")


def test_a_wrong_expert_is_told_before_anything_else_but_parsing() -> None:
    invalid = "expert: comparison\ntrace: [{op: nonsense}]"
    assert grade(invalid, Fraction(1), "arithmetic").kind == "wrong_expert"
    assert grade(invalid, Fraction(1), "comparison").kind == "invalid_trace"
    assert grade("expert: comparison", Fraction(1), "arithmetic").kind == "parse_failure"


def test_two_parts_are_named_composition() -> None:
    both = composed(FIRST, RIGHT)
    assert grade(both, Fraction(9), "composition").kind == "correct"
    assert grade(both, Fraction(9), "arithmetic").kind == "wrong_expert"
    assert grade(RIGHT, Fraction(9), "composition").kind == "wrong_expert"
    assert grade("- " + RIGHT.replace("\n", "\n  "), Fraction(9), "arithmetic").kind == "correct"


@pytest.mark.parametrize(
    ("expected", "right"),
    [(Fraction(9), True), (Fraction("9.0099"), True), (Fraction("8.991"), True), (Fraction("9.01"), False),
     (Fraction("8.99"), False), (Fraction(9) + Fraction(1, 100) - Fraction(1, 10**12), True)],
)  # fmt: skip
def test_equality_is_within_a_hundredth_exactly(expected: Fraction, right: bool) -> None:
    assert (grade(RIGHT, expected).kind == "correct") == right


@pytest.mark.parametrize(("kind", "expert", "steps"), RULES)
def test_a_broken_rule_earns_half_alone_and_composed(kind: str, expert: str, steps: tuple[str, ...]) -> None:
    alone, second = part(*steps, expert=expert), composed(FIRST, part(*steps, expert=expert))
    for text in (alone, second, composed(part(*steps, expert=expert), FIRST)):
        graded = grade(text, Fraction(9))
        assert (graded.reward, graded.kind, graded.answer) == (0.5, "invalid_trace", None)
    assert grade(alone, Fraction(9)).detail.startswith(kind)


# --- what the historical verifier rewarded or crashed on ---

LOOPHOLES = {
    "query before init": part("op: query, var: a", "op: init, var: a, value: 9"),
    "init after query": part("op: init, var: a, value: 8", "op: compute, compute_op: add, args: [a, 5], var: b",
                             "op: query, var: b", "op: init, var: b, value: 9"),
    "init over the computed": part("op: init, var: a, value: 8", "op: compute, compute_op: add, args: [a, 5], var: b",
                                   "op: init, var: b, value: 9", "op: query, var: b"),
    "sum of one": part("op: compute, compute_op: add, args: [9], var: b", "op: query, var: b"),
    "sum with nothing": part("op: init, var: a, value: 9", "op: compute, compute_op: add, args: [a, 0], var: b",
                             "op: query, var: b"),
    "product with one": part("op: init, var: a, value: 9", "op: compute, compute_op: mul, args: [a, 1], var: b",
                             "op: query, var: b"),
    "literals alone": part("op: compute, compute_op: add, args: [4, 5], var: b", "op: query, var: b"),
    "all of it": part("op: percent_of, base: 9, rate: 100, var: b", "op: query, var: b", expert="percentage"),
    "a gift from nowhere": part("op: add_entity, entity: a, amount: 9", "op: query, var: a", expert="entity_track"),
    "the answer copied": part("op: init, var: a, value: 9", "op: query, var: a"),
    "an expert alone": "expert: arithmetic",
    "an empty trace": "expert: arithmetic\ntrace: []",
    "an empty list": "[]",
    "no expert": "expert: null\ntrace: []",
    "expert a number": "expert: 5\ntrace: []",
    "a list of nothing much": "- 5\n- expert: arithmetic\n  trace: []",
    "infinity": part("op: init, var: a, value: .inf", "op: compute, compute_op: add, args: [a, 5], var: b", "op: query, var: b"),
    "not a number": part("op: init, var: a, value: .nan", "op: compute, compute_op: add, args: [a, 5], var: b",
                         "op: query, var: b"),
    "division by zero": part("op: init, var: a, value: 9", "op: compute, compute_op: div, args: [a, 0], var: b",
                             "op: query, var: b"),
    "source in the first part": part("op: init, var: a, source: prev.result",
                                     "op: compute, compute_op: add, args: [a, 9], var: b", "op: query, var: b"),
    "source with a value": composed(FIRST, part("op: init, var: a, source: prev.result, value: 8",
                                                "op: compute, compute_op: add, args: [a, 2], var: b", "op: query, var: b")),
    "source by prefix": composed(FIRST, part("op: init, var: a, source: sub0.resultXYZ",
                                             "op: compute, compute_op: add, args: [a, 2], var: b", "op: query, var: b")),
    "source copied": composed(FIRST.replace("3", "5"), part("op: init, var: a, source: prev.result", "op: query, var: a")),
    "an invented op": part("op: add, a: 4, b: 5, var: c", "op: query, var: c"),
    "expert none": "expert: none\ntrace: []",
    "a self-transfer": part("op: init, var: a, value: 9", "op: transfer, from: a, to: a, amount: 1", "op: query, var: a",
                            expert="entity_track"),
}  # fmt: skip


@pytest.mark.parametrize("text", LOOPHOLES.values(), ids=LOOPHOLES.keys())
def test_no_known_loophole_pays(text: str) -> None:
    reward = grade(text, Fraction(9)).reward
    assert reward is not None
    assert reward < 0.7
    if text.startswith("expert: ") and "source" not in text:
        second = grade(composed(FIRST, text), Fraction(9)).reward
        assert second is not None
        assert second < 0.7


def test_precision_is_not_lost_between_parts() -> None:
    tiny = part(
        "op: init, var: a, value: 1", "op: compute, compute_op: div, args: [a, 200], var: b", "op: query, var: b"
    )
    back = part("op: init, var: a, source: prev.result", "op: compute, compute_op: mul, args: [a, 200], var: b",
                "op: query, var: b")  # fmt: skip
    assert grade(composed(tiny, back), Fraction(1)).kind == "correct"


@settings(max_examples=200)
@given(st.one_of(traces().map(render), st.text(), st.binary()), st.fractions(max_denominator=100))
def test_every_text_has_one_of_the_five_rewards(text: str | bytes, expected: Fraction) -> None:
    assert grade(text, expected).reward in (1.0, 0.7, 0.5, 0.3, 0.0)


def test_rewards_may_change_but_not_change_places() -> None:
    mild = Rewards(parse_failure=-1, wrong_answer=0.9)
    assert grade("no", Fraction(1), rewards=mild).reward == -1
    assert grade(RIGHT, Fraction(1), rewards=mild).reward == 0.9
    with pytest.raises(ValidationError, match="must fall"):
        Rewards(invalid_trace=0.8)
