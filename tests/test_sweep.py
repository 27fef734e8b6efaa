"""A sweep trains and measures each arm once, goes on where it was stopped, and compares problem by problem."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mlx_trace.cli.main import main
from mlx_trace.errors import UserError
from mlx_trace.evaluate.stats import mcnemar, mean_interval, sign_test
from mlx_trace.sweep.file import Measure, read_sweep
from mlx_trace.sweep.runs import SweepRun, runs_of, steps

MEASURED = [
    {"data": "phrasing", "n": 3, "gold_loss": True},
    {"data": "everyday", "n": 2, "max_tokens": 120, "rules": "off"},
]


def write(tmp_path: Path, model: Path, **changes: object) -> Path:
    base = {
        "model": str(model), "num_layers": 1, "data": [{"source": "synthetic", "n": 8, "schemas": ["rate_equation"]}],
        "iters": 1, "batch_size": 2, "contamination": [], "lora_parameters": {"rank": 2, "scale": 2.0, "dropout": 0.0},
        "reinforce": {"iters": 0},
    }  # fmt: skip
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base), encoding="utf-8")
    content = {
        "base": str(tmp_path / "base.yaml"), "set": {"max_seq_length": 512}, "measure": MEASURED,
        "arms": {"as it is": {}, "longer": {"iters": 2, "lora_parameters.rank": 4}, "too long": {"max_seq_length": 20}},
    }  # fmt: skip
    file = tmp_path / "levers.yaml"
    file.write_text(yaml.safe_dump(content | changes, sort_keys=False), encoding="utf-8")
    return file


def runs_in(file: Path, folder: Path) -> list[SweepRun]:
    return runs_of(read_sweep(file), file, folder)


def test_arms_are_trained_measured_and_compared_once(
    random_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = write(tmp_path, random_model), tmp_path / "out"
    command = ["sweep", str(file), "--folder", str(folder)]
    assert main([*command, "--plan"]) == 0
    assert "3 runs" in (plan := capsys.readouterr().err)
    assert plan.count(": training") == 3
    assert not folder.exists()

    assert main([*command, "--json"]) == 1, "one of the arms cannot be trained"
    shown = capsys.readouterr()
    assert "longer than max_seq_length (20 tokens)" in " ".join(shown.err.split())
    result = json.loads(shown.out)
    rows = {row[0]: row for row in result["rows"]}
    assert result["failed"] == 3, "nor measured"
    assert [rows[arm][2] for arm in ("as it is", "longer", "too long")] == ["1", "2", "–"]
    assert rows["as it is"][6] == "" and rows["too long"][5] == "–"
    low, high = rows["longer"][6].split("[")[1].rstrip("]").split(", ")
    assert float(low) <= float(rows["longer"][6].split()[0]) <= float(high)
    assert rows["longer"][8] == "+0 −0, p = 1"
    assert (folder / "table.md").read_text(encoding="utf-8").count("\n") == 5
    weights = (folder / "longer-0" / "adapters.safetensors").stat()

    write(tmp_path, random_model, arms={"as it is": {}, "longer": {"iters": 2, "lora_parameters.rank": 4}})
    assert main(command) == 0, "all of that is done"
    assert "0 trainings and measurements are left" in " ".join(capsys.readouterr().err.split())
    assert (folder / "longer-0" / "adapters.safetensors").stat().st_mtime_ns == weights.st_mtime_ns

    write(tmp_path, random_model, arms={"as it is": {}, "longer": {"iters": 3}})
    assert main(command) == 2
    assert "was begun with another configuration" in " ".join(capsys.readouterr().err.split())
    assert "too long" not in (folder / "table.md").read_text(encoding="utf-8")


def test_a_grid_is_every_combination(random_model: Path, tmp_path: Path) -> None:
    grid = {"learning_rate": [1e-3, 1e-4], "lora_parameters": [{"rank": 2}, {"rank": 4}]}
    file = write(tmp_path, random_model, arms={}, grid=grid, seeds=[0, 5])
    runs = runs_in(file, tmp_path / "out")
    assert len(runs) == 8
    assert len({run.folder for run in runs}) == 8
    assert {(run.config.learning_rate, run.config.lora_parameters.rank, run.config.seed) for run in runs} == {
        (rate, rank, seed) for rate in (1e-3, 1e-4) for rank in (2, 4) for seed in (0, 5)
    }


@pytest.mark.parametrize(("changes", "fault"), [
    ({"arms": {}}, "give arms"),
    ({"grid": {"iters": [1]}}, "give arms"),
    ({"arms": {}, "grid": {"iters": []}}, "grid.iters: .* at least 1"),
    ({"arms": {"a": {"learning_rat": 1}}}, "arms.a.learning_rat: there is no such key; did you mean learning_rate"),
    ({"arms": {"a/b": {}, "a b": {}}}, "one folder"),
    ({"arms": {"LoRA": {}, "lora": {"iters": 2}}}, "one folder"),
    ({"measure": []}, "measure"),
    ({"measure": [{"data": "everyday", "tempature": 1}]}, "tempature"),
    ({"measure": [{"data": "everyday"}, {"data": "everyday"}]}, "given twice"),
    ({"seeds": [1, 1]}, "given twice"),
    ({"base": "nothing-like-it"}, "no such file"),
])  # fmt: skip
def test_a_wrong_file_is_refused_before_anything_runs(
    random_model: Path, tmp_path: Path, changes: dict[str, object], fault: str
) -> None:
    with pytest.raises(UserError, match=fault):
        runs_in(write(tmp_path, random_model, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


BASE = """\
model: tiny
data: [{source: synthetic, n: 8}]
reinforce: {iters: 1}
"""
SWEEP = """\
base: base.yaml
set:
  max_seq_length: 512
