"""What `train --plan` shows of an example and of the time to come: on every terminal, and in a pipe."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.cli.macs import load_of, show_macs
from mlx_trace.cli.main import main
from mlx_trace.cli.plan import show_example, show_time
from mlx_trace.cli.screen import Screen
from mlx_trace.memory.published import PUBLISHED
from mlx_trace.resources import configs_dir
from mlx_trace.train import probe as module
from mlx_trace.train.probe import probe
from mlx_trace.train.run import Plan, plan
from tests.train.test_run import config


@pytest.fixture
def planned(random_model: Path, tmp_path: Path) -> Plan:
    return plan(config(random_model, tmp_path / "run", loss="choices", name_weight=0.25, finish_on_all=2, eval_every=4,
                       eval_n=3, eval_suite="everyday"))  # fmt: skip


def shown(planned: Plan, width: int = 80, coloured: bool = False) -> list[str]:
    written = io.StringIO()
    screen = Screen(file=written)
    screen.width, screen.is_endless = width, False  # as on a terminal, whoever runs the tests
    if coloured:
        screen._force_terminal, screen._color_system = True, screen._color_system or _truecolor()
    show_example(screen, planned)
    return written.getvalue().rstrip("\n").split("\n")


def _truecolor() -> Any:
    from rich.color import ColorSystem

    return ColorSystem.TRUECOLOR


def test_without_colour_what_is_learnt_is_marked_beneath(planned: Plan) -> None:
    lines = shown(planned, 10_000)
    assert "context " in lines[0] and "in the loss ^~" in lines[0] and "weighing 0.25 (names, comments) *~" in lines[0]
    assert "forced by the constraint, not in the loss --" in lines[0]
    assert "in the last 2 updates all of the trace is in the loss" in lines[0]
    text, marks = zip(*[(line, lines[at + 1]) for at, line in enumerate(lines) if line.endswith("↵")], strict=True)
    assert text[0] == "expert: rate_equation↵" and len(marks[0]) == len(text[0])
    inits = [(line, mark) for line, mark in zip(text, marks, strict=True) if line.startswith("- {op: init")]
    for line, mark in inits:
        start = line.index("var: ") + 5
        assert set(mark) <= set("^~*-")
        assert set(mark[start : start + 2]) & set("*~^"), "a name is the model's"
        assert set(mark[:4]) == {"-"}, "what opens a step is not"


@pytest.mark.parametrize("width", [20, 33, 80])
def test_lines_wrap_with_their_marks(planned: Plan, width: int) -> None:
    wide, narrow = shown(planned, 10_000), shown(planned, width)

    def parts(lines: list[str]) -> tuple[str, str]:
        body = lines[next(at for at, line in enumerate(lines) if line.startswith("expert")) :]
        return "".join(line for line in body if not set(line) <= set("^~*- ")), "".join(
            line for line in body if set(line) <= set("^~*- ")
        )

    assert all(len(line) <= width for line in narrow)
    assert parts(narrow) == parts(wide)


def test_in_colour_nothing_stands_beneath(planned: Plan) -> None:
    lines = shown(planned, 200, coloured=True)
    assert any("\x1b[" in line for line in lines)
    assert not [line for line in lines if line and set(line) <= set("^~*-")]


def test_without_gold_traces_a_prompt_is_shown(random_model: Path, tmp_path: Path) -> None:
    lines = shown(plan(config(random_model, tmp_path / "run", epochs=0)), 10_000)
    assert "replies are sampled, no trace is learnt from" in lines[0]
    assert "```yaml" in "\n".join(lines) and "- {op" not in "\n".join(lines)


def test_every_part_is_timed(planned: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    parts = probe(planned)
    assert list(parts) == ["sft", "rl", "evaluation"]
    assert all(seconds is not None and seconds > 0 for seconds in parts.values())
    show_time(Screen(soft_wrap=True), planned)
    out = capsys.readouterr().out
    assert out.startswith("time: about ") and out.count("\n") == 1


def test_twice_as_many_updates_take_twice_as_long(planned: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**9))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(module, "_pass_cost", lambda network, most: 1e-9)
    before = probe(planned, 1e9)
    ticks = iter(range(10**9))
    for phase in planned.phases:
        phase.updates *= 2
    after = probe(planned, 1e9)
    for name in ("sft", "rl"):
        assert after[name] == pytest.approx(2 * (before[name] or 0.0), rel=1e-6), name


@pytest.mark.parametrize("name", ["llama32-3b", "best", "history/run23"])
def test_a_model_that_is_not_here_is_planned_from_its_shape(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mlx_trace.cli.macs.local_model", lambda model: None)
    assert main(["train", "--plan", "-c", name, "--adapter-path", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr()
    assert shown.err == "" and [size in shown.out for size in ("8 GB", "16 GB", "32 GB")] == [True] * 3
    assert "computed and not measured" in shown.out
    assert not (tmp_path / "run").exists()


def test_a_config_json_is_enough_and_nothing_at_all_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = next(model.content for model in PUBLISHED if model.configuration == "llama32-1b")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps({**content, "model_type": "llama"}), encoding="utf-8")
    assert main(["train", "--plan", "-c", "llama32-1b", "--model", str(tmp_path / "mine")]) == 0
    own = capsys.readouterr().out.splitlines()[1:]
    header = (configs_dir() / "llama32-1b.yaml").read_text(encoding="utf-8").splitlines()
    assert [f"# {line}" in header for line in own] == [True] * len(own)
    assert main(["train", "--plan", "--model", "owner/nowhere"]) == 2
    assert "config.json will do" in capsys.readouterr().err


def test_a_run_here_is_planned_for_macs_as_well(planned: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    load = load_of(planned)
    assert load.sft_updates == planned.phases[0].updates and load.examples == len(planned.material.rows)
    size = planned.config.batch_size
    assert load.seen in (load.sft_updates * size, planned.config.epochs * load.examples)
    assert load.target > 10 and load.prompt >= 1
    show_macs(Screen(soft_wrap=True), planned)
    assert capsys.readouterr().out.count(" GB, M") == 3


def test_what_would_take_longer_than_the_probe_is_not_known(
    planned: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_pass_cost", lambda network, most: 1.0)
    assert set(probe(planned).values()) == {None}
    show_time(Screen(soft_wrap=True), planned)
    assert capsys.readouterr().out == "time: not known: a probe of 10 s does not suffice for this model here\n"
