"""A commented gold is the trace with reasons: where they stand, what they may hold, and whose words they are."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_trace.language.comments import LONGEST_COMMENT, PROSE, is_comment
from mlx_trace.language.solver import Solved, solve
from mlx_trace.language.syntax import Part, Trace, parse_document, render
from mlx_trace.problems.as_told import as_told
from mlx_trace.problems.comments import _told, commented
from mlx_trace.problems.compile.result_names import says_nothing
from mlx_trace.problems.forms import in_form
from mlx_trace.problems.problem import Problem, read_problems, read_row, write_problems
from mlx_trace.problems.variants.tell import variants
from tests.language.traces import running_parts, traces
from tests.problems.test_forms import ROWS, compiled, problems, read, results

SAYING = re.compile(rf"[A-Za-z][{re.escape(PROSE)}]*")


def comments(text: str | None) -> list[str]:
    return [line.strip().removeprefix("# ") for line in (text or "").split("\n") if is_comment(line)]


def answered(trace: Trace) -> Fraction | None:
    outcome = solve(trace)
    return outcome.answer if isinstance(outcome, Solved) else None


def check(text: str) -> None:
    """Check that comments stand where a computation begins, and hold what they may."""
    lines = text.split("\n")
    for before, line, after in zip(lines, lines[1:], [*lines[2:], ""], strict=False):
        begins = not re.search(r"op: init|# |expert:", before) and re.search(r"- \{op: (?!query)", line)
        assert not begins, f"without reasons: {line}"
        if is_comment(line):
            assert re.search("trace:|op: (?!init)", before) and re.search("op: (?!query)", after)
            assert line[: len(line) - len(line.lstrip())] == ("" if text.startswith("expert") else "  ")
    for comment in comments(text):
        assert SAYING.fullmatch(comment) and len(comment) <= LONGEST_COMMENT and comment == comment.strip()


def test_reasons_stand_before_each_computation_and_change_nothing() -> None:
    for problem in problems():
        text = in_form(problem, "commented") or ""
        check(text)
        assert answered(read(text)) == answered(read(in_form(problem, "name_first")))
        if not problem.solution:  # else the steps are the solution's
            bare = "\n".join(line for line in text.split("\n") if not is_comment(line))
            assert bare == in_form(problem, "name_first")
        assert in_form(problem.model_copy(update={"trace": text}), "commented") == text, "twice is once"


@settings(max_examples=100, deadline=None)
@given(traces() | traces(running_parts()), st.text("ab =+-*/.,;:0123456789$%()#`{\né½", max_size=60))
def test_any_trace_can_be_commented_whatever_its_solution_says(trace: Trace, solution: str) -> None:
    if all(part.steps for part in trace.parts):
        text = commented(trace, solution)
        assert parse_document(text) == trace == parse_document(render(trace, "commented"))
        check(text)


EXPECTED = [
    ["Pia has 16-3=13 eggs", "so 13-4=9 eggs"],
    ["There are 28-13=15 girls", "They bring 15*4=60 pens"],
    ["The books cost 3*8=$24", "The lamps cost 2*15=$30", "The total is 24+30=$54"],
    ["The discount is 80*25/100=$20", "A coat costs 80-20=$60", "She pays 2*60=$120"],
    ["total shells is 12+5+6=23", "shells left is 23-2=21"],
    ["ida age is 9+7=16"],
    ["distance is 60*3=180"],
]


@pytest.mark.parametrize(("row", "expected"), list(zip(ROWS, EXPECTED, strict=True)))
def test_reasons_are_the_solutions_own_or_else_the_steps(row: tuple[str, str, int], expected: list[str]) -> None:
    assert comments(in_form(compiled(*row), "commented")) == expected


def test_what_a_solution_takes_in_several_steps_is_taken_in_several() -> None:
    question = "Ida is 2 feet taller than Ann. Ann is 5 feet tall, and Max is 3 feet tall. How tall are they together?"
    told = "Ida is 5+2=<<5+2=7>>7 feet tall.\nMax and Ann are 5+3=<<5+3=8>>8 feet tall.\nTogether it is 7+8=<<7+8=15>>15 feet."
    problem = compiled(question, told, 15)
    assert problem.trace and problem.trace.count("compute,") == 1, "a sum of sums is one"
    text = in_form(problem, "commented") or ""
    assert comments(text) == ["Ida is 5+2=7 feet tall", "Max and Ann are 5+3=8 feet tall", "Together it is 7+8=15 feet"]
    (names,) = results(read(text))
    assert len({*names}) == 3 and not any(map(says_nothing, names)), names
    assert read(in_form(problem.model_copy(update={"trace": text}), "commented")) == read(text), "twice is once"


@settings(max_examples=100, deadline=None)
@given(running_parts(), st.lists(st.integers(-9, 30), max_size=5))
def test_steps_as_told_give_the_same_answer(part: Part, told: list[int]) -> None:
    joined = tuple(replace(step, args=(*step.args, *step.args[:1])) if getattr(step, "compute_op", "") in ("add", "mul") else step
                   for step in part.steps)  # fmt: skip
    part = replace(part, steps=joined)
    made = as_told(part, "\n".join(f"so many = {value}" for value in told))
    assert answered(Trace((made,))) == answered(Trace((part,)))
    assert len(made.steps) - len(part.steps) <= len(told)


SAID = {
    "1. Half of the café’s caps: 12 x ½ = 6!": [(6, "Half of the cafe's caps: 12*1/2=6")],
    "He earns $1,200 – $200 = $<<1200-200=1000>>1,000.": [(1000, "He earns $1,200-$200=$1000")],
    "Mr. Roe sells 2*3 = 6 cups and 6/2 = 3 jugs.": [(6, "Mr. Roe sells 2*3=6 cups"), (3, "so 6/2=3 jugs")],
    "So 2 + 2 = 2 * 2 = 4 hats": [(4, "So 2+2=2*2=4 hats")],
    "3 + 4 = 7": [], "x = 3": [], "There is no result here.": [],
    f"{'word ' * 30}and so it is 3 * 5 = 15 pears in the {'end ' * 9}":
        [(15, f"{'word ' * 7}and so it is 3*5=15 pears in the end")],
}  # fmt: skip


@pytest.mark.parametrize("solution", SAID)
def test_a_sentence_is_cleaned_cut_and_known_by_its_result(solution: str) -> None:
    assert [(said.value, said.sentence) for said in _told(solution)] == SAID[solution]


def test_a_step_speaks_for_itself_where_no_solution_says_more() -> None:
    text = (
        "expert: percentage\ntrace:\n- {op: init, var: price, value: 80}\n- {op: init, var: rate, value: 20}\n"
        "- {op: percent_off, base: price, rate: rate, var: sale_price}\n"
        "- {op: percent_of, base: sale_price, rate: rate, var: tip}\n- {op: query, var: tip}"
    )
    problem = Problem(id="1", question="A coat costs $80. How much is the tip?", answer="12.8", trace=text)
    assert comments(in_form(problem, "commented")) == [
        "sale price is 80-20%=64", "tip is 20% of 64=12.8",
    ]  # fmt: skip
    moved = "expert: entity_track\ntrace:\n- {op: init, var: ann.eggs, value: 8}\n- {op: transfer, from: ann.eggs, to: bob.eggs, amount: 3}\n- {op: consume, entity: ann.eggs, amount: 1}\n- {op: query, var: ann.eggs}"
    problem = Problem(id="1", question="How many eggs are left?", answer="4", trace=moved, expert="entity_track")
    assert comments(in_form(problem, "commented")) == ["ann eggs is 8-3=5, bob eggs is 0+3=3", "ann eggs is 5-1=4"]


def test_a_solution_survives_a_file_and_no_change_of_its_numbers(tmp_path: Path) -> None:
    made = [compiled(*row) for row in ROWS]
    assert made[0].solution == ROWS[0][1]
    write_problems(tmp_path / "a.jsonl", made)
    assert read_problems(tmp_path / "a.jsonl", read_row) == made
    again = variants(made[2], 3)
    assert again and not any(problem.solution for problem in again)
