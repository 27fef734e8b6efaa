"""A model's own solutions: how they are asked for, and which are kept."""

import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.decode.params import SamplingParams
from mlx_trace.errors import UserError
from mlx_trace.explain import SOLVED, Explanation, _judged, _SolutionAsker, explanations
from mlx_trace.model.base import Base, load_base
from mlx_trace.problems.compile.compiler import Compiled, compile_row
from mlx_trace.problems.problem import Problem
from tests.cli.test_main import Run, run
from tests.conftest import byte_level_tokenizer, write_model

__all__ = ["run"]  # the fixture

JARS = Problem(id="jars", question="Each of 6 shelves holds 15 jars, and 4 jars break. How many are left?", answer="86")
RIGHT = "The shelves hold 6 * 15 = 90 jars.\nWhen 4 break, 90 - 4 = 86 jars are left."


@pytest.mark.parametrize(
    ("text", "fate", "mistakes"),
    [
        (RIGHT, "kept", 0),
        (RIGHT.replace("90", "80").replace("86", "76"), "kept", 2),  # the solver does the arithmetic
        ("The shelves hold 6 + 15 = 21 jars, and 21 - 4 = 17 are left.", "wrong", 0),
        ("There are 86 jars left.", "without calculation", 0),
        ("", "without calculation", 0),
        ("There are 80 + 6 = 86 jars.", "ungrounded", 0),
    ],
)
def test_a_solution_is_kept_where_its_calculations_come_to_the_answer(text: str, fate: str, mistakes: int) -> None:
    explanation = _judged(JARS, 3, text, 9)
    assert (explanation.fate, explanation.mistakes, explanation.tokens) == (fate, mistakes, 9)
    row = explanation.as_row()
    assert row["id"] == "jars/3"
    compiled = compile_row(row, "x")
    assert (isinstance(compiled, Compiled) and compiled.grounded) == (fate == "kept")


@pytest.mark.parametrize(("question", "solution"), SOLVED)
def test_what_is_shown_is_as_wanted(question: str, solution: str) -> None:
    text, _, answer = solution.partition("\n#### ")
    shown = _judged(Problem(id="x", question=question, answer=answer), 0, text, 0)
    assert (shown.fate, shown.mistakes) == ("kept", 0)


@pytest.mark.parametrize("has_template", [True, False])
def test_prompts_show_solved_problems_then_ask(tmp_path: Path, has_template: bool) -> None:
    tokenizer = byte_level_tokenizer()
    if not has_template:
        tokenizer.chat_template = None
    asker = _SolutionAsker(load_base(str(write_model(tmp_path / "m", tokenizer))))
    ids = asker.ids("How many pens?")
    text = asker.tokenizer.decode(ids)
    places = [text.index(question) for question, _ in SOLVED] + [text.index("How many pens?")]
    assert places == sorted(places)
    assert "yaml" not in text
    assert ids[: len(asker.prefix)] == asker.prefix
    assert SOLVED[-1][0] in asker.tokenizer.decode(asker.prefix)
    assert "How many pens?" not in asker.tokenizer.decode(asker.prefix)


def test_every_problem_gets_its_solutions_and_the_same_ones_again(random_base: Base) -> None:
    problems = [JARS, Problem(id="pens", question="3 pens and 4 pens: how many?", answer="7")]
    params, done = SamplingParams(12, 0.9, 2, 5), list[int]()
    first = [*explanations(random_base, problems, params, report=done.append)]
    assert sorted((one.problem.id, one.number) for one in first) == [("jars", 0), ("jars", 1), ("pens", 0), ("pens", 1)]
    assert done == [1, 2, 3, 4]
    again = [*explanations(random_base, problems, params, batch_size=1)]
    texts = [{(one.problem.id, one.number): one.text for one in some} for some in (first, again)]
    assert texts[0] == texts[1]


def test_a_model_whose_template_asks_for_traces_is_refused(tmp_path: Path) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = "{{ messages[-1]['content'] + '```yaml\n' }}"
    with pytest.raises(UserError, match="asks for traces"):
        next(explanations(load_base(str(write_model(tmp_path / "m", tokenizer))), [JARS], SamplingParams(4)))


# --- the command ------------------------------------------------------------------------------------------------


def _written(*texts: str, then: type[BaseException] | None = None) -> Any:
    def explain(base: Base, problems: Sequence[Problem], *rest: Any) -> Iterator[Explanation]:
        for number, text in enumerate(texts):
            yield _judged(problems[0], number, text, 10)
        if then:
            raise then

    return explain


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "jars.jsonl"
    path.write_text(json.dumps({"question": JARS.question, "answer": "86"}) + "\n", encoding="utf-8")
    return path


def test_what_is_right_becomes_data_that_compiles(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlx_trace.explain.explanations", _written(RIGHT, RIGHT.replace("90", "91"), "No idea."))
    code, out, err = run("explain", data, "--model", "tiny", "-o", tmp_path / "out.jsonl")
    assert (code, err) == (0, "")
    assert "3 solutions, 30 tokens" in out
    assert "kept                       2   66.7%" in out
    assert "2 solutions written to" in out
    assert "1 of them with a calculation put right" in out
    code, out, _ = run("compile", tmp_path / "out.jsonl", "-o", tmp_path / "compiled.jsonl", "--json")
    assert (json.loads(out)["rows"], json.loads(out)["compiled"]) == (2, 2)
    assert not (tmp_path / "nothing").exists()


def test_a_program_gets_counts(run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlx_trace.explain.explanations", _written(RIGHT, "No idea."))
    code, out, _ = run("explain", data, "--model", "tiny", "-o", tmp_path / "out.jsonl", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["fates"] == {"kept": 1, "without calculation": 1}
    assert (report["solutions"], report["corrected"], report["tokens"]) == (2, 0, 20)


def test_what_was_done_before_an_interrupt_is_written(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlx_trace.explain.explanations", _written(RIGHT, then=KeyboardInterrupt))
    code, _, err = run("explain", data, "--model", "tiny", "-o", tmp_path / "out.jsonl")
    assert code == 128 + signal.SIGINT
    assert "what was done is in" in err
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_problems_without_answers_and_bad_places_are_refused_before_loading(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlx_trace.model.base.load_base", None)
    (tmp_path / "open.jsonl").write_text('{"id": "a", "question": "How many?", "answer": null}\n', encoding="utf-8")
    code, _, err = run("explain", tmp_path / "open.jsonl", "--model", "tiny", "-o", tmp_path / "out.jsonl")
    assert (code, "a: has no answer" in err) == (2, True)
    code, _, err = run("explain", data, "--model", "tiny", "-o", tmp_path / "no" / "out.jsonl")
    assert (code, "no" in err) == (2, True)
