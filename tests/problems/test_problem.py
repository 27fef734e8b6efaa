"""Problems go to files and come back, in our form and in mlx-lm's, and a bad line is named."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from mlx_trace.errors import UserError
from mlx_trace.problems.mixture import read_file
from mlx_trace.problems.problem import Problem, write_problems

TRACE = """\
expert: arithmetic
trace:
- {op: init, var: eggs, value: 16}
- {op: compute, compute_op: sub, args: [eggs, 3], var: result}
- {op: query, var: result}"""
PROBLEM = Problem(id="x", question="He has 16 eggs — ½ of them … $3?", answer="13", expert="arithmetic", trace=TRACE)


def write(path: Path, *rows: object) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def test_our_form_round_trips(tmp_path: Path) -> None:
    assert write_problems(tmp_path / "p.jsonl", [PROBLEM, PROBLEM]) == 2
    assert read_file(tmp_path / "p.jsonl") == [PROBLEM, PROBLEM]


def test_messages_are_what_stock_trainers_read_and_come_back_with_their_trace(tmp_path: Path) -> None:
    write_problems(tmp_path / "m.jsonl", [PROBLEM], form="messages", system="be terse")
    row = json.loads((tmp_path / "m.jsonl").read_text(encoding="utf-8"))
    assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant"]
    (back,) = read_file(tmp_path / "m.jsonl")
    assert (back.question, back.answer, back.trace) == (PROBLEM.question, "13", TRACE)


def test_prompt_and_completion_are_read(tmp_path: Path) -> None:
    (back,) = read_file(write(tmp_path / "c.jsonl", {"prompt": "How many?", "completion": f"```yaml\n{TRACE}\n```"}))
    assert (back.question, back.answer, back.trace) == ("How many?", "13", TRACE)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [("… <<1+1=2>>2\n#### 80,000", "80000"), ("#### $1,234.50", "1234.5"), ("x\n####  -5 ", "-5"), ("#### 1/3", "1/3"),
     ("a #### b\n#### 7 apples", "7"), ("#### 50%", "50")],
)  # fmt: skip
def test_gsm8k_golds_are_read_whole_and_questions_verbatim(tmp_path: Path, answer: str, gold: str) -> None:
    question = "She has $80,000 — 20% in ½ …  two  spaces"
    (problem,) = read_file(write(tmp_path / "g.jsonl", {"question": question, "answer": answer}))
    assert (problem.answer, problem.question, problem.expert, problem.trace) == (gold, question, None, None)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{half", "not JSON"),
        ("[1]", "JSON object"),
        ({"question": "q"}, "answer"),
        ({"question": "", "answer": "1"}, "question"),
        ({"question": "q", "answer": "many"}, "not a number"),
        ({"question": "q", "answer": "#### many"}, "not a number"),
        ({"question": 5, "answer": "1"}, "question"),
        ({"question": "q", "answer": "1", "expert": "wizard"}, "wizard"),
        ({"messages": [{"role": "user", "content": "q"}]}, "assistant"),
        ({"messages": "hello"}, "assistant"),
        ({"prompt": "q", "completion": "no trace"}, "no trace"),
        ({"prompt": "q", "completion": "1+1=2 #### 2"}, "answer=NAME"),
        ({"prompt": "q", "answer": "1"}, "no question: the row has prompt, answer; --field question=NAME"),
        ({"prompt": "q", "ground_truth": "1"}, "no question: the row has prompt, ground_truth"),
        ({"completion": "1"}, "no question: the row has completion"),
        ({"prompt": "q", "completion": "expert: a\ntrace: []"}, "does not run"),
        ("[" * 5000, "not JSON"),
    ],
)
def test_every_bad_line_is_named_with_its_fault(tmp_path: Path, row: object, said: str) -> None:
    good = {"question": "q", "answer": "1"}
    with pytest.raises(UserError) as error:
        read_file(write(tmp_path / "bad.jsonl", good, row, good, row))
    (fault,) = error.value.faults
    assert fault.split(": ")[0].rsplit(":", 1)[1] == "2"
    assert fault.endswith(" (and line 4)")
    assert said in error.value.faults[0]


@pytest.mark.parametrize(
    ("answer", "gold"), [(Decimal("24.00"), "24"), (Decimal("1200.50"), "1200.5"), (Decimal("1E+3"), "1000")]
)
def test_decimals_of_tables_are_answers(answer: Decimal, gold: str) -> None:
    assert Problem(id="p", question="q?", answer=answer).answer == gold  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "answer", "said"),
    [
        ("How many hours?", "90 minutes", "is in minutes, and the question asks for hours"),
        ("How many?", "1.200", "two ways"), ("How many?", "€1.200", "two ways"), ("How many?", "7,50", "two ways"),
    ],
)  # fmt: skip
def test_an_answer_that_can_be_two_numbers_is_refused(question: str, answer: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Problem(id="p", question=question, answer=answer)


def test_a_missing_answer_is_told_only_where_one_is_needed(tmp_path: Path) -> None:
    path = write(tmp_path / "q.jsonl", {"question": "q", "answer": None})
    with pytest.raises(UserError, match="no answer"):
        read_file(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00"])
def test_a_file_without_problems_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError):
        read_file(path)
    with pytest.raises(UserError, match="no such file"):
        read_file(tmp_path / "absent.jsonl")


def test_a_limit_stops_reading(tmp_path: Path) -> None:
    good = {"question": "q", "answer": "1"}
    assert len(read_file(write(tmp_path / "f.jsonl", good, good, "{broken"), limit=2)) == 2


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write_problems(path, [PROBLEM])
    before = path.read_bytes()

    def breaking():
        yield PROBLEM
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_problems(path, breaking())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UserError):
        write_problems(tmp_path / "no" / "such" / "p.jsonl", [PROBLEM])
