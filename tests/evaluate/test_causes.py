"""A wrong reply has one cause: which one change of the gold trace makes it, or what the question's numbers say."""

from typing import Final

import pytest

from mlx_trace.evaluate.causes import Cause, cause_of
from mlx_trace.evaluate.computation import computation
from mlx_trace.language.syntax import Trace, parse

QUESTION: Final = (
    "Ann has 20 eggs, Bob has 3 times as many as Ann, and 10% of Bob's are broken. They pack Bob's whole eggs and all "
    "of Ann's in boxes of 6. How many boxes is that?"
)
HEAD: Final = "expert: percentage\ntrace:\n"
GIVEN: Final = {"ann": "20", "times": "3", "percent": "10", "each": "6"}
STEPS: Final = (
    "bob := mul ann times", "whole := percent_off bob percent", "all := add whole ann", "boxes := div all each"
)  # fmt: skip


def told(*steps: str, query: str = "boxes", **given: str) -> str:
    lines = [f"- {{op: init, var: {name}, value: {value}}}" for name, value in (GIVEN | given).items()]
    for step in steps:
        var, _, op, *args = step.split()
        keys = (f"base: {args[0]}, rate: {args[1]}" if op.startswith("percent")
                else f"compute_op: {op}, args: [{', '.join(args)}]")  # fmt: skip
        lines.append(f"- {{op: {op if op.startswith('percent') else 'compute'}, {keys}, var: {var}}}")
    return HEAD + "\n".join([*lines, f"- {{op: query, var: {query}}}"])


GOLD: Final = told(*STEPS)


def changed(step: int, other: str) -> str:
    return told(*STEPS[:step], other, *STEPS[step + 1 :])


REPLIES: Final[dict[str, tuple[str, Cause]]] = {
    "no trace": ("I think 12", "not parsed"),
    "an expert that has no such op": (GOLD.replace("percentage", "arithmetic"), "wrong expert"),
    "a name from nowhere": (changed(0, "bob := mul ann nobody"), "invalid trace"),
    "a number from nowhere": (told(*STEPS, ann="25"), "value not in the question"),
    "another of its numbers": (told(*STEPS, ann="6"), "other value"),
    "what is left of a percentage": (told(*STEPS, percent="90"), "percent or fraction"),
    "the percentage for what is left": (changed(1, "whole := percent_of bob percent"), "percent or fraction"),
    "a third for three times": (changed(0, "bob := div ann times"), "relation reversed"),
    "a sum for a share": (changed(3, "boxes := add all each"), "wrong operation"),
    "a share the wrong way round": (changed(3, "boxes := div each all"), "wrong wiring"),
    "numbers that change places": (told(*STEPS, times="6", each="3"), "wrong wiring"),
    "no last step": (told(*STEPS[:3], query="all"), "missing final step"),
    "no first step": (told("whole := percent_off ann percent", *STEPS[2:]), "missing steps"),
    "none but two": (told(*STEPS[:1], query="bob"), "missing steps"),
    "one step more": (told(*STEPS, "more := mul boxes times", query="more"), "extra steps"),
    "one step more on the way": (
        told(*STEPS[:3], "more := add all times", "boxes := div more each"), "extra steps"
    ),
    "two operations": (
        told("bob := div ann times", *STEPS[1:3], "boxes := mul all each"), "wrong operation"
    ),
    "two operations, and others' order": (
        told(*STEPS[:2], "fewer := sub whole ann", "more := sub each fewer", query="more"), "wrong operation"
    ),
    "a number for another that is there, too": (
        told("bob := mul ann ann", *STEPS[1:3], query="all"), "missing steps"
    ),
    "the same numbers more often": (
        told(*STEPS[:3], "more := mul all all", "boxes := div more each"), "extra steps"
    ),
    "two changes, and half of a number by two": (
        told("bob := div ann parts", "boxes := sub bob each", parts="1/3"), "missing steps"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REPLIES)
def test_a_wrong_reply_has_one_cause(name: str) -> None:
    text, cause = REPLIES[name]
    assert cause_of(text, QUESTION, GOLD) == cause


def test_so_many_times_a_week_relates_nothing() -> None:
    question = "Ann eats 6 eggs at a time, 3 times a week. How many eggs is that?"
    gold = told("eggs := mul each times", query="eggs")
    assert cause_of(told("eggs := div each times", query="eggs"), question, gold) == "wrong operation"


def test_a_sign_of_a_sum_of_several_is_an_operation() -> None:
    gold = told("all := add ann times each", query="all")
    reply = told("some := add ann times", "left := sub some each", query="left")
    assert cause_of(reply, QUESTION, gold) == "wrong operation"


def test_what_a_percentage_is_added_to_is_increased_by_it() -> None:
    gold = told("more := percent_increase ann percent", query="more")
    assert cause_of(told("part := percent_of ann percent", "more := add ann part", "boxes := div more each"),
                    QUESTION, gold) == "extra steps"  # fmt: skip
    assert cause_of(told("part := percent_of ann percent", "less := sub ann part", query="less"),
                    QUESTION, gold) == "percent or fraction"  # fmt: skip


def test_a_reply_that_was_cut_off_is_truncated() -> None:
    assert cause_of(GOLD[:-40], QUESTION, GOLD, truncated=True) == "truncated"
    assert cause_of(GOLD[:-40], QUESTION, GOLD) != "truncated"
    assert cause_of(REPLIES["one step more"][0], QUESTION, GOLD, truncated=True) == "extra steps"


def test_an_expected_expert_is_to_be_named() -> None:
    assert cause_of(REPLIES["one step more"][0], QUESTION, GOLD, expert="comparison") == "wrong expert"
    assert cause_of(REPLIES["one step more"][0], QUESTION, GOLD, expert="percentage") == "extra steps"


def test_without_a_gold_trace_the_question_s_numbers_tell() -> None:
    assert cause_of(told(*STEPS, ann="25"), QUESTION, None) == "value not in the question"
    assert cause_of(told(*STEPS[:1], query="bob"), QUESTION, None) == "missing steps"
    assert cause_of(changed(3, "boxes := add all each"), QUESTION, None) == "wrong wiring"


def test_what_doubles_sixty_times_has_a_cause_soon() -> None:
    steps = ["a0 := add ann ann", *(f"a{k + 1} := add a{k} a{k}" for k in range(50))]
    text = told(*steps, query="a50")
    trace = parse(text)
    assert isinstance(trace, Trace) and computation(trace).size > 2**50
    assert cause_of(text, QUESTION, GOLD) == "extra steps"
    assert cause_of(GOLD, QUESTION, text) == "missing steps"


def test_the_usual_form_has_no_order_and_no_brackets() -> None:
    def usual(*steps: str) -> object:
        trace = parse(told(*steps))
        assert isinstance(trace, Trace)
        return computation(trace).usual

    assert usual("x := add ann times", "boxes := add x each") == usual("boxes := add each times ann")
    assert usual("x := sub ann times", "boxes := sub x each") == usual("x := add each times", "boxes := sub ann x")
    assert usual("x := div ann times", "boxes := div x each") == usual("x := mul each times", "boxes := div ann x")
    assert usual("boxes := sub ann each") != usual("boxes := sub each ann")
