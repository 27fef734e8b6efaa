"""Fields are known by the names of the usual data sets, or as --field tells; what is missing or unread is said once."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.errors import UserError
from mlx_trace.problems.fields import Fields, parse_told
from mlx_trace.problems.mixture import read_file, source_of

BODY, ASKED = "Ann has 5 pens and buys 7 more.", "How many pens has Ann?"
WHOLE = f"{BODY} {ASKED}"


@pytest.mark.parametrize(
    "row",
    [
        {"question": WHOLE, "answer": "12"}, {"question": WHOLE, "answer": 12.0}, {"Question": WHOLE, "Answer": "12 (pens)"},
        {"ID": "chal-7", "Body": BODY, "Question": ASKED, "Equation": "( 5.0 + 7.0 )", "Answer": 12.0, "Type": "Addition"},
        {"body": BODY, "question": ASKED, "solution_type": "Sum", "answer": "12 (pens)", "formula": "5+7=12", "grade": "1"},
        {"iIndex": 3, "sQuestion": WHOLE, "lEquations": ["X=5+7"], "lSolutions": [12.0], "lAlignments": [7]},
        {"question": WHOLE, "final_ans": "12"}, {"question": WHOLE, "equation": "5 + 7", "answer": "12", "fold": 0},
        {"Question": WHOLE.replace("5", "number0").replace("7", "number1"), "Numbers": "5.0 7.0", "Equation": "+ number0 number1", "Answer": 12.0},
        {"Question": WHOLE, "Numbers": "5.0 7.0", "Answer": 12.0, "Body": BODY},
        {"Question": f"{BODY.replace(' ', '  ')} {ASKED}".replace("  ", " "), "Body": f"  {BODY} ", "Answer": 12},
        {"Question": WHOLE.replace("5", "N_00").replace("7", "N_01"), "Numbers": [5, 7], "Answer": 12},
    ],
)  # fmt: skip
def test_the_usual_data_sets_are_read_by_themselves(
    tmp_path: Path, row: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row]), encoding="utf-8")
    (problem,) = read_file(path)
    assert (problem.question, problem.answer) == (WHOLE, "12")
    assert capsys.readouterr().err == ""


def test_other_names_are_told_and_may_be_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"Lage": BODY, "Frage": ASKED, "Antwort": 12, "a+b": "x"}), encoding="utf-8")
    (problem,) = read_file(path, told=parse_told(["question=Lage+Frage", "answer=Antwort", "id=a+b"]))
    assert (problem.id, problem.question, problem.answer) == ("x", WHOLE, "12")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "a.jsonl:1: no question: the row has Frage, Antwort; --field question=NAME says which it is"),
        (["question=Frage"], "a.jsonl:1: no answer: the row has Frage, Antwort; --field answer=NAME says which it is, unless its cell is empty"),
        (["question=Body"], "a.jsonl:1: no field 'Body' for the question; the row has Frage, Antwort"),
    ],
)  # fmt: skip
def test_a_field_that_is_missing_is_told_with_what_there_is(tmp_path: Path, told: list[str], said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"Frage": ASKED, "Antwort": 12}), encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_file(path, told=parse_told(told))
    assert str(error.value).endswith(said)


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_question_that_begins_with_its_body_holds_it_once(body: str, asked: str) -> None:
    whole = f"{body.strip()} {asked.strip()}"
    told = Fields().read({"Body": body, "Question": whole, "Answer": 1})["question"]
    assert told == (whole.strip() if body.strip() else told)
    assert "".join(told.split()) == "".join(whole.split())


@pytest.mark.parametrize("question", ["Ann has number0 pens.", "Ann has N_00 pens.", "Ann has N_0 pens and N_1 caps."])
def test_a_mask_without_its_number_is_told(question: str) -> None:
    with pytest.raises(ValueError, match=r"in the question has no number beside it"):
        Fields().read({"Question": question, "Answer": 5})
    assert (
        Fields().read({"Question": "Shop number5 has 3 pens.", "Answer": 5})["question"] == "Shop number5 has 3 pens."
    )


def test_numbers_beside_masks_may_have_thousands() -> None:
    row = {"Question": "number0 pens and number1?", "Numbers": "1,200.0 35.5", "Answer": 1}
    assert Fields().read(row)["question"] == "1200 pens and 35.5?"


@pytest.mark.parametrize("text", ["question", "=Body", "question=", "quest=Body", ""])
def test_a_field_option_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="question=Body"):
        parse_told([text])
    with pytest.raises(UserError, match="already"):
        parse_told(["question=A", "question=B"])


def test_extra_keys_are_told_in_one_line_and_integer_ids_are_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"id": n, "question": f"{n} and 1?", "answer": n + 1.0, "colour": "red", "level": 3} for n in range(50)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    problems = read_file(path)
    assert [(problem.id, problem.answer) for problem in problems[:2]] == [("0", "1"), ("1", "2")]
    (line,) = capsys.readouterr().err.splitlines()
    assert "not read: colour, level" in line


@pytest.mark.parametrize(
    ("answer", "gold"), [(7.0, "7"), (0.1, "0.1"), (1e22, "1" + "0" * 22), (-3, "-3"), ([4.0], "4"), (2.50, "2.5"), (1e-7, "0.0000001")]
)  # fmt: skip
def test_json_numbers_are_answers(tmp_path: Path, answer: Any, gold: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"question": "q?", "answer": answer}), encoding="utf-8")
    assert read_file(path)[0].answer == gold


@pytest.mark.parametrize("answer", [True, float("nan"), float("inf"), [1, 2], [], {"a": 1}, 1e300, "12 dozen"])
def test_what_is_no_number_is_no_answer(tmp_path: Path, answer: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"question": "How many dozen?", "answer": answer}), encoding="utf-8")
    with pytest.raises(UserError, match=r"is not a number|two ways"):
        read_file(path)


def test_a_solution_of_its_own_stands_in_front_of_its_answer() -> None:
    read = Fields().read({"problem": "5 and 6?", "solution": "5+6=11", "answer": 11})
    assert read == {"question": "5 and 6?", "answer": "5+6=11\n#### 11"}


def test_a_file_is_the_source_that_its_rows_are(tmp_path: Path) -> None:
    answers, solutions = tmp_path / "answers.jsonl", tmp_path / "train.jsonl"
    answers.write_text('{"question": "5 and 6?", "answer": "#### 11"}', encoding="utf-8")
    solutions.write_text('{"question": "5 and 6?", "answer": "5+6=11 #### 11"}', encoding="utf-8")
    assert source_of(answers).source == "file"
    assert source_of(solutions).source == source_of(tmp_path).source == "compiled"  # the folder's train.jsonl


def test_a_trace_that_does_not_give_the_answer_is_no_gold(tmp_path: Path) -> None:
    from mlx_trace.config_sources import FileSource
    from mlx_trace.problems.mixture import mix

    trace = "expert: arithmetic\ntrace:\n- {op: init, var: a, value: 5}\n- {op: compute, compute_op: add, args: [a, 6], var: b}\n- {op: query, var: b}"
    path = tmp_path / "a.jsonl"
    rows = [{"question": f"{n} pens and 6?", "answer": n, "trace": trace} for n in (11, 12)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(UserError, match=r"a:2: its trace does not solve to its answer, 12: it gives 11"):
        mix([FileSource(source="file", path=path)], 0)
    path.write_text(json.dumps({"question": "5 pens and 6?", "trace": trace}), encoding="utf-8")
    assert read_file(path)[0].answer == "11"  # an answer that is left out is what the trace gives
