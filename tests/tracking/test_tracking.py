"""A tracker that fails, prints or asks harms nobody; what is sent are numbers; a resumed run keeps its id."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.config import TRACKER_NAMES, Config, read_trackers
from mlx_trace.errors import UserError
from mlx_trace.run_files import TRACKING_FILE
from mlx_trace.tracking import trackers, tracking
from mlx_trace.tracking.tracker import State, TrackedRun
from mlx_trace.tracking.tracking import Tracking

Out = pytest.CaptureFixture[str]
METRICS: dict[str, float | int | str] = {"phase": "sft", "update": 1, "loss": 2.5, "tokens": 40, "said": "some text"}


class Notebook:
    """A tracker that notes what it is told, and fails where it is to."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.runs, self.rows, self.ends = fails, list[TrackedRun](), list[tuple[int, Any]](), list[Any]()

    def start(self, run: TrackedRun) -> str | None:
        self._act("start")
        self.runs.append(run)
        return "here"

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._act("log")
        self.rows.append((step, dict(values)))

    def finish(self, figures: Mapping[str, float], step: int, state: State) -> None:
        self._act("finish")
        self.ends.append((dict(figures), step, state))

    def _act(self, act: str) -> None:
        print("a library prints")
        if act == self.fails:
            raise OSError("no network\nat all")
        if self.fails == "asks":
            input("your key: ")


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    own = Notebook()
    monkeypatch.setitem(trackers.TRACKERS, "wandb", lambda: own)
    return own


def config(path: Path, **changes: Any) -> Config:
    return Config.model_validate({"adapter_path": path, "report_to": "wandb", **changes})


def test_numbers_go_with_steps_that_rise_through_the_phases(tmp_path: Path, notebook: Notebook, capsys: Out) -> None:
    own = Tracking(config(tmp_path, run_name="mine"), {"sft": 0, "rl": 7}, False)
    own.note("sft", 1, METRICS)
    own.note("rl", 2, {"reward": 0.5})
    own.finish({"sft/loss": 2.5}, "finished")
    assert notebook.rows == [(1, {"sft/loss": 2.5, "sft/tokens": 40.0}), (9, {"rl/reward": 0.5})]
    assert notebook.ends == [({"sft/loss": 2.5}, 9, "finished")]
    (run,) = notebook.runs
    assert (run.project, run.name, run.is_resumed) == ("mlx-trace", "mine", False)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "mlx-trace: tracked by wandb: here\n"


@pytest.mark.parametrize("fails", ["start", "log", "finish", "asks"])
def test_what_fails_is_told_in_one_line_and_the_run_goes_on(
    tmp_path: Path, notebook: Notebook, capsys: Out, fails: str
) -> None:
    notebook.fails = fails
    own = Tracking(config(tmp_path), {"sft": 0}, False)
    for update in range(1, 4):
        own.note("sft", update, METRICS)
    own.finish({}, "finished")
    told = [line for line in capsys.readouterr().err.splitlines() if "the run goes on" in line]
    assert len(told) == 1
    assert told[0].startswith("mlx-trace: wandb: ")
    assert len(notebook.rows) == (3 if fails == "finish" else 0)


def test_one_that_hangs_at_the_end_is_left(
    tmp_path: Path, notebook: Notebook, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import Event

    monkeypatch.setattr(tracking, "_PATIENCE", 0.05)
    monkeypatch.setattr(notebook, "finish", lambda *_: Event().wait(5))
    own = Tracking(config(tmp_path), {"sft": 0}, False)
    own.note("sft", 1, METRICS)
    own.finish({}, "stopped")
    assert "wandb: no answer in 0.05 s; the run goes on" in capsys.readouterr().err


def test_a_resumed_run_keeps_its_id_and_a_new_one_gets_another(tmp_path: Path, notebook: Notebook) -> None:
    for is_resumed in (False, True, False):
        Tracking(config(tmp_path), {"sft": 0}, is_resumed).note("sft", 1, METRICS)
    first, resumed, again = notebook.runs
    assert resumed.id == first.id != again.id
    assert [run.is_resumed for run in notebook.runs] == [False, True, False]
    (tmp_path / TRACKING_FILE).write_text("[]", encoding="utf-8")
    Tracking(config(tmp_path), {"sft": 0}, True).note("sft", 1, METRICS)
    assert json.loads((tmp_path / TRACKING_FILE).read_text(encoding="utf-8"))["id"] == notebook.runs[-1].id


@pytest.mark.parametrize(
    ("given", "meant"),
    [("none", []), (None, []), ([], []), ("all", [*TRACKER_NAMES]), ("wandb, swanlab,wandb", ["wandb", "swanlab"])],
)
def test_trackers_are_named_as_mlx_lm_and_trl_name_them(given: Any, meant: list[str]) -> None:
    assert read_trackers(given) == meant


@pytest.mark.parametrize("given", ["mlflow", "wandb,", ["wandb", 3], 5, "wandb,none"])
def test_other_names_are_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="none, all, or some of wandb, tensorboard"):
        read_trackers(given)


def test_what_is_not_installed_is_a_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^report_to: trackio is not installed: pip install trackio$"):
        trackers.check_installed(["trackio"])
    trackers.check_installed([])
