"""What an arm would be refused for hours later is said before the first one begins, with its place in the file."""

from pathlib import Path

import pytest
import yaml

from mlx_trace.errors import UserError
from mlx_trace.sweep.file import read_sweep
from mlx_trace.sweep.ready import check_ready
from mlx_trace.sweep.runs import SweepRun, runs_of

BASE = """\
model: tiny
data: [{source: synthetic, n: 4, schemas: [rate_equation]}]
reinforce: {iters: 0}
"""


def write(tmp_path: Path, arms: str, measure: str = "- {data: everyday}") -> Path:
    (tmp_path / "base.yaml").write_text(BASE, encoding="utf-8")
    (tmp_path / "s.yaml").write_text(
        f"base: base.yaml\nmeasure:\n{measure}\narms:\n  fine: {{}}\n{arms}", encoding="utf-8"
    )
    return tmp_path / "s.yaml"


def runs_in(file: Path) -> list[SweepRun]:
    return runs_of(read_sweep(file), file, Path("out"))


@pytest.mark.parametrize(("arm", "fault"), [
    ("model: nope", r"s\.yaml:6:9: arms\.odd\.model: there is no model 'nope'"),
    ("model: ./nope.gguf", r"s\.yaml:6:9: arms\.odd\.model: .*no such file"),
    ("data: [{source: file, path: nope.jsonl}]", r"s\.yaml:6:9: arms\.odd\.data: nope\.jsonl: no such file"),
    ("data: [{source: compiled, file: .}]", r"s\.yaml:6:9: arms\.odd\.data: \.: is a directory"),
    ("data: [{source: synthetic, n: 4, schemas: [nope]}]", r"s\.yaml:6:9: arms\.odd\.data: there is no schema 'nope'"),
    ("resume_adapter_file: nope", r"s\.yaml:6:9: arms\.odd\.resume_adapter_file: nope: no such file"),
    ("reinforce: {iters: 1, reward_function: 'f.py:f'}", r"arms\.odd\.reinforce\.reward_function: runs code, which"),
    ("eval_every: 2, eval_suite: nope.jsonl", r"s\.yaml:6:24: arms\.odd\.eval_suite: nope\.jsonl: no such file"),
])  # fmt: skip
def test_what_one_arm_lacks_is_said_of_all_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arm: str, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(write(tmp_path, f"  odd: {{{arm}}}\n").name)
    with pytest.raises(UserError, match=fault) as error:
        check_ready(read_sweep(file), runs_in(file), read_sweep(file).measures())
    assert len(error.value.faults) == 1, "the arm that lacks nothing is not named"
    assert not Path("out").exists()


def test_what_cannot_be_measured_on_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(write(tmp_path, "", "- {data: everyday}\n- {data: gone.jsonl, n: 5}").name)
    with pytest.raises(UserError, match=r"^s\.yaml:4:4: measure\.1\.data: gone\.jsonl: no such file"):
        check_ready(read_sweep(file), runs_in(file), read_sweep(file).measures())


@pytest.mark.parametrize(("measure", "fault"), [
    ("rules: [nope]", "rules"), ("rules: nope", "input should be off, all, or some of"),
    ("samples: 4, temperature: 0", "at temperature 0 all replies are one"), ("temperature: 1000", "temperature"),
    ("gold_loss: true, samples: 4", "gold_loss reads gold traces"), ("samples: 100000", "samples"),
])  # fmt: skip
def test_what_eval_would_refuse_is_refused_in_the_file(tmp_path: Path, measure: str, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        read_sweep(write(tmp_path, "", f"- {{data: everyday, {measure}}}"))


def test_an_arm_that_is_trained_needs_nothing_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(write(tmp_path, "  odd: {resume_adapter_file: nope}\n").name)
    Path("out/odd-0.results").mkdir(parents=True)
    Path("out/odd-0.results/trained.json").write_text('{"updates": 1, "tokens": 1, "seconds": 1}', encoding="utf-8")
    check_ready(read_sweep(file), runs_in(file), read_sweep(file).measures())


def begun(folder: Path, **changes: object) -> None:
    """Leave what a run leaves that was begun with the base configuration, but for some keys."""
    folder.mkdir(parents=True)
    content = yaml.safe_load(BASE) | {"adapter_path": "elsewhere/fine-0", "fine_tune_type": "lora"} | changes
    (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.mark.parametrize("folder", ["out/fine-0", "out/fine-0.results"])
def test_a_folder_that_was_moved_is_gone_on_with_and_one_of_other_settings_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(write(tmp_path, "").name)
    begun(Path(folder), seed=0)
    assert len(runs_in(file)) == 1, "keys that are not written are as they are by default, in whatever version"
    (Path(folder) / "config.yaml").unlink()
    Path(folder).rmdir()
    begun(Path(folder), iters=7)
    with pytest.raises(UserError, match="was begun with another configuration") as error:
        runs_in(file)
    assert any(line.startswith("iters: the run was started with 7") for line in error.value.faults)


def test_a_folder_of_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(write(tmp_path, "").name)
    Path("out/fine-0").mkdir(parents=True)
    Path("out/fine-0/photo.jpg").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="fine-0: is not a run of mlx-trace"):
        runs_in(file)


def test_what_was_measured_on_another_file_of_that_name_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(write(tmp_path, "", "- {data: b/set.jsonl}").name)
    run, measure = runs_in(file)[0], read_sweep(file).measure[0]
    Path("out/fine-0.results").mkdir(parents=True)
    for data, is_there in (("a/set.jsonl", False), ("b/set.jsonl", True)):
        run.result(measure).write_text(f'{{"data": "{data}"}}', encoding="utf-8")
        assert run.is_measured(measure) is is_there
