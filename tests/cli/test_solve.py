"""`solve` for people, for programs, and for a million lines."""

import json
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from mlx_trace.cli.main import main
from tests.language.test_solver import FIRST, composed
from tests.language.test_syntax import COMPOSED, SINGLE


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.yaml"
    path.write_text(SINGLE, encoding="utf-8")
    return path


def test_the_ledger_shows_each_step_with_its_value(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", str(trace), "--expected", "13"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["arithmetic"], ["1", "eggs", "is", "given", "16"], ["2", "breakfast", "is", "given", "3"],
                     ["3", "result", "=", "eggs", "−", "breakfast", "13"], ["4", "answer:", "result", "13"],
                     ["correct"]]  # fmt: skip


def test_the_ledger_points_at_the_step_that_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(COMPOSED.replace("[sale, 10]", "[sale, shoe]"), encoding="utf-8")
    assert main(["solve", str(path)]) == 1
    out = capsys.readouterr().out
    assert "part 1: percentage" in out
    assert out.splitlines()[-2].split() == ["2", "result", "=", "sale", "+", "shoe"]
    assert "undefined variable: shoe" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "code", "kind", "reward"),
    [
        ((), 0, "solved", None),
        (("--expected", "13"), 0, "correct", 1.0),
        (("--expected", "$13.00"), 0, "correct", 1.0),
        (("--expected", "14"), 1, "wrong_answer", 0.7),
        (("--expected", "-13/1"), 1, "wrong_answer", 0.7),
        (("--expected", "-$13"), 1, "wrong_answer", 0.7),
        (("--expected", "-₩13"), 1, "wrong_answer", 0.7),
        (("--expected", "13", "--expert", "comparison"), 1, "wrong_expert", 0.3),
        (("--expert", "arithmetic"), 0, "solved", None),
    ],
)
def test_json_and_exit_codes(trace: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], code: int, kind: str,
                             reward: float | None) -> None:  # fmt: skip
    assert main(["solve", str(trace), "--json", *flags]) == code
    row = json.loads(capsys.readouterr().out)
    assert (row["kind"], row["reward"]) == (kind, reward)
    assert set(row) == {"reward", "kind", "answer", "detail"}


@pytest.mark.parametrize(("content", "kind"), [(b"hello", "parse_failure"), (bytes(range(256)), "parse_failure"), (b"", "parse_failure"),
                                               (b"x" * 10**6, "parse_failure"), (b"expert: a\ntrace: []", "invalid_trace")])  # fmt: skip
def test_anything_in_a_file_is_graded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, kind: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    assert main(["solve", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["kind"] == kind
    assert main(["solve", str(path)]) == 1


def test_standard_input_is_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(SINGLE.encode())))
    assert main(["solve", "-", "--expected", "13"]) == 0
    assert "correct" in capsys.readouterr().out


def test_an_expected_answer_that_is_no_number_is_a_mistake(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", str(trace), "--expected", "many"]) == 2
    assert "'many' is not a number" in capsys.readouterr().err


def line(**row: object) -> str:
    return json.dumps({"text": SINGLE, "expected": None, "expert": None} | row) + "\n"


def test_json_lines_are_answered_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text(
        line() + line(expected="13") + line(expected=13) + line(expected="9") + "\n" + line(text="no", expected="9")
        + line(text=composed(FIRST, FIRST), expected="7", expert="composition") + line(expert="comparison"),
        encoding="utf-8",
    )  # fmt: skip
    assert main(["solve", "--jsonl", str(path)]) == 0
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert [row["kind"] for row in rows] == ["solved", "correct", "correct", "wrong_answer", "parse_failure", "correct",
                                             "wrong_expert"]  # fmt: skip
    assert [row["answer"] for row in rows] == ["13", "13", "13", "13", None, "7", None]


@pytest.mark.parametrize("bad", ["{half", "[]", '{"expected": "1"}', '{"text": 5}', line(expert="wizard"), line(expected="many"),
                                 line(expected=[1]), "\udcff"])  # fmt: skip
def test_a_malformed_line_stops_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: str) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text(line() + bad.strip() + "\n" + line(), encoding="utf-8", errors="surrogateescape")
    assert main(["solve", "--jsonl", str(path)]) == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    assert f"{path}:2: " in captured.err


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    probe = (
        "import sys, tracemalloc; from mlx_trace.cli.main import main; import mlx_trace.cli.solve; tracemalloc.start(); "
        "main(['solve', '--jsonl', sys.argv[1]]); print(tracemalloc.get_traced_memory()[1], file=sys.stderr)"
    )
    peaks, sizes = [], []
    for count in (8_000, 24_000):  # the first fills what remembers lines
        path = tmp_path / f"{count}.jsonl"
        rows = (line(text=SINGLE.replace("16", str(n + 20)), expected="5") for n in range(count))
        path.write_text("".join(rows), encoding="utf-8")
        sizes.append(path.stat().st_size)
        done = subprocess.run([sys.executable, "-c", probe, str(path)], capture_output=True, check=True)
        assert done.stdout.count(b"\n") == count
        peaks.append(int(done.stderr))
    assert peaks[1] - peaks[0] < (sizes[1] - sizes[0]) / 10
