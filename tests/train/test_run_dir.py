"""A run's folder: only what the run wrote is removed, nothing through a link; what is read again is checked; who holds it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.errors import UserError
from mlx_trace.run_files import STATE
from mlx_trace.train import checkpoint
from mlx_trace.train.run import check_folder, plan, train
from mlx_trace.train.run_dir import check_new, locked, sweep
from tests.train.test_never_lose import short
from tests.train.test_run import config, run

Change = Callable[[Any], Any]


@pytest.fixture(scope="module")
def whole(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two updates, with the best adapter kept."""
    path = tmp_path_factory.mktemp("whole") / "run"
    run(short(random_model, path).model_copy(update={"val_examples": 1, "steps_per_eval": 1}))
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def settings(model: Path, path: Path) -> Any:
    return short(model, path).model_copy(update={"val_examples": 1, "steps_per_eval": 1})


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what is removed -------------------------------------------------------------------------------------------


def foreign(folder: Path) -> Path:
    """Fill a folder with what is not ours, though some of it is named as if it were."""
    for name in ("7/photo.jpg", "x.tmp", ".mine.tmp", "pictures/a.png", ".config.yaml.tmp", "12.tmp/photo.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine", encoding="utf-8")
    return folder


@pytest.mark.parametrize("part", ["state", "best"])
@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True}], ids=str)
def test_nothing_is_removed_behind_a_link(
    random_model: Path, copy: Path, tmp_path: Path, part: str, options: dict[str, bool]
) -> None:
    elsewhere = foreign(tmp_path / "elsewhere")
    shutil.copytree(copy / part, elsewhere, dirs_exist_ok=True)
    shutil.rmtree(copy / part)
    (copy / part).symlink_to(elsewhere)
    before = everything(elsewhere)
    with pytest.raises(UserError, match=f"{part}: is a link"):
        run(settings(random_model, copy), **options)
    assert everything(elsewhere) == before


def test_a_lock_or_metrics_that_are_links_are_not_written_through(
    random_model: Path, copy: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    for name in ("state/lock", "metrics.jsonl"):
        (copy / name).unlink()
        (copy / name).symlink_to(tmp_path / "thesis.tex")
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(UserError, match="is a link"):
                run(settings(random_model, copy), **options)
        (copy / name).unlink()
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "years of work"


@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True}], ids=str)
def test_what_is_foreign_in_a_run_stays(random_model: Path, copy: Path, options: dict[str, bool]) -> None:
    for folder in (copy, copy / "state", copy / "best"):
        foreign(folder)
    mine = {path for path, content in everything(copy).items() if content == b"mine"}
    assert len(mine) == 18
    run(settings(random_model, copy), **options)
    assert {path for path, content in everything(copy).items() if content == b"mine"} == mine
    assert checkpoint.load(copy) is not None


