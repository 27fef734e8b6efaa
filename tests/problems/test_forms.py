"""A gold in another form says the same: every source's, with names that are new, legal and say something."""

import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings

from mlx_trace.language.solver import Failed, Solved, solve
from mlx_trace.language.steps import LONGEST_NAME, Compute, Init, Percent, Query
from mlx_trace.language.syntax import Trace, parse_document, render
from mlx_trace.problems.compile.compiler import Compiled, compile_row
from mlx_trace.problems.compile.result_names import RESERVED
from mlx_trace.problems.fields import Fields
from mlx_trace.problems.forms import in_form
from mlx_trace.problems.one_part import operands
from mlx_trace.problems.problem import Problem, read_problems, read_row, write_problems
from mlx_trace.problems.synthetic.generator import draw
from mlx_trace.problems.synthetic.schema import load_schemas
from tests.language.traces import running_parts, traces

ROWS = [  # question, worked solution, answer: own ones
    ("Pia has 16 eggs. She eats 3 of them and gives 4 to a neighbour. How many eggs are left?",
     "Pia has 16 - 3 = <<16-3=13>>13 eggs, then 13 - 4 = <<13-4=9>>9 eggs.", 9),
    ("A class has 28 students. 13 of them are boys. Each girl brings 4 pens. How many pens do the girls bring?",
     "There are 28-13=<<28-13=15>>15 girls.\nThey bring 15*4=<<15*4=60>>60 pens.", 60),
    ("Omar buys 3 books for $8 each and 2 lamps for $15 each. How much does he pay in total?",
     "The books cost 3*8=$<<3*8=24>>24.\nThe lamps cost 2*15=$<<2*15=30>>30.\nThe total is 24+30=$<<24+30=54>>54.", 54),
    ("A coat costs $80. It is sold for 25% less. How much does Lena pay for 2 coats?",
     "The discount is 80*25/100=$<<80*25/100=20>>20.\nA coat costs 80-20=$<<80-20=60>>60.\nShe pays 2*60=$<<2*60=120>>120.",
     120),
    ("Ben had 12 shells. He found 5, then found 6 more and lost 2. How many shells does he have now?",
     "12 + 5 + 6 - 2 = 21", 21),
    ("Ida is 7 years older than Max, who is 9. How old is Ida?", "9 + 7 = 16", 16),
    ("A train runs 60 miles per hour for 3 hours. How far does it go?", "60 * 3 = 180", 180),
]  # fmt: skip


@cache
def problems() -> tuple[Problem, ...]:
    """Return problems of every schema, and compiled ones."""
    drawn = [draw(schema, 17, number) for schema in load_schemas().values() for number in range(2)]
    return (*drawn, *(compiled(*row) for row in ROWS))


def compiled(question: str, solution: str, answer: int) -> Problem:
    outcome = compile_row({"question": question, "answer": f"{solution}\n#### {answer}"}, "row:1")
    assert isinstance(outcome, Compiled), outcome
    return outcome.problem


def read(text: str | None) -> Trace:
    trace = parse_document(text or "")
    assert isinstance(trace, Trace)
    return trace


def results(trace: Trace) -> list[list[str]]:
    return [[step.var for step in part.steps if isinstance(step, Compute | Percent)] for part in trace.parts]


def test_every_gold_solves_to_its_answer_in_either_form() -> None:
    for problem in problems():
        assert in_form(problem, "operation_first") is problem.trace
        outcome = solve(read(in_form(problem, "name_first")))
        assert isinstance(outcome, Solved) and outcome.answer == problem.expected, problem


def test_text_of_a_form_is_canonical_in_it() -> None:
    for problem in problems():
        text = in_form(problem, "name_first") or ""
        assert render(read(text), "name_first") == text
        assert "compute_op" not in text or re.search(r"op: compute, var: \S+, compute_op: \w+, args: \[", text)
        assert not re.search(r"\], var:|op: percent_\w+, base", text)
        assert in_form(problem.model_copy(update={"trace": text}), "name_first") == text, "twice is once"


def test_results_have_names_of_their_own_that_say_something() -> None:
    for problem in problems():
        for names in results(read(in_form(problem, "name_first"))):
            assert len(set(names)) == len(names)
            for name in names:
                assert not RESERVED.fullmatch(name) and len(name) <= LONGEST_NAME
                assert re.fullmatch(r"[a-z][a-z0-9_.]*", name)


