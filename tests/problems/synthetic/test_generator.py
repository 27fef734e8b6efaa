"""Generation is exact, unique, reproducible, and never shows training what evaluation will ask."""

import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from mlx_trace.errors import UserError
from mlx_trace.language.grade import grade
from mlx_trace.problems.synthetic import generator
from mlx_trace.problems.synthetic.generator import (
    SHARES,
    Options,
    apportion,
    count_by_schema,
    draw,
    generate,
    generate_balanced,
    is_held_out,
)
from mlx_trace.problems.synthetic.schema import load_schemas
from tests.problems.synthetic.test_schema import GOOD, changed, folder

SCHEMAS = list(load_schemas().values())


def test_every_gold_trace_earns_the_full_reward() -> None:
    for problem in generate_balanced(SCHEMAS, 400, seed=3):
        assert grade(problem.trace or "", problem.expected, problem.expert).reward == 1.0


def test_same_seed_same_bytes_across_processes_and_hash_seeds(tmp_path: Path) -> None:
    outputs = []
    for hash_seed in ("0", "1"):
        path = tmp_path / f"{hash_seed}.jsonl"
        command = [sys.executable, "-m", "mlx_trace", "generate", "-n", "120", "--seed", "7", "-o", str(path)]
        subprocess.run(command, check=True, capture_output=True, env={"PYTHONHASHSEED": hash_seed, "PATH": ""})
        outputs.append(path.read_bytes())
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == 120


def test_a_draw_depends_on_seed_schema_and_number_alone() -> None:
    one = SCHEMAS[0]
    assert draw(one, 5, 9) == draw(one, 5, 9)
    assert len({draw(one, seed, k).question for seed in (1, 2) for k in range(20)}) > 30


@pytest.mark.parametrize("n", [1, 7, 250, 749])
def test_counts_are_exact_and_in_the_historical_shares(n: int) -> None:
    counts = count_by_schema(SCHEMAS, n)
    assert sum(counts.values()) == n
    by_expert: Counter[str] = Counter()
    for key, count in counts.items():
        by_expert[key.split("/")[0]] += count
    for expert, share in SHARES.items():
        assert abs(by_expert[expert] - n * share / 100) < len(SCHEMAS)
    if n == 749:
        assert all(counts.values())


def test_largest_remainder() -> None:
    assert apportion({"a": Fraction(1), "b": Fraction(1), "c": Fraction(1)}, 5) == {"a": 2, "b": 2, "c": 1}
    assert apportion({"a": Fraction(2), "b": Fraction(1)}, 0) == {"a": 0, "b": 0}


def test_no_question_repeats() -> None:
    problems = generate_balanced(SCHEMAS, 2000, seed=0)
    assert len({problem.question for problem in problems}) == len({problem.id for problem in problems}) == 2000


def test_training_and_evaluation_share_no_question_and_no_wording() -> None:
    train = generate_balanced(SCHEMAS, 1500, seed=0)
    synthetic = generate_balanced(SCHEMAS, 400, seed=1, options=Options(held_out=True))
    phrasing = generate_balanced(SCHEMAS, 400, seed=1, options=Options("eval"))
    assert not any(is_held_out(problem.question) for problem in train)
    assert all(is_held_out(problem.question) for problem in synthetic)
    questions = {problem.question for problem in train}
    assert not questions & {problem.question for problem in synthetic + phrasing}
    sources = {problem.source for problem in train + synthetic}
    assert not sources & {problem.source for problem in phrasing}
    assert all("#train." in source for source in sources)


def test_variety_is_a_dial() -> None:
    few = generate_balanced(SCHEMAS, 300, seed=0, options=Options(templates_per_schema=1))
    assert {problem.source.split("#")[1] for problem in few} == {"train.0"}
    digits = generate_balanced(SCHEMAS, 300, seed=0, options=Options(number_word_rate=0))
    words = generate_balanced(SCHEMAS, 300, seed=0, options=Options(number_word_rate=1))
    assert not any(" seven " in problem.question for problem in digits)
    assert any(" seven " in problem.question for problem in words)


def test_an_exhausted_family_says_how_many_questions_it_has(tmp_path: Path) -> None:
    small = changed(lambda s: s.update(quantities={"start": {"choices": [9]}, "given": {"choices": [2, 3]}}))
    (schema,) = load_schemas(folder(tmp_path, small)).values()
    with pytest.raises(UserError, match="different questions"):
        list(generate(schema, 0, Options(), set()))


@pytest.mark.parametrize("kept", [True, False])
def test_a_family_without_a_question_to_give_ends(monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    monkeypatch.setattr(generator, "is_held_out", lambda _: kept)
    with pytest.raises(UserError, match="0 different questions"):
        next(generate(SCHEMAS[0], 0, Options(held_out=not kept), set()))


def test_constraints_that_cannot_hold_are_an_error(tmp_path: Path) -> None:
    (schema,) = load_schemas(folder(tmp_path, changed(lambda s: s.update(where=["start < given"])))).values()
    with pytest.raises(UserError, match="satisfies its constraints"):
        draw(schema, 0, 0)


def test_a_trace_that_does_not_give_the_answer_is_an_error(tmp_path: Path) -> None:
    (schema,) = load_schemas(folder(tmp_path, changed(lambda s: s.update(answer="start + given")))).values()
    with pytest.raises(UserError, match="its trace gives"):
        draw(schema, 0, 0)


def test_slots_of_one_problem_never_share_a_word(tmp_path: Path) -> None:
    two = changed(lambda s: s.update(slots={"person": "person", "item": ["fruit"], "other": ["fruit"]}))
    (schema,) = load_schemas(folder(tmp_path / "a", two)).values()
    with pytest.raises(UserError, match="no word left"):
        draw(schema, 0, 0)
    assert GOOD["name"] == "gift"
