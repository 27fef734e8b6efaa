"""Two measurements are compared on the problems that both hold, exactly, and what is no measurement is refused."""

import json
from pathlib import Path

import pytest

from mlx_trace.cli.main import main
from mlx_trace.errors import UserError
from mlx_trace.evaluate.compared import Measured, compare, paired
from mlx_trace.evaluate.records import read_records

Out = pytest.CaptureFixture[str]
FILES = (Path("a"), Path("b"))


def read_measured(path: Path) -> dict[str, Measured]:
    return read_records(path).measured


def row(name: str, correct: bool, **other: object) -> dict[str, object]:
    known = {"id": name, "question": f"How many is {name}, in words of any kind?", "answer": "4"}
    return {**known, "got": "4" if correct else None, "correct": correct, **other}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    before = [row(str(n), n < 5) for n in range(12)]
    after = [row(str(n), 2 < n < 11) for n in range(2, 14)]
    return str(write(tmp_path / "a.jsonl", *before)), str(write(tmp_path / "b.jsonl", *after))


def test_what_both_hold_is_compared(files: tuple[str, str]) -> None:
    before, after = (read_measured(Path(file)) for file in files)
    one = compare(paired(before, after, FILES))
    assert (one.n, one.gained, one.lost) == (10, 6, 1)
    assert one.as_json()["before"]["count"] == 3 and one.as_json()["after"]["count"] == 8
    assert one.difference[0] == pytest.approx(0.5) and one.p == pytest.approx(0.125)
    assert -1 < one.difference[1] < 0.5 < one.difference[2] < 1


def test_losses_are_compared_by_their_means(tmp_path: Path) -> None:
    def lost(name: str, *losses: float) -> dict[str, object]:
        return {"id": name, "question": name, "answer": "1", "losses": {"op": losses, "var: spelled": [9.0]}}

    before = read_measured(write(tmp_path / "a", lost("p", 1.0, 3.0), lost("q", 1.0)))
    after = read_measured(write(tmp_path / "b", lost("p", 1.0, 1.0), lost("q", 0.5)))
    one = compare(paired(before, after, FILES))
    assert (one.gained, one.lost, one.difference[0]) == (2, 0, pytest.approx(-0.75))
    answers = read_measured(write(tmp_path / "c", row("p", True) | {"question": "p", "answer": "1"}))
    with pytest.raises(UserError, match="one has answers, and the other losses"):
        paired(before, answers, FILES)


def test_a_problem_that_comes_again_is_another(tmp_path: Path) -> None:
    assert list(read_measured(write(tmp_path / "a", row("p", True), row("p", False)))) == ["p", "p (2)"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "b:1: is no record of mlx-trace eval -o"),
        ("3", "b:1: is no record"),
        ('{"id": "p", "question": "q", "answer": "1"}', "b:1: is no record"),
        ('{"id": "p", "question": "q", "answer": "1", "got": null, "correct": "yes"}', "b:1: is no record"),
        ('{"id": "p", "question": "q", "answer": "1", "losses": {"op": "x"}}', "b:1: is no record"),
        ("", "b: holds no records"),
    ],
)
def test_what_is_no_record_is_said_by_its_line(line: str, said: str, tmp_path: Path, capsys: Out) -> None:
    first = write(tmp_path / "a", row("p", True))
    (tmp_path / "b").write_text(line and line + "\n", encoding="utf-8")
    assert main(["compare", str(first), str(tmp_path / "b")]) == 2
    assert said in capsys.readouterr().err


def test_other_problems_are_not_compared(tmp_path: Path, files: tuple[str, str], capsys: Out) -> None:
    other = write(tmp_path / "c.jsonl", row("3", True) | {"question": "Another?"})
    assert main(["compare", files[0], str(other)]) == 2
    assert "1 of 1 problems of one id are not the same problem" in capsys.readouterr().err
    assert main(["compare", files[0], str(write(tmp_path / "d.jsonl", row("x", True)))]) == 2
    assert "have no problem in common" in capsys.readouterr().err


def test_the_command_shows_what_changed_sides(files: tuple[str, str], capsys: Out) -> None:
    assert main(["compare", *files, "--by", "length", "--show", "2"]) == 0
    told = capsys.readouterr().out
    assert "0 to 25 words" in told and "2 more of" in told
    assert "gained (2 of 6):" in told and "lost:" in told and "before 4, after nothing" in told
    assert main(["compare", *files, "--by", "length", "--json"]) == 0
    (after,) = json.loads(capsys.readouterr().out)["after"]
    assert [one["id"] for one in after["problems"]["lost"]] == ["2"] and len(after["problems"]["gained"]) == 6
    assert after["lengths"]["0 to 25 words"]["n"] == after["n"] == 10


def test_an_evaluation_that_is_not_done_is_compared_and_told(tmp_path: Path, capsys: Out) -> None:
    first = write(tmp_path / "a.jsonl", row("p", True), row("q", True))
    part = write(tmp_path / "b.jsonl.part", {"settings": {"model": "tiny"}}, {"number": 0, **row("p", False)})
    assert main(["compare", str(first), str(part)]) == 0
    told = capsys.readouterr()
    assert "b.jsonl.part: is of an evaluation that is not done; 1 records are compared" in told.err
    assert "1 more of" in told.out