@pytest.mark.parametrize("name", ["0000001", "0000002.tmp", "0000009"])
@pytest.mark.parametrize("is_linked", [False, True])
@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True}], ids=str)
def test_what_is_foreign_among_checkpoints_is_refused_before_anything_changes(
    copy: Path, random_model: Path, tmp_path: Path, name: str, is_linked: bool, options: dict[str, bool]
) -> None:
    folder = copy / STATE / name
    if is_linked:
        shutil.rmtree(folder, ignore_errors=True)
        folder.symlink_to(foreign(tmp_path / "elsewhere"))
    else:
        folder.mkdir(exist_ok=True)
        (folder / "photo.jpg").write_text("mine", encoding="utf-8")
    before = everything(copy), is_linked and everything(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{name}: is not mlx-trace's"):
        check_folder(settings(random_model, copy), **options)
    with pytest.raises(UserError, match=f"{name}: is not mlx-trace's"), locked(copy):
        pass
    assert (everything(copy), is_linked and everything(tmp_path / "elsewhere")) == before


def test_an_overwritten_run_leaves_no_checkpoint_that_could_be_resumed(random_model: Path, copy: Path) -> None:
    (copy / STATE / "0000001" / ".DS_Store").write_bytes(b"")

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(plan(settings(random_model, copy)), stop, overwrite=True)
    assert checkpoint.load(copy) is None
    assert everything(copy / STATE) == {"lock": b""}


@pytest.mark.parametrize("content", ["seed: 1\n", "model: x\nadapter_path: y\nfine_tune_type: lora\n", "- [\n"])
def test_other_people_s_folders_are_not_overwritten_though_their_files_are_named_like_ours(
    tmp_path: Path, content: str
) -> None:
    for name, text in (("config.yaml", content), ("adapter_config.json", "{}"), ("adapters.safetensors", "weights")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="not a run of mlx-trace, so it is not overwritten"):
        check_new(tmp_path, overwrite=True)


def test_sweeping_takes_only_names_that_we_write(tmp_path: Path) -> None:
    names = [".config.yaml.abc123_x.tmp", ".adapters.tmp.safetensors"]
    kept = [".config.yaml.swp", ".bashrc.tmp.old", "a.tmp", ".config.yaml.a.b.tmp", ".x.tmp"]
    for folder in (tmp_path, tmp_path / "best", tmp_path / "other"):
        folder.mkdir(exist_ok=True)
        for name in names + kept:
            (folder / name).write_text("", encoding="utf-8")
    sweep(tmp_path)
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == sorted(names + kept)
    for folder in (tmp_path, tmp_path / "best"):
        assert sorted(path.name for path in folder.iterdir() if path.is_file()) == sorted(kept)


# --- who holds it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["removed", "begun anew", "moved", "state replaced"])
def test_a_run_whose_folder_is_taken_away_stops_and_writes_nothing(
    random_model: Path, tmp_path: Path, how: str
) -> None:
    path = tmp_path / "run"
    chosen = short(random_model, path)

    def take_away(*_: Any) -> None:
        if how == "moved":
            path.rename(tmp_path / "moved")
        elif how == "state replaced":
            (path / STATE).rename(path / "old")
            (path / STATE).mkdir()
        else:
            shutil.rmtree(path)
        if how == "begun anew":
            with locked(path):
                (path / "metrics.jsonl").write_text("another's\n", encoding="utf-8")

    with pytest.raises(UserError, match="was moved, removed or replaced"):
        train(plan(chosen), take_away)
    assert path.exists() == (how in ("begun anew", "state replaced"))
    if how == "begun anew":
        assert everything(path) == {"metrics.jsonl": b"another's\n", "state/lock": b""}


def test_a_held_folder_is_told_before_anything_is_loaded(random_model: Path, copy: Path) -> None:
    with locked(copy):
        for resume, overwrite in ((True, False), (False, True)):
            with pytest.raises(UserError, match="another process"):
                check_folder(settings(random_model, copy), resume, overwrite)


# --- what is read again ----------------------------------------------------------------------------------------

WRONG: dict[str, Change] = {
    "null": lambda _: None, "a list": lambda _: [], "a number": lambda _: 5, "text": lambda _: "x", "empty": lambda _: {},
    "phase -1": lambda c: c | {"phase": -1}, "phase 9": lambda c: c | {"phase": 9}, "phase text": lambda c: c | {"phase": "0"},
    "index 99": lambda c: c | {"index": 99}, "index null": lambda c: c | {"index": None}, "index 1.5": lambda c: c | {"index": 1.5},
    "no done": lambda c: {k: v for k, v in c.items() if k != "done"}, "bytes -1": lambda c: c | {"metrics_bytes": -1},
    "bytes text": lambda c: c | {"metrics_bytes": "x"}, "state list": lambda c: c | {"state": []}, "state empty": lambda c: c | {"state": {}},
    "best text": lambda c: c | {"state": {"best": "x", "worse": 0}}, "worse null": lambda c: c | {"state": {"best": 1.0, "worse": None}},
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_checkpoint_of_valid_json_with_wrong_content_is_one_line(random_model: Path, copy: Path, name: str) -> None:
    for file in copy.glob("state/*/state.json"):
        file.write_text(json.dumps(WRONG[name](json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8")
    before = everything(copy)
    with pytest.raises(UserError) as error:
        run(settings(random_model, copy), resume=True)
    assert len(error.value.faults) == 1
    assert str(copy) in error.value.faults[0]
    assert {name: content for name, content in everything(copy).items() if name != "plan.json"} == {
        name: content for name, content in before.items() if name != "plan.json"}  # fmt: skip


PLANS: dict[str, Change] = {
    "null": lambda _: None, "a list": lambda _: [1], "text": lambda _: "x", "empty": lambda _: {},
    "tokens text": lambda c: c | {"micro_tokens": "2048"}, "tokens 0": lambda c: c | {"micro_tokens": 0},
    "sequences null": lambda c: c | {"max_sequences": None}, "sequences -1": lambda c: c | {"max_sequences": -1},
    "cache": lambda c: c | {"activation_cache": "moon"}, "headroom text": lambda c: c | {"headroom": "x"},
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_of_valid_json_with_wrong_content_is_one_line(random_model: Path, copy: Path, name: str) -> None:
    file = copy / "plan.json"
    file.write_text(json.dumps(PLANS[name](json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(UserError, match=r"plan\.json: not what a run writes") as error:
        check_folder(settings(random_model, copy), resume=True)
    assert len(error.value.faults) == 1


def test_a_run_goes_on_with_its_own_data_only(
    random_model: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = copy / "plan.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    plan(settings(random_model, copy), resume=True)
    assert "data" not in capsys.readouterr().err
    file.write_text(json.dumps(content | {"data": "0" * 32}), encoding="utf-8")
    with pytest.raises(UserError, match="its data are not those that it was started on"):
        plan(settings(random_model, copy), resume=True)
    del content["data"]
    file.write_text(json.dumps(content), encoding="utf-8")
    plan(settings(random_model, copy), resume=True)
    assert "was begun by a version that did not note its data" in capsys.readouterr().err


def test_arrays_of_another_run_are_one_line(random_model: Path, copy: Path, tmp_path: Path) -> None:
    other = config(random_model, tmp_path / "other", lora_parameters={"rank": 2}, save_every=1, iters=1,
                   reinforce={"iters": 0})  # fmt: skip
    run(other)
    for name in ("adapter", "optimizer"):
        twin = Path(shutil.copytree(copy, tmp_path / name))
        for folder in twin.glob("state/00*"):
            shutil.copy(tmp_path / "other" / STATE / "0000001" / f"{name}.safetensors", folder)
        with pytest.raises(UserError, match=f"newest checkpoint's {name} does not fit this run: .* of shape"):
            run(settings(random_model, twin), resume=True)


@pytest.mark.parametrize("damage", ["truncated", "missing", "not JSON", "not UTF-8"])
def test_a_damaged_checkpoint_is_told(
    random_model: Path, copy: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    def spoil(folder: Path) -> None:
        if damage == "truncated":
            file = folder / "optimizer.safetensors"
            file.write_bytes(file.read_bytes()[:-8])
        elif damage == "missing":
            (folder / "optimizer.safetensors").unlink()
        else:
            (folder / "state.json").write_bytes(b"{" if damage == "not JSON" else b"\xff")

    older, newer = sorted(copy.glob("state/00*"))
    spoil(newer)
    loaded = checkpoint.load(copy)
    assert loaded is not None and loaded.progress["done"] == 1
    told = capsys.readouterr().err
    assert f"{newer}: damaged: " in told
    assert "goes on from checkpoint 0000001" in told
    spoil(older)
    (copy / "adapters.safetensors").unlink()
    with pytest.raises(UserError, match="no checkpoint is left to go on from"):
        run(settings(random_model, copy), resume=True)


# --- signals ---------------------------------------------------------------------------------------------------

_WAITS = """
import os, signal, sys
from mlx_trace.train.interrupt import stopping
with stopping() as stop:
    for name in sys.argv[1:]:
        os.kill(os.getpid(), getattr(signal, name))
    print(stop())
"""


@pytest.mark.parametrize(
    ("ignored", "signals", "said"),
    [("", ["SIGHUP"], "True"), ("", ["SIGTERM"], "True"), ("", ["SIGINT"], "True"), ("", ["SIGHUP", "SIGHUP"], "True"),
     ("", ["SIGTERM", "SIGHUP"], "True"), ("trap '' HUP; ", ["SIGHUP"], "False")],
)  # fmt: skip
def test_a_terminal_that_closes_saves_and_nohup_is_kept(ignored: str, signals: list[str], said: str) -> None:
    command = f"{ignored}exec '{sys.executable}' -c \"$0\" {' '.join(signals)}"
    done = subprocess.run(
        ["bash", "-c", command, _WAITS], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert (done.stdout.strip(), done.returncode) == (said, 0)
