"""Variants solve, stay of their kind, say what they compute in unharmed English, and differ from their source."""

import re
from fractions import Fraction
from typing import Any

import pytest

from mlx_trace.language.grade import grade
from mlx_trace.language.knowledge import CONSTANTS
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.solver import Entry, Solved, solve
from mlx_trace.language.syntax import NoTrace, parse_document
from mlx_trace.problems.audit import check_problem
from mlx_trace.problems.compile.compiler import Compiled, compile_row
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.skeleton import skeleton
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas
from mlx_trace.problems.variants.retell import new_names, rename, rename_variables
from mlx_trace.problems.variants.slots import find_slots
from mlx_trace.problems.variants.tell import take_apart, variants
from mlx_trace.seeds import stream
from tests.problems.rows import ROWS


def compiled() -> list[Problem]:
    outcomes = [
        compile_row({"question": question, "answer": answer}, f"own:{at}") for at, (question, answer) in enumerate(ROWS)
    ]
    assert all(isinstance(outcome, Compiled) and outcome.grounded for outcome in outcomes)
    return [outcome.problem for outcome in outcomes if isinstance(outcome, Compiled)]


def told(question: str, *steps: str, expert: str = "arithmetic", answer: str | None = None) -> Problem:
    """Return a problem of a question and the steps of its trace; the answer is what they give."""
    trace = "\n".join([f"expert: {expert}", "trace:", *(f"- {{op: {step}}}" for step in steps)])
    parsed = parse_document(trace)
    assert not isinstance(parsed, NoTrace)
    outcome = solve(parsed)
    assert isinstance(outcome, Solved)
    return Problem(id="own", question=question, answer=answer or str(outcome.answer), trace=trace)


def product(question: str, first: int, second: int) -> Problem:
    return told(question, f"init, var: a, value: {first}", f"init, var: b, value: {second}",
                "compute, compute_op: mul, args: [a, b], var: result", "query, var: result")  # fmt: skip


def computed(problem: Problem) -> list[Fraction]:
    """Return every value the trace computes."""
    trace = parse_document(problem.trace or "")
    assert not isinstance(trace, NoTrace)
    ledger: list[Entry] = []
    assert isinstance(solve(trace, ledger), Solved)
    return [value for entry in ledger for value in entry.changed.values()]


@pytest.mark.parametrize("problem", compiled(), ids=lambda problem: problem.id)
def test_variants_solve_stay_whole_and_positive_and_differ(problem: Problem) -> None:
    found = variants(problem, 20)
    assert len(found) == 20
    assert len({variant.question for variant in found} | {problem.question}) == 21
    assert len({tuple(m.value for m in find_numbers(variant.question)) for variant in found}) == 20
    for variant in found:
        assert grade(variant.trace or "", variant.expected).kind == "correct"
        assert not list(check_problem(variant, CONSTANTS, unused_allowed=0))
        values = computed(variant)
        assert len(values) == len(computed(problem))
        assert all(new > 0 for new in values)
        assert all(
            new.denominator == 1 for old, new in zip(computed(problem), values, strict=True) if old.denominator == 1
        )
        assert skeleton(variant.question) == skeleton(problem.question)
        assert variant.source == f"{problem.source}~{variant.id.partition('~')[2]}"


def test_variants_of_every_kind_of_synthetic_trace_solve() -> None:
    told_again = [variant for problem in generate_balanced(list(load_schemas().values()), 200, seed=4)
                  for variant in variants(problem, 3)]  # fmt: skip
    assert len(told_again) > 400
    for variant in told_again:
        assert grade(variant.trace or "", variant.expected, variant.expert).reward == 1.0


def test_same_seed_same_variants_and_fewer_are_the_first_of_more() -> None:
    problem = compiled()[0]
    assert variants(problem, 12, seed=3) == variants(problem, 12, seed=3)
    assert variants(problem, 5, seed=3) == variants(problem, 12, seed=3)[:5]
    assert variants(problem, 12, seed=4) != variants(problem, 12, seed=3)


@pytest.mark.parametrize(
    ("question", "first", "second", "kept"),
    [
        ("In 1998 a club had 6 teams of 14. How many players had it?", 6, 14, "1998"),
        ("A bus leaves at 9:30 and makes 6 trips with 14 people. How many people ride?", 6, 14, "9:30"),
        ("On May 25 a shop sells 6 boxes of 14 pens. How many pens are sold?", 6, 14, "May 25"),
        ("Ann, Bob and Zed, three friends, plant 6 rows of 14 trees. How many trees?", 6, 14, "three friends"),
        ("A 4th grade has 6 classes with 14 pupils. How many pupils?", 6, 14, "4th"),
        ("Half of the 6 carts carry 14 bags, and so do the others. How many bags?", 6, 14, "Half"),
    ],
)  # fmt: skip
def test_dates_times_ordinals_counts_of_names_and_fractions_stay(
    question: str, first: int, second: int, kept: str
) -> None:
    found = variants(product(question, first, second), 10)
    assert len(found) == 10
    assert all(kept in variant.question for variant in found)