def test_names_are_the_same_every_time() -> None:
    for problem in problems():
        assert in_form(problem, "name_first") == in_form(problem.model_copy(), "name_first")


@settings(max_examples=150, deadline=None)
@given(traces(running_parts()))
def test_any_trace_that_runs_gives_the_same_under_other_names(trace: Trace) -> None:
    outcome = solve(trace)
    if isinstance(outcome, Failed):
        return
    problem = Problem(id="1", question="Ann has 5 eggs. How many are left?", answer="1", trace=render(trace))
    for expert in (None, trace.parts[0].expert):
        again = solve(read(in_form(problem.model_copy(update={"expert": expert}), "name_first")))
        assert isinstance(again, Solved) and again.answer == outcome.answer


EXPECTED = [
    "expert: arithmetic | var: eggs_after_eats | var: eggs_left",
    "expert: arithmetic | var: girls | var: pens",
    "expert: arithmetic | var: books_cost | var: lamps_cost | var: total_cost",
]


@pytest.mark.parametrize(("row", "expected"), list(zip(ROWS[:3], EXPECTED, strict=True)))
def test_names_come_from_question_and_solution(row: tuple[str, str, int], expected: str) -> None:
    trace = read(in_form(compiled(*row), "name_first"))
    shown = [f"expert: {trace.parts[0].expert}", *(f"var: {name}" for name in results(trace)[0])]
    assert " | ".join(shown) == expected


def test_what_several_experts_could_say_is_arithmetic() -> None:
    for row in ROWS[4:]:
        problem = compiled(*row)
        assert problem.gold_expert != "arithmetic", "or there would be nothing to show"
        assert read(in_form(problem, "name_first")).parts[0].expert == "arithmetic"


def test_gains_and_losses_are_sums_and_differences() -> None:
    assert in_form(compiled(*ROWS[4]), "name_first") == (
        "expert: arithmetic\ntrace:\n- {op: init, var: shells, value: 12}\n- {op: init, var: shells_found, value: 5}\n"
        "- {op: init, var: shells_more, value: 6}\n"
        "- {op: compute, var: total_shells, compute_op: add, args: [shells, shells_found, shells_more]}\n"
        "- {op: init, var: shells_lost, value: 2}\n"
        "- {op: compute, var: shells_left, compute_op: sub, args: [total_shells, shells_lost]}\n"
        "- {op: query, var: shells_left}"
    )


def test_an_expert_that_is_expected_stays_and_so_do_transfers() -> None:
    for problem in problems():
        if problem.expert is not None or "op: transfer" in (problem.trace or ""):
            experts = [part.expert for part in read(problem.trace).parts]
            assert [part.expert for part in read(in_form(problem, "name_first")).parts] == experts


def test_what_a_solution_calls_its_results_survives_a_file(tmp_path: Path) -> None:
    made = [compiled(*row) for row in ROWS]
    assert any(problem.results for problem in made)
    write_problems(tmp_path / "a.jsonl", made)
    assert read_problems(tmp_path / "a.jsonl", read_row) == made
    foreign = {"question": "How many?", "answer": "4", "results": [1, 2]}
    assert "results" not in Fields().read(foreign), "which may mean anything elsewhere"


def test_names_of_ones_own_stay() -> None:
    text = "expert: arithmetic\ntrace:\n- {op: init, var: a, value: 2}\n- {op: compute, compute_op: add, args: [a, a], var: twofold}\n- {op: query, var: twofold}"
    problem = Problem(id="1", question="Twice 2, how many eggs is it?", answer="4", trace=text)
    assert results(read(in_form(problem, "name_first"))) == [["twofold"]]


def test_arithmetic_and_percentages_of_several_parts_are_one() -> None:
    schemas = [schema for schema in load_schemas().values() if schema.expert == "composition"]
    assert len(schemas) > 10
    for schema in schemas:
        trace = read(in_form(draw(schema, 3, 0), "name_first"))
        assert len(trace.parts) == 1 and trace.parts[0].expert in ("arithmetic", "percentage"), schema.id


