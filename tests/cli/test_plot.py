"""Curves fit the width there is, in braille or ASCII, of runs that are whole or being written."""

import json
import random
from pathlib import Path

import pytest

from mlx_trace.cli.main import main
from mlx_trace.cli.plot import PlottedCurve
from mlx_trace.run_files import METRICS_FILE

Out = pytest.CaptureFixture[str]
pytest.importorskip("plotille", reason="needs plotille, which installs with mlx-trace")


def write_run(folder: Path, updates: int = 30, tail: str = "") -> Path:
    folder.mkdir()
    rows = [
        {"phase": "sft", "update": n, "loss": 5 / n, "tokens": 100, "learn_tokens_per_second": 50.0}
        for n in range(1, updates + 1)
    ]
    rows += [{"phase": "rl", "update": n, "reward": 0.5 + n / 100, "length": 10, "episodes": 4} for n in range(1, 5)]
    (folder / METRICS_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows) + tail, encoding="utf-8")
    return folder


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("over", ["updates", "tokens"])
def test_charts_fit_and_say_first_and_last(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch, columns: int, over: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(tmp_path)
    assert main(["plot", str(write_run(Path("r"), tail='{"phase": "sft", "upd')), "--over", over]) == 0
    lines = capsys.readouterr().out.splitlines()
    drawn = [line for line in lines if "┤" in line]
    assert len(drawn) == 3 * 10
    assert {len(line) for line in drawn} == {columns}
    assert any(any("\u2801" <= character <= "\u28ff" for character in line) for line in drawn)
    assert [line for line in lines if line.startswith(("sft ", "rl "))] == [
        f"sft loss, over {over}", f"sft learn_tokens_per_second, over {over}", f"rl reward, over {over}"]  # fmt: skip
    assert "r: 5 → 0.1667" in lines
    assert any(line.split() == (["1", "30"] if over == "updates" else ["100", "3,000"]) for line in lines)


def test_ascii_where_the_output_is_not_utf8(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import os
    import subprocess
    import sys

    run = write_run(tmp_path / "r")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "50"}
    done = subprocess.run(
        [sys.executable, "-m", "mlx_trace", "plot", str(run), "-m", "loss"],
        env=environment,
        capture_output=True,
        check=True,
    )
    text = done.stdout.decode("ascii")
    assert "?" not in text and "|" in text and "=" in text.partition("|")[2]


def test_runs_have_charts_of_their_own_in_equal_limits(tmp_path: Path, capsys: Out) -> None:
    first, second = write_run(tmp_path / "a", 30), write_run(tmp_path / "b", 300)
    assert main(["plot", str(first), str(second), "-m", "loss"]) == 0
    out = capsys.readouterr().out
    assert out.count("┤") == 2 * 10
    assert out.count("0.01667┤") == 2 and out.count("300\n") == 2


@pytest.mark.parametrize(("flags", "said"), [(["-m", "los"], "did you mean loss?"), (["-m", "xyzzy"], "there are episodes, "),
                                             (["--follow"], "only a terminal can"), (["--height", "1"], "below 2")])  # fmt: skip
def test_what_cannot_be_drawn_is_a_line(tmp_path: Path, capsys: Out, flags: list[str], said: str) -> None:
    run = str(write_run(tmp_path / "r"))
    try:
        code = main(["plot", run, *flags])
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    assert code == 2
    assert said in capsys.readouterr().err


def test_a_run_without_updates_is_a_line(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / METRICS_FILE).touch()
    assert main(["plot", str(tmp_path)]) == 2
    assert "there are no updates to draw yet" in capsys.readouterr().err


def test_a_thinned_curve_keeps_its_mean_and_order() -> None:
    ys = [random.Random(0).random() for _ in range(10_000)]
    curve = PlottedCurve("r", [float(x) for x in range(10_000)], ys)
    thin = curve.thinned(100)
    assert len(thin.xs) == 100 and thin.xs == sorted(thin.xs)
    assert sum(thin.ys) / 100 == pytest.approx(sum(ys) / 10_000)
    assert curve.thinned(10_000) == curve