@pytest.mark.parametrize(
    "question", ["Ann has 5 $10 bills. How much is that?", "A farm has 5 dogs with 10 legs. How many?"]
)
def test_denominations_and_facts_of_nature_stay(question: str) -> None:
    found = variants(product(question, 5, 10), 5)
    assert found
    assert all(re.search(r"\$10 bills|10 legs", variant.question) for variant in found)


def test_equal_numbers_change_together() -> None:
    problem = product("Each of 6 crates holds 6 jars. How many jars are there?", 6, 6)
    for variant in variants(problem, 5):
        first, second = re.findall(r"[0-9]+", variant.question)
        assert first == second
        assert Fraction(variant.answer or 0) == Fraction(first) ** 2


def test_an_everyday_constant_is_not_taken_for_the_questions_own_number() -> None:
    week = told("Zoe runs 6 miles a day and swims for 7 minutes. How many miles does she run in a week?",
                "init, var: miles, value: 6", "init, var: days_per_week, value: 7",
                "compute, compute_op: mul, args: [miles, days_per_week], var: result", "query, var: result")  # fmt: skip
    assert all("7 minutes" in variant.question for variant in variants(week, 5))


def test_the_first_five_of_twenty_rounds_stay_fewer_than_all() -> None:
    problem = told("A match has 20 rounds. In the first 5 rounds Leo scores 4 points each. If he scores 4 in every other round "
                   "too, what has he in the end?", "init, var: rounds, value: 20", "init, var: points, value: 4",
                   "compute, compute_op: mul, args: [rounds, points], var: result", "query, var: result")  # fmt: skip
    found = variants(problem, 20)
    assert len(found) == 20
    assert all(int(re.findall(r"[0-9]+", variant.question)[0]) > 5 for variant in found)


def test_articles_commas_cents_words_and_percent_signs_keep_their_manner() -> None:
    problem = told("An 8-pound box costs $2.50 a pound, and a bag $1,200 in all; twelve more ship. How much?",
                   "init, var: pounds, value: 8", "init, var: price, value: 2.5", "init, var: bag, value: 1200",
                   "init, var: more, value: 12", "compute, compute_op: mul, args: [pounds, price], var: step1",
                   "compute, compute_op: add, args: [step1, bag, more], var: result", "query, var: result")  # fmt: skip
    found = variants(problem, 30)
    assert len(found) == 30
    for variant in found:
        article, pounds = re.findall(r"\b([Aa]n?) ([0-9]+)-pound box", variant.question)[0]
        assert (article == "An") == (pounds.startswith("8") or pounds in ("11", "18"))
        assert re.search(r"\$[0-9]+\.[0-9]{2} a pound", variant.question)
        assert re.search(r"\$(?:[0-9]{3}|[0-9],[0-9]{3}) in all", variant.question)
        assert re.search(r"; [a-z-]+ more ship", variant.question)


def test_people_are_renamed_everywhere_and_in_the_trace() -> None:
    question = "Nina has 4 dogs. Nina's brother Omar has 5, and ninanina is no name. How many dogs have Nina and Omar?"
    names = new_names(question, stream("test"))
    assert set(names) == {"Nina", "Omar"}
    renamed = rename(question, names)
    assert not re.search(r"\b(?:Nina|Omar)\b", renamed)
    assert renamed.count(names["Nina"]) == 3
    assert (
        rename_variables("nina.dogs, dogs_omar, domar", {"Nina": "Uma", "Omar": "Raul"}) == "uma.dogs, dogs_raul, domar"
    )


@pytest.mark.parametrize(
    "question",
    [
        "Nina Smith has 4 dogs.",
        "Mr. Omar has 4 dogs.",
        "Call it N: Nina has N dogs, 4.",
        "The Ninas of 4 towns meet Nina.",
    ],
)
def test_names_we_are_not_sure_of_stay(question: str) -> None:
    assert new_names(question, stream("test")) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"trace": None},
        {"trace": "not a trace"},
        {"answer": "7"},
        {"trace": "expert: arithmetic\ntrace:\n- {op: init, var: a, value: 3}\n- {op: query, var: a}"},
    ],
)
def test_what_cannot_be_told_again_gives_nothing(change: dict[str, Any]) -> None:
    problem = compiled()[0].model_copy(update=change)
    assert take_apart(problem) is None
    assert variants(problem, 5) == []


def test_a_number_whose_source_is_unsure_has_no_slot() -> None:
    problem = product("Half of a dozen trucks carry 6 crates each. How many crates?", 6, 6)
    trace = parse_document(problem.trace or "")
    assert not isinstance(trace, NoTrace)
    assert list(find_slots(problem.question, trace)) == []
