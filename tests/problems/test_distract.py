"""A fact that does not matter leaves a problem's trace and its numbers alone, and stands where it may stand."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_trace.config_sources import CompiledSource, SyntheticSource
from mlx_trace.language.knowledge import known_numbers
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.syntax import Trace, parse
from mlx_trace.problems.audit import check_problem, trace_values
from mlx_trace.problems.distract import distract, share_distracted, telling_sentences
from mlx_trace.problems.english import lint
from mlx_trace.problems.mixture import mix
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.sentences import sentences_of
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas

DRAWN = generate_balanced(select_schemas([], load_schemas()), 250, 11)
POOL = telling_sentences(problem.question for problem in DRAWN)


def values(problem: Problem) -> set[object]:
    trace = parse(problem.trace or "")
    assert isinstance(trace, Trace)
    return set(trace_values(trace))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(DRAWN), st.integers(0, 1000), st.booleans())
def test_one_number_is_added_that_nothing_uses(problem: Problem, seed: int, alone: bool) -> None:
    told = distract(problem, seed, () if alone else POOL)
    if told is None:
        return
    assert (told.trace, told.answer) == (problem.trace, problem.answer)
    old, new = find_numbers(problem.question), find_numbers(told.question)
    added = [mention.readings for mention in new]
    for mention in old:
        added.remove(mention.readings)
    ((*readings,),) = added
    assert values(told).isdisjoint(readings)
    assert not any(set(mention.readings) & set(readings) for mention in old)
    known = known_numbers(problem.question)
    before = set(check_problem(problem, known, len(old)))
    assert set(check_problem(told, known, len(new))) == before
    (fact,) = set(sentences_of(told.question)) - set(sentences_of(problem.question))
    assert not list(lint(fact, {}))
    asked = next(at for at, sentence in enumerate(sentences_of(told.question)) if "?" in sentence or fact == sentence)
    assert fact in sentences_of(told.question)[: asked + 1]  # never behind the question


def test_most_problems_take_a_fact_and_the_same_seed_the_same() -> None:
    told = [distract(problem, 3, POOL) for problem in DRAWN]
    assert sum(problem is not None for problem in told) > 0.8 * len(DRAWN)
    assert told == [distract(problem, 3, POOL) for problem in DRAWN]
    kinds = {problem.question for problem in told if problem} - {problem.question for problem in DRAWN}
    assert len(kinds) > 0.8 * len(DRAWN)


def test_what_points_back_keeps_what_it_points_to() -> None:
    question = "Ida has 7 pens and finds 5 more. She gives 2 of them away. How many pens does she have left?"
    trace = ("expert: entity_track\ntrace:\n- {op: init, var: pens, value: 7}\n- {op: add_entity, entity: pens, amount: 5}\n"
             "- {op: consume, entity: pens, amount: 2}\n- {op: query, var: pens}")  # fmt: skip
    problem = Problem(id="a", question=question, answer="10", trace=trace)
    for seed in range(60):
        told = distract(problem, seed)
        assert told is not None
        sentences = sentences_of(told.question)
        (fact,) = set(sentences) - set(sentences_of(question))
        assert sentences[0] == fact or fact.startswith("Ida")


def test_a_question_of_all_takes_nothing_of_somebody_else() -> None:
    trace = ("expert: arithmetic\ntrace:\n- {op: init, var: pens, value: 7}\n- {op: init, var: cups, value: 5}\n"
             "- {op: compute, compute_op: add, args: [pens, cups], var: things}\n- {op: query, var: things}")  # fmt: skip
    question = "Ida has 7 pens and Ben has 5 cups. How many things do they have altogether?"
    problem = Problem(id="a", question=question, answer="12", trace=trace)
    for seed in range(60):
        told = distract(problem, seed, ["Vera has 9 owls."])
        assert told is None or not any(word in told.question for word in ("Vera", "next door", "shelf", "drawer"))


def test_a_source_has_about_the_share_that_it_was_given(tmp_path: Path) -> None:
    told = share_distracted(DRAWN, 0.33, 5)
    changed = sum(problem.source.endswith("+fact") for problem in told)
    assert 0.2 < changed / len(DRAWN) < 0.42
    assert share_distracted(DRAWN, 0, 5) == DRAWN
    mixture = mix([SyntheticSource(source="synthetic", n=40, distractors=1)], 1)
    assert sum(problem.source.endswith("+fact") for problem in mixture.problems) > 30
    rows = tmp_path / "rows.jsonl"
    row = {"question": "Ida packs 6 crates with 24 jars in each crate. How many jars are packed?", "equation": "6 * 24",
           "answer": "144"}  # fmt: skip
    rows.write_text(json.dumps(row), encoding="utf-8")
    (problem,) = mix([CompiledSource(source="compiled", file=rows, distractors=1)], 1).problems
    assert problem.question != row["question"]
    assert problem.answer == "144"


@pytest.mark.parametrize("trace", [None, "expert: arithmetic", "expert: arithmetic\ntrace:\n- {op: query, var: x}"])
def test_a_problem_without_a_trace_that_solves_takes_none(trace: str | None) -> None:
    assert distract(Problem(id="a", question="Ida has 7 pens?", answer="7", trace=trace), 1) is None