def test_parts_are_joined_by_what_later_ones_call_an_answer() -> None:
    text = (
        "- expert: percentage\n  trace:\n  - {op: init, var: price, value: 80}\n  - {op: init, var: rate, value: 25}\n"
        "  - {op: percent_off, base: price, rate: rate, var: result}\n  - {op: query, var: result}\n"
        "- expert: arithmetic\n  trace:\n  - {op: init, var: cost, value: 80}\n  - {op: init, var: rate, value: 3}\n"
        "  - {op: init, var: sale, source: prev.result}\n"
        "  - {op: compute, compute_op: sub, args: [cost, sale], var: step1}\n"
        "  - {op: compute, compute_op: mul, args: [step1, rate], var: result}\n  - {op: query, var: result}"
    )
    question = "A lamp of $80 is 25% off. How much do people save who buy 3 lamps?"
    problem = Problem(id="1", question=question, answer="60", trace=text)
    assert in_form(problem, "name_first") == (
        "expert: percentage\ntrace:\n- {op: init, var: price, value: 80}\n- {op: init, var: lamp_percent, value: 25}\n"
        "- {op: percent_off, var: sale, base: price, rate: lamp_percent}\n"
        "- {op: compute, var: money_left, compute_op: sub, args: [price, sale]}\n- {op: init, var: lamps, value: 3}\n"
        "- {op: compute, var: savings, compute_op: mul, args: [money_left, lamps]}\n"
        "- {op: query, var: savings}"
    )
    kept = problem.model_copy(update={"expert": "composition"})
    assert len(read(in_form(kept, "name_first")).parts) == 2, "an expectation is kept"


def test_equal_numbers_that_are_stated_apart_stay_apart_in_one_part() -> None:
    part = (
        "- expert: percentage\n  trace:\n  - {{op: init, var: whole, value: {whole}}}\n"
        "  - {{op: init, var: rate, value: 10}}\n  - {{op: percent_of, base: whole, rate: rate, var: {name}}}\n"
        "  - {{op: query, var: {name}}}\n"
    )
    last = (
        "- expert: arithmetic\n  trace:\n  - {op: init, var: north, source: sub0.result}\n"
        "  - {op: init, var: south, source: prev.result}\n"
        "  - {op: compute, compute_op: sub, args: [north, south], var: more}\n  - {op: query, var: more}"
    )
    text = part.format(whole=250, name="one") + part.format(whole=150, name="other") + last
    question = "10% of 250 people in the north and 10% of 150 in the south swim. How many more is that in the north?"
    (made,) = read(in_form(Problem(id="1", question=question, answer="10", trace=text), "name_first")).parts
    assert [int(step.value) for step in made.steps if isinstance(step, Init)] == [250, 10, 150, 10]


def test_a_number_is_given_just_before_it_is_used() -> None:
    for problem in problems():
        for part in read(in_form(problem, "name_first")).parts:
            if any(not isinstance(step, Init | Compute | Percent | Query) for step in part.steps):
                continue
            last = {step.var: index for index, step in enumerate(part.steps) if isinstance(step, Init)}
            first = {name: index for index, step in reversed([*enumerate(part.steps)]) for name in operands(step)}
            for name, index in last.items():
                between = part.steps[index + 1 : first.get(name, index + 1)]
                assert all(isinstance(step, Init) for step in between), (problem.id, name)


def test_numbers_are_called_after_the_words_near_them_unless_their_names_say_something() -> None:
    text = (
        "expert: arithmetic\ntrace:\n- {op: init, var: rate, value: 4}\n- {op: init, var: bakes, value: 6}\n"
        "- {op: init, var: each, value: 3}\n"
        "- {op: compute, compute_op: mul, args: [rate, bakes, each], var: loaves}\n- {op: query, var: loaves}"
    )
    question = "4 bakers bake 6 times 3 loaves and sell 3. How many loaves have they baked?"
    steps = read(in_form(Problem(id="1", question=question, answer="72", trace=text), "name_first")).parts[0].steps
    names = [step.var for step in steps if isinstance(step, Init)]
    assert names == ["bakers", "bakes", "each"], "which of two threes is meant is not known"


def test_a_problem_without_a_trace_has_none_in_any_form() -> None:
    assert in_form(Problem(id="1", question="Why?", answer="4"), "name_first") is None
