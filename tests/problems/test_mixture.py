"""Sources give what they were asked for, exactly; nothing is trained on twice, or held out and trained on."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.config import Config
from mlx_trace.config_file import validate_config
from mlx_trace.errors import UserError
from mlx_trace.problems.compile.compiler import Compiled, compile_file, compile_row
from mlx_trace.problems.contamination import GRAM, grams_of, overlaps
from mlx_trace.problems.gsm8k import is_held_out
from mlx_trace.problems.mixture import Mixture, mix, read_file
from mlx_trace.problems.problem import Problem, write_problems
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas
from mlx_trace.problems.variants.tell import variants
from tests.problems.rows import ROWS, write_rows


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl")


def gather(*data: dict[str, Any], examples: int | None = None) -> Mixture:
    config = validate_config({"data": list(data), "examples": examples}, "here")
    assert isinstance(config, Config)
    return mix(config.data, 0, config.examples)


def kept() -> int:
    """Return how many of the rows are sure and not held out."""
    outcomes = [compile_row({"question": question, "answer": answer}, "x") for question, answer in ROWS]
    problems = [outcome.problem for outcome in outcomes if isinstance(outcome, Compiled)]
    return sum(not problem.doubt and not is_held_out(problem) for problem in problems)


def test_shares_are_parts_of_the_whole_beside_what_a_file_has(rows: Path) -> None:
    mixture = gather({"source": "synthetic", "share": 0.75}, {"source": "compiled", "file": str(rows)})
    synthetic, compiled = mixture.parts
    assert len(compiled.problems) == kept()
    assert len(synthetic.problems) == 3 * kept()
    assert mixture.problems == [*synthetic.problems, *compiled.problems]


def test_examples_counts_the_whole_where_all_are_shares(rows: Path) -> None:
    mixture = gather(
        {"source": "synthetic", "share": 0.9}, {"source": "file", "path": str(rows), "share": 0.1}, examples=50
    )
    assert [len(part.problems) for part in mixture.parts] == [45, 5]
    assert len({problem.question for problem in mixture.problems}) == 50


@pytest.mark.parametrize(
    ("data", "examples", "fault"),
    [
        ([{"source": "synthetic", "share": 1.0}], None, "`examples` says of how many"),
        ([{"source": "synthetic", "n": 5}], 9, "examples: counts the whole"),
        ([{"source": "synthetic", "share": 1.0}, {"source": "synthetic", "n": 5}], None, "leave nothing"),
        ([{"source": "synthetic", "n": 5, "share": 0.5}], None, "give one of them"),
        ([{"source": "synthetic"}], None, "say how many"),
        ([{"source": "synthetic", "n": 5, "weights": {"nothing": 2}}], None, "no family or expert 'nothing'"),
        ([{"source": "synthetic", "n": 5, "weights": {"arithmetic": 0}, "schemas": ["arithmetic"]}], None, "all 0"),
    ],
)
def test_sizes_that_cannot_be_met_are_said(data: list[dict[str, Any]], examples: int | None, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        gather(*data, examples=examples)


def test_variants_come_after_the_originals_and_only_once_these_are_too_few(rows: Path) -> None:
    few = gather({"source": "compiled", "file": str(rows), "n": 3, "variants": 4})
    assert all("~" not in problem.id for problem in few.problems)
    many = gather({"source": "compiled", "file": str(rows), "variants": 4}).problems
    originals = [problem for problem in many if "~" not in problem.id]
    assert len(originals) == kept()
    assert len(many) == kept() * 5
    assert many[: len(originals)] == originals
    assert {problem.id.partition("~")[0] for problem in many} == {problem.id for problem in originals}
    with pytest.raises(UserError, match="are wanted"):
        gather({"source": "compiled", "file": str(rows), "n": 999})


def test_weights_follow_the_families_that_need_more() -> None:
    problems = gather({"source": "synthetic", "n": 100, "schemas": ["comparison", "percentage"],
                       "weights": {"percentage": 0, "comparison/comparison_half": 5}}).problems  # fmt: skip
    assert {problem.gold_expert for problem in problems} == {"comparison"}
    counts = [sum(problem.source.startswith(f"comparison/{name}") for problem in problems)
              for name in ("comparison_half#", "comparison_sum_diff#")]  # fmt: skip
    assert counts[0] >= 4 * counts[1] > 0


def test_what_is_held_out_stays_out_with_all_its_variants(tmp_path: Path) -> None:
    """A wording is held out, not a question: whatever numbers and people it is told with."""
    number = 0
    while True:  # find a wording that is held out: one in ten is
        number += 1
        question = f"A shop of kind {'very ' * number}odd sells 30 mugs at $4 each. What does Nina pay for all?"
        row = {"question": question, "answer": "It is 30*4=<<30*4=120>>120.\n#### 120"}
        outcome = compile_row(row, "own:1")
        assert isinstance(outcome, Compiled)
        if is_held_out(outcome.problem):
            break
    path = write_rows(tmp_path / "rows.jsonl", json.dumps(row))
    assert all(is_held_out(variant) for variant in variants(outcome.problem, 5))
    for source in ({"source": "compiled", "file": str(path), "variants": 3}, {"source": "file", "path": str(path)}):
        part = gather(source).parts[0]
        assert "1 held out" in part.note or "2 held out" in part.note
        assert not any(is_held_out(problem) for problem in part.problems)


def test_the_first_n_of_a_file_are_counted_after_what_is_held_out(rows: Path) -> None:
    for n in range(1, kept() + 1):
        (part,) = gather({"source": "file", "path": str(rows), "n": n}).parts
        assert len(part.problems) == n
    assert len(gather({"source": "file", "path": str(rows), "n": 99}).problems) == kept()


def test_bad_rows_of_a_compiled_source_are_noted_and_a_file_of_nothing_else_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", "{broken", '{"question": "How many?", "answer": "many #### some"}')
    note = gather({"source": "compiled", "file": str(path)}).parts[0].note
    assert "2 not used" in note
    assert "1 not a JSON object" in note
    (tmp_path / "bad.jsonl").write_text("[]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"none of its rows can be used \(1 not a JSON object\)"):
        gather({"source": "compiled", "file": str(tmp_path / "bad.jsonl")})


def test_rows_whose_wiring_is_doubted_are_left_out_of_training_and_counted(tmp_path: Path) -> None:
    doubted = {
        "question": "Tim owns 5 red pens, 8 pots, 5 blue pens and 2 pans. What is left?",
        "answer": "8-5=3\n#### 3",
    }
    sure = {"question": "Tim owns 8 pots and loses 5. How many pots are left?", "answer": "8-5=3\n#### 3"}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (doubted, sure)), encoding="utf-8")
    compiled = tmp_path / "compiled.jsonl"
    outcomes = list(compile_file(path))
    problems = [outcome.problem for outcome in outcomes if isinstance(outcome, Compiled)]
    assert write_problems(compiled, problems) == 2
    assert [bool(problem.doubt) for problem in read_file(compiled)] == [True, False]  # evaluation has both
    for source in ({"source": "compiled", "file": str(path), "variants": 3}, {"source": "compiled", "file": str(compiled)},
                   {"source": "file", "path": str(compiled)}):  # fmt: skip
        part = gather(source).parts[0]
        assert {problem.question for problem in part.problems} >= {sure["question"]}
        assert not any("pens" in problem.question for problem in part.problems)
        assert "1 left out: the trace may not be what the solution means" in part.note


def test_contamination_tells_same_questions_templates_and_runs_of_words() -> None:
    def asked(*questions: str) -> list[Problem]:
        return [Problem(id=str(at), question=question, answer="1") for at, question in enumerate(questions)]

    long = "On the way home from the old market by the river Nina counted 14 white birds. How many?"
    evaluation = {"set": asked(long, "Omar has 5 hats. How many?", "A wholly different question, is it not?")}
    (same,) = overlaps(evaluation, asked(long, "Unrelated words."))
    assert (same.same_question, same.same_template, same.shared_gram) == (1, 1, 1)
    (template,) = overlaps(evaluation, asked("Zack has 11 hats. How many?"))
    assert (template.same_question, template.same_template, template.shared_gram) == (0, 1, 0)
    (gram,) = overlaps(evaluation, asked("Yes: on the way home from the old market by the river Nina counted 3 stars."))
    assert (gram.same_question, gram.same_template, gram.shared_gram) == (0, 0, 1)
    assert "of 3 questions 0 are in the training data, 0 with other numbers, 1 share 13 words" in str(gram)


def test_contamination_found_quickly_is_what_comparing_everything_finds() -> None:
    from mlx_trace.problems.skeleton import skeleton

    training = generate_balanced(list(load_schemas().values()), 600, seed=5)
    evaluation = generate_balanced(list(load_schemas().values()), 150, seed=6)
    (overlap,) = overlaps({"x": evaluation}, training)
    wordings = {skeleton(problem.question) for problem in training}
    assert overlap.same_template == sum(skeleton(problem.question) in wordings for problem in evaluation) > 10


def test_grams_are_all_runs_of_words_and_a_short_question_is_one() -> None:
    words = [f"word{number}" for number in range(20)]
    for count in (0, 1, GRAM - 1, GRAM, GRAM + 1, 20):
        runs = [tuple(words[start : min(start + GRAM, count)]) for start in range(max(1, count - GRAM + 1))]
        assert list(grams_of(" ".join(words[:count]))) == [hash(run) for run in runs]
