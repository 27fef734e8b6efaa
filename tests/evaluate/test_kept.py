"""An evaluation that is stopped loses no record, and the same command goes on to the same end."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.cli.main import main
from mlx_trace.evaluate.kept import KeptRecords

Out = pytest.CaptureFixture[str]
N = 7


def command(model: Path, folder: Path, *more: str) -> list[str]:
    data = folder / "data.jsonl"
    rows = [{"question": f"{n} eggs and 3 more are how many?", "answer": str(n + 3)} for n in (4, 5, 6, 4, 7, 8, 9)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ["eval", "--model", str(model), "--adapter-path", "none", "--max-tokens", "99", "--cap", "8",
            "--data", str(data), "-o", str(folder / "records.jsonl"), *more]  # fmt: skip


def records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        for reply in (row, *row.get("samples", ())):
            del reply["seconds"]
    return rows


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let evaluations be interrupted when they have kept three records."""
    kept, keep = [], KeptRecords.keep

    def kept_thrice(self: KeptRecords, number: int, own: Any) -> None:
        keep(self, number, own)
        kept.append(number)
        if len(kept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(KeptRecords, "keep", kept_thrice)


@pytest.mark.parametrize("more", [(), ("--samples", "3", "--seed", "5")], ids=["greedy", "votes"])
@pytest.mark.usefixtures("stops")
def test_what_was_stopped_goes_on_to_the_same_end(
    more: tuple[str, ...], random_model: Path, tmp_path: Path, capsys: Out
) -> None:
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    stopped.mkdir(), whole.mkdir()
    part = stopped / "records.jsonl.part"
    assert main(command(random_model, stopped, *more, "--batch-size", "2")) == 130
    assert "the same command goes on" in " ".join(capsys.readouterr().err.split())
    assert not (stopped / "records.jsonl").exists()
    first, *lines = part.read_text(encoding="utf-8").splitlines()
    assert "settings" in json.loads(first) and len(lines) == 3
    assert all({"question", "answer", "got", "correct"} <= set(json.loads(line)) for line in lines)
    with part.open("a", encoding="utf-8") as file:
        file.write(lines[0][: len(lines[0]) // 2])  # as a killed process leaves it
    assert main(command(random_model, stopped, *more, "--json")) == 0
    told = capsys.readouterr()
    assert f"3 of {N} records in " in told.err and json.loads(told.out)["n"] == N
    assert not part.exists()
    assert main(command(random_model, whole, *more)) == 0
    assert records(stopped) == records(whole) and len(records(whole)) == N


@pytest.mark.usefixtures("stops")
def test_another_evaluation_begins_anew_and_says_so(random_model: Path, tmp_path: Path, capsys: Out) -> None:
    assert main(command(random_model, tmp_path)) == 130
    assert main(command(random_model, tmp_path, "--rules", "off")) == 0
    err = capsys.readouterr().err
    assert "records.jsonl.part: was left by another evaluation, and is begun anew" in err and "going on" not in err
    (tmp_path / "records.jsonl.part").write_text("something else\n", encoding="utf-8")
    assert main(command(random_model, tmp_path)) == 0
    assert len(records(tmp_path)) == N


def test_two_evaluations_do_not_write_to_one_file(random_model: Path, tmp_path: Path, capsys: Out) -> None:
    other = KeptRecords(tmp_path / "records.jsonl", {}, [], 1)
    assert main(command(random_model, tmp_path)) == 2
    assert "another evaluation is writing to it" in capsys.readouterr().err
    other.done()


def test_a_folder_that_vanishes_takes_nothing_along(
    random_model: Path, tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, keep = tmp_path / "gone", KeptRecords.keep
    folder.mkdir()
    flags = command(random_model, folder)

    def vanish(self: KeptRecords, number: int, own: Any) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        keep(self, number, own)

    monkeypatch.setattr(KeptRecords, "keep", vanish)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert main(flags) == 2
    told = capsys.readouterr()
    assert "correct" in told.out and "the records are in" in told.err
    assert len((tmp_path / "mlx-trace-records.jsonl").read_text(encoding="utf-8").splitlines()) == N
