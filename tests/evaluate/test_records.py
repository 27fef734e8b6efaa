"""Records of all kinds are read, those of an evaluation under way too, and what is none is said with its line."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.errors import UserError
from mlx_trace.evaluate.records import objection, read_records
from mlx_trace.evaluate.report.figures import one_sample
from tests.evaluate.report.material import GOLD, RECORDS, SHORT, record, write_records


def test_records_are_read_by_name_and_one_that_comes_again_has_a_number(tmp_path: Path) -> None:
    file = write_records(tmp_path / "a.jsonl", [*RECORDS, RECORDS[0]])
    found = read_records(file)
    assert [row.score for row in found.measured.values()] == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]
    assert [*found.replies][-1] == "right (2)"
    assert (found.correct.count, found.correct.n) == (3, 7)


def test_a_vote_is_shown_by_the_sample_that_speaks_for_it(tmp_path: Path) -> None:
    def sample(output: str, got: str | None, weight: float) -> dict[str, Any]:
        return {"output": output, "kind": "correct" if got == "32" else "wrong_answer", "got": got, "weight": weight,
                "detail": "", "truncated": False, "tokens": 9, "sampled": 3, "seconds": 1.0}  # fmt: skip

    samples = [sample(SHORT, "36", 0.5), sample("light", "32", 0.5), sample(GOLD, "32", 1.0), sample("x", None, 0.0)]
    row = record("p", votes=[{"answer": "32", "count": 2, "weight": 1.5}], agreement=0.5, samples=samples, right=2)
    for key in ("output", "kind", "detail", "parsed", "valid", "truncated"):
        del row[key]
    (reply,) = read_records(write_records(tmp_path / "a.jsonl", [row])).rows
    assert (reply.output, reply.kind, reply.agreement, reply.votes[0].count) == (GOLD, "correct", 0.5, 2)
    assert reply.failed == {"wrong_answer": 1} and reply.is_right(reply.votes[0])
    assert reply.vote_json()["candidates"] == [{"answer": "32", "count": 2, "weight": 1.5}]
    none = row | {"got": None, "correct": False, "votes": [], "samples": [sample("first", None, 0.0)] * 2}
    (reply,) = read_records(write_records(tmp_path / "b.jsonl", [none])).rows
    assert reply.output == "first" and reply.is_wrong


def test_an_evaluation_under_way_is_read_with_its_settings(tmp_path: Path) -> None:
    file = write_records(tmp_path / "a.jsonl.part", [{"settings": {"model": "tiny", "rules": "all", "n": 1}},
                                                     {"number": 0, **RECORDS[0]}, {"number": 1, **RECORDS[1]}])  # fmt: skip
    with file.open("a", encoding="utf-8") as lines:
        lines.write('{"number": 2, "id"')
    found = read_records(file)
    assert len(found.rows) == 2 and found.is_partial
    assert found.settings == {"model": "tiny", "rules": "all", "samples": 1}


def test_what_eval_printed_is_found_beside_its_records(tmp_path: Path) -> None:
    told = {"model": "tiny", "adapter": None, "constraint": "scope", "n": 6, "parsed": {"count": 6}, "seed": 3}
    (tmp_path / "a.json").write_text(json.dumps(told), encoding="utf-8")
    assert read_records(write_records(tmp_path / "a.jsonl")).settings == {
        "model": "tiny",
        "constraint": "scope",
        "seed": 3,
    }
    (tmp_path / "a.summary.json").write_text(json.dumps({**told, "seed": 4}), encoding="utf-8")
    assert read_records(tmp_path / "a.jsonl").settings["seed"] == 4, "eval's own goes before"
    for name in ("a.json", "a.summary.json"):
        (tmp_path / name).write_text("[", encoding="utf-8")
    assert read_records(tmp_path / "a.jsonl").settings == {}


def test_losses_are_told_from_replies(tmp_path: Path) -> None:
    rows = [{"id": str(n), "question": "How many?", "answer": "1", "losses": {"op": [n, n + 1.0], "var: spelled": [9.0]}}
            for n in range(3)]  # fmt: skip
    found = read_records(write_records(tmp_path / "a.jsonl", rows))
    assert found.is_loss and [row.loss for row in found.rows] == [0.5, 1.5, 2.5]
    with pytest.raises(UserError, match="replies and of losses"):
        read_records(write_records(tmp_path / "b.jsonl", [*rows, *RECORDS]))


def test_a_cause_that_is_not_recorded_is_judged(tmp_path: Path) -> None:
    row = {key: value for key, value in RECORDS[1].items() if key not in ("cause", "detail")}
    (reply,) = read_records(write_records(tmp_path / "a.jsonl", [row])).rows
    assert reply.why == "missing final step" and objection(reply) == "expected 32, got 36"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "a:2: is no record"),
        ("3", "a:2: is no record"),
        ("[" * 100_000, "a:2: is no record"),
        ('{"phase": "sft", "update": 1, "loss": 2}', "a:2: is no record"),
        (json.dumps(record("p", correct="yes")), "a:2: is no record"),
        (json.dumps(record("p", kind="fine")), r"a:2: is no record of mlx-trace eval -o \(kind: "),
        (json.dumps(record("p", seconds=math.inf)), r"\(seconds: "),
        (json.dumps(record("p", answer="many")), r"\(problem.answer: "),
        (json.dumps(record("p", samples=[3])), "a:2: is no record"),
        (json.dumps({"id": "p", "question": "q", "answer": "1", "losses": {"op": [math.nan]}}), r"\(losses"),
    ],
)  # fmt: skip
def test_what_is_no_record_is_said_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "a").write_text(json.dumps(RECORDS[0]) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_records(tmp_path / "a")


def test_a_file_without_records_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds no records"):
        read_records(tmp_path / "a")


def test_what_one_sample_gets_right_stands_beside_the_vote(tmp_path: Path) -> None:
    def voted(name: str, right: int) -> dict[str, Any]:
        one = {"output": GOLD, "kind": "correct", "got": "32", "weight": 1.0, "detail": "", "truncated": False}
        return record(name, samples=[one] * 4, right=right, votes=[], agreement=1.0)

    samples, mean = one_sample(read_records(write_records(tmp_path / "a", [voted("p", 4), voted("q", 1)]))) or (0, None)
    assert samples == 4 and mean is not None and mean.share == 0.625
    assert one_sample(read_records(write_records(tmp_path / "b"))) is None
