"""A run's folder is read whole or under way; what was done again counts once; what is no run is told."""

from pathlib import Path

import pytest

from mlx_trace.errors import UserError
from mlx_trace.evaluate.report.training import read_training
from tests.evaluate.report.material import update, write_records, write_run

Out = pytest.CaptureFixture[str]


def test_a_run_is_read(tmp_path: Path) -> None:
    run = read_training(write_run(tmp_path / "run"))
    assert [(name, len(phase.updates)) for name, phase in run.phases.items()] == [("sft", 30), ("rl", 12)]
    assert (run.seed, run.versions["mlx"], run.adapter["num_layers"]) == (31, "0.32.4", 4)
    assert run.phases["sft"].columns["loss"][:2] == [2.0, 1.0]
    assert "kl" not in run.phases["sft"].columns


def test_an_update_that_was_done_again_counts_once_as_it_was_done_last(tmp_path: Path) -> None:
    rows = [update("sft", n, loss=loss) for n, loss in ((1, 5.0), (2, 4.0), (3, 9.0), (2, 3.0), (3, 2.0))]
    write_records(tmp_path / "metrics.jsonl", rows)
    phase = read_training(tmp_path).phases["sft"]
    assert (phase.updates, phase.columns["loss"]) == ([1, 2, 3], [5.0, 3.0, 2.0])


def test_half_a_line_is_no_matter_and_more_is_told(tmp_path: Path, capsys: Out) -> None:
    file = write_records(tmp_path / "metrics.jsonl", [update("sft", 1, loss=1.0)])
    with file.open("a", encoding="utf-8") as lines:
        lines.write('{"phase": "sft", "upd')
    assert read_training(tmp_path).phases["sft"].updates == [1]
    assert capsys.readouterr().err == ""
    write_records(file, [3, "x", {"phase": "sft", "update": True}, {"phase": "sft", "update": "2"},
                         update("sft", 2, loss=float("nan"), big=10**400)])  # fmt: skip
    assert read_training(tmp_path).phases["sft"].columns.keys() == {"seconds", "peak_memory"}
    assert "4 lines are no updates" in capsys.readouterr().err


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run's folder: it has none of metrics\.jsonl"):
        read_training(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("[]\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds no updates"):
        read_training(tmp_path)