measure:
- {data: everyday, n: 2}
"""
ARMS = f"""{SWEEP}arms:
  as it is: {{}}
  other:
    batch_size: 2
"""


@pytest.mark.parametrize(("text", "old", "new", "faults"), [
    (ARMS, "n: 2", "n: 0", ["s.yaml:5:20: measure.0.n: input should be greater than or equal to 1, got 0"]),
    (ARMS, "n: 2", "m: 2, n: x", [
        "s.yaml:5:20: measure.0.m: there is no such key; those here are data, n,",
        "s.yaml:5:26: measure.0.n: input should be a valid integer",
    ]),
    (ARMS, "measure:", "mesure:", [
        "s.yaml: measure: field required", "s.yaml:4:1: mesure: there is no such key; did you mean measure?",
    ]),
    (ARMS, "base: base.yaml", "base: base.yaml\nset: {}", ["s.yaml:3:1: the key 'set' stands twice"]),
    (ARMS, "measure:", "seeds: [1, 2, 1]\nmeasure:", ["s.yaml:4:1: seeds: 1 is given twice"]),
    (ARMS, "measure:", "seeds: [1, -2]\nmeasure:", ["s.yaml:4:12: seeds.1: input should be greater than"]),
    (ARMS, "n: 2}", "n: 2}\n- {n: 2, data: everyday}", ["s.yaml:4:1: measure: everyday, n 2 is given twice"]),
    (ARMS, "batch_size: 2", "batch_size: 0", ["s.yaml:9:5: arms.other.batch_size: input should be greater than"]),
    (ARMS, "batch_size: 2", "reinforce: {iters: 1, itres: 1}", ["s.yaml:9:27: arms.other.reinforce.itres: there is no"]),
    (ARMS, "batch_size: 2", "reinforce.group_size: 1", ["s.yaml:8:3: arms.other: reinforce: leave_one_out compares"]),
    (ARMS, "batch_size: 2", "decoding.cap: -1", ["s.yaml:9:5: arms.other.decoding.cap: input should be auto, probe"]),
    (ARMS, "max_seq_length: 512", "max_seq_length: 1", ["s.yaml:3:3: set.max_seq_length: input should be greater"]),
    (SWEEP + "grid:\n  iters: [1, -1]\n", "", "", ["s.yaml:7:14: grid.iters.1: input should be greater than or"]),
    (ARMS, "base.yaml", "wrong.yaml", ["wrong.yaml:3:13: reinforce.itres: there is no such key; did you mean iters?"]),
])  # fmt: skip
def test_faults_name_line_and_column_once_in_the_order_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, old: str, new: str,
    faults: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE, encoding="utf-8")
    Path("wrong.yaml").write_text(BASE.replace("iters", "itres"), encoding="utf-8")
    Path("s.yaml").write_text(text.replace(old, new), encoding="utf-8")
    assert main(["sweep", "s.yaml", "--plan"]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "the old name will go" not in line]
    assert len(said) == len(faults), said
    for line, fault in zip(said, faults, strict=True):
        assert line.startswith(f"mlx-trace: {fault}")


def test_what_is_measured_is_named_by_what_is_not_usual() -> None:
    assert str(Measure(data="a/mawps.jsonl", n=80, gold_loss=True)) == "mawps, gold loss, n 80"
    assert "--rules" in Measure.model_validate(yaml.safe_load("{data: everyday, rules: off}")).flags()
    assert str(Measure.model_validate(yaml.safe_load("{data: everyday, rules: off}"))) == "everyday, rules off"


def test_differences_have_intervals_and_signs_a_p() -> None:
    mean, low, high = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert (mean, low, high) == pytest.approx((2.5, 2.5 - 1.96 * 0.6455, 2.5 + 1.96 * 0.6455), abs=1e-3)
    assert mean_interval([1.0])[1:] == (-float("inf"), float("inf"))
    assert sign_test(0, 0) == 1
    assert sign_test(1, 9) == pytest.approx(0.0215, abs=1e-4)  # tables of the binomial: 2 · 11/1024
    assert mcnemar([True] * 9 + [False], [False] * 9 + [True])[2] == sign_test(9, 1)


def folder_of(tmp_path: Path, model: Path, **changes: object) -> Path:
    write(tmp_path, model)
    content = yaml.safe_load((tmp_path / "base.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "configs" / "two"
    path.mkdir(parents=True)
    for name, more in {"run01": {}, "run02": {"iters": 2}}.items():
        (path / f"{name}.yaml").write_text(yaml.safe_dump(content | {"max_seq_length": 512} | more), encoding="utf-8")
    settings = {
        "measure": [MEASURED[1], {"data": "elsewhere.jsonl", "if_there": True}],
        "reported": {"run01": {"then": "93%"}, "run02": {"then": "95%", "GSM-8K then": "0/10"}},
    }
    (path / "sweep.yaml").write_text(yaml.safe_dump(settings | changes), encoding="utf-8")
    return path


def test_a_directory_of_configurations_is_a_sweep_with_figures_from_elsewhere_beside(
    random_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = folder_of(tmp_path, random_model), tmp_path / "out"
    command = ["sweep", str(path), "--folder", str(out)]
    assert main([*command, "--only", "run02", "--json"]) == 0
    shown = capsys.readouterr()
    assert "not measured, as there is no elsewhere.jsonl" in " ".join(shown.err.split())
    result = json.loads(shown.out)
    assert result["columns"][:3] == ["", "then", "GSM-8K then"] and len(result["rows"]) == 1
    assert result["rows"][0][:5] == ["run02", "95%", "0/10", "1", "2"]
    assert main([*command, "--plan", "--json"]) == 0
    shown = capsys.readouterr()
    assert "2 trainings and measurements are left" in " ".join(shown.err.split()), "what is there is not done again"
    rows = json.loads(shown.out)["rows"]
    assert rows[0][:4] == ["run01", "93%", "–", "0"] and rows[1][0] == "run02"


@pytest.mark.parametrize(("changes", "fault"), [
    ({"reported": {"run07": {"then": "1"}}}, r"sweep\.yaml:\d+:3: reported\.run07: there is no run07\.yaml"),
    ({"base": "tiny"}, "base"),
    ({"measure": []}, "measure"),
])  # fmt: skip
def test_a_wrong_directory_is_refused(
    random_model: Path, tmp_path: Path, changes: dict[str, object], fault: str
) -> None:
    path = folder_of(tmp_path, random_model, **changes)
    with pytest.raises(UserError, match=fault):
        runs_in(path, tmp_path / "out")
    (path / "sweep.yaml").unlink()
    with pytest.raises(UserError, match=r"has no sweep\.yaml"):
        read_sweep(path)


def test_the_bundled_history_is_found_and_planned_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "configs/history", "--plan", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row[0] for row in result["rows"]] == [f"run{n:02}" for n in (*range(1, 14), *range(17, 26))]
    assert result["columns"][1:3] == ["synthetic then", "GSM-8K then"]
    assert next(row[1:3] for row in result["rows"] if row[0] == "run23") == ["100%", "8/30"]
    assert main(["sweep", "configs/history", "--only", "run99"]) == 2
    assert "is no arm" in capsys.readouterr().err


def test_a_stop_is_passed_on_once_and_the_same_command_goes_on(random_model: Path, tmp_path: Path) -> None:
    file, folder = write(tmp_path, random_model, arms={"long": {"iters": 4000, "save_every": 1000}}), tmp_path / "out"
    command = [sys.executable, "-m", "mlx_trace", "sweep", str(file), "--folder", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (folder / "long-0" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)  # which is not ignored in a background job
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command goes on" in told
    assert "stopped and saved" in (folder / "log.txt").read_text(encoding="utf-8")
    assert next(steps(runs_in(file, folder), read_sweep(file).measure))[0] == "long, seed 0: training"
