"""`mlx-trace report` writes a page, or prints Markdown or JSON; what it cannot read or must not overwrite is told."""

import json
import re
from pathlib import Path

import pytest

from mlx_trace.cli.main import main
from mlx_trace.evaluate.report.page import MADE_BY
from tests.evaluate.report.material import HOSTILE, RECORDS, record, voted, write_records, write_run

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_is_written_and_may_be_written_again(capsys: Out) -> None:
    write_run(Path("run"))
    write_records(Path("a.jsonl"))
    for _ in range(2):
        assert main(["report", "run", "a.jsonl"]) == 0
        assert capsys.readouterr().out.startswith("report.html: 1 run, 6 records, ")
    assert MADE_BY in Path("report.html").read_text(encoding="utf-8")


def test_nothing_else_is_overwritten(capsys: Out) -> None:
    write_records(Path("a.jsonl"))
    Path("report.html").write_text("mine", encoding="utf-8")
    assert main(["report", "a.jsonl"]) == 2
    assert "report.html: is there already, and is no report" in capsys.readouterr().err
    assert main(["report", "a.jsonl", "-o", "a.jsonl"]) == 2
    assert "a.jsonl: is read, and cannot be written to, too" in capsys.readouterr().err
    assert main(["report", "a.jsonl", "-o", "report.html"]) == 0
    assert "mine" not in Path("report.html").read_text(encoding="utf-8")[:4]
    assert len(Path("a.jsonl").read_text(encoding="utf-8").splitlines()) == 6


def test_markdown_has_n_and_intervals_and_shows_foreign_text_as_it_stands(capsys: Out) -> None:
    write_run(Path("run"))
    write_records(Path("a.jsonl"))
    later = [row | {"correct": True, "kind": "correct", "cause": None, "got": "32"} for row in RECORDS[:5]]
    write_records(
        Path("b|*.jsonl"), [*later, record("odd", "", "wrong_answer", cause=HOSTILE, question="How many?", trace=None)]
    )
    assert main(["report", "run", "a.jsonl", "b|*.jsonl", "--markdown"]) == 0
    out = capsys.readouterr().out
    assert "| a.jsonl | 6 | 83% [44, 97] | 67% [30, 90] | **33% [10, 70]** |" in out
    assert "| b\\|\\*.jsonl against a.jsonl | 5 | 40% [12, 77] | 100% [57, 100] | +60.0 [" in out
    assert "<script>" not in out and "\x1b" not in out and "| run | sft | 30 | loss 0.06667 |" in out
    assert not Path("report.html").exists()
    for line in out.splitlines():
        assert not line or (line.startswith("| ") and line.endswith(" |"))
    for table in out.split("\n\n"):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_json_has_all_figures_and_a_page_besides_where_it_is_asked_for(capsys: Out) -> None:
    write_run(Path("run"))
    losses = [{"id": "p", "question": "How many?", "answer": "1", "losses": {"op": [0.5]}}]
    for name, rows in (("a.jsonl", RECORDS), ("b.jsonl", RECORDS[1:]), ("c.jsonl", losses), ("d.jsonl", losses)):
        write_records(Path(name), rows)
    assert main(["report", "run", *"a.jsonl b.jsonl c.jsonl d.jsonl".split(), "--json", "-o", "page.html"]) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told["files"][0]["correct"] == {"count": 2, "share": 0.3333, "interval": [0.0968, 0.7]}
    assert told["files"][2]["loss"] == {"mean": 0.5, "interval": [None, None]}
    assert told["runs"][0]["phases"]["rl"]["reward"] == 1.0 and told["runs"][0]["seed"] == 31
    assert [(one["file"], one["n"], one["p"]) for one in told["comparisons"]] == [
        ("b.jsonl", 5, 1.0),
        ("d.jsonl", 1, 1.0),
    ]
    assert told["causes"]["missing final step"] == {"a.jsonl": 1, "b.jsonl": 1, "c.jsonl": 0, "d.jsonl": 0}
    assert told["strata"]["source"]["boxes/eggs"]["a.jsonl"]["n"] == 5
    assert Path("page.html").exists() and not Path("report.html").exists()


def test_a_vote_is_told_with_all_its_candidates(capsys: Out) -> None:
    write_records(Path("a.jsonl"), [voted("p|q"), voted("second"), RECORDS[0]])
    assert main(["report", "a.jsonl", "--markdown"]) == 0
    table = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    assert table[0] == r"| votes of a.jsonl | answer | candidates: samples, weight | no answer |"
    assert table[2] == r"| p\|q | 32 | 36: 2, 1.33; **32**: 1, 1 | parse\_failure 1, invalid\_trace 1 |"
    assert main(["report", "a.jsonl", "--json"]) == 0
    votes = json.loads(capsys.readouterr().out)["files"][0]["votes"]
    assert [vote["id"] for vote in votes] == ["p|q", "second"]
    assert votes[0]["failed"] == {"parse_failure": 1, "invalid_trace": 1}
    assert votes[0]["candidates"][1] == {"answer": "32", "count": 1, "weight": 1.0}
    assert (votes[0]["got"], votes[0]["answer"], votes[0]["correct"]) == ("36", "32", False)


def test_all_that_cannot_be_read_is_told_at_once(capsys: Out) -> None:
    Path("empty").mkdir()
    Path("bad.jsonl").write_text('{"id": 3\n', encoding="utf-8")
    Path("binary").write_bytes(b"\xff\x00\n")
    assert main(["report", "absent.jsonl", "empty", "bad.jsonl", "binary", "bad.jsonl"]) == 2
    err = capsys.readouterr().err
    for said in (
        "absent.jsonl: no such file",
        "empty: is no run's folder",
        "bad.jsonl: is given twice",
        "binary:1: is no record",
    ):
        assert said in err
    assert "Traceback" not in err and not Path("report.html").exists()


def test_files_of_other_problems_are_not_compared(capsys: Out) -> None:
    write_records(Path("a.jsonl"))
    write_records(Path("b.jsonl"), [row | {"question": "What else is 3 and 12?"} for row in RECORDS])
    write_records(Path("c.jsonl"), [record("other")])
    assert main(["report", "a.jsonl", "b.jsonl", "c.jsonl", "--json", "-o", "page.html"]) == 0
    (only,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert "6 of 6 problems of one id are not the same problem" in only["fault"]
    assert "not compared: " in Path("page.html").read_text(encoding="utf-8")


def test_a_page_goes_to_a_pipe_alone(capfd: Out) -> None:
    write_records(Path("a.jsonl"))
    assert main(["report", "a.jsonl", "-o", "/dev/stdout"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("<!doctype html>") and out.rstrip().endswith("</html>")
