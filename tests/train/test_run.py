"""A run trains, stops, goes on to the same bytes, and never leaves a broken or foreign directory behind."""

import errno
import json
import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.model import bursts
from mlx_trace.model.adapter import adapter_weights
from mlx_trace.train import checkpoint
from mlx_trace.train.interrupt import Interrupted
from mlx_trace.train.metrics import Metrics
from mlx_trace.train.run import Plan, check_folder, plan, train
from mlx_trace.train.run_dir import locked, read_run_config
from mlx_trace.train.schedule import learning_rate
from tests.conftest import byte_level_tokenizer, write_model

import mlx.core as mx  # isort: skip


def config(model: Path, run: Path, **changes: Any) -> Config:
    content: dict[str, Any] = {
        "model": str(model), "adapter_path": str(run), "num_layers": 2, "lora_parameters": {"rank": 4, "scale": 2.0},
        "data": [{"source": "synthetic", "n": 24, "schemas": ["rate_equation"]}], "batch_size": 4, "learning_rate": 1e-3,
        "decoding": {"max_tokens_per_pass": 8},
        "contamination": [], "max_seq_length": 2048, "save_every": 2, "warmup": 2, "lr_decay": "cosine",
        "reinforce": {"iters": 3, "batch_size": 2, "group_size": 2, "max_tokens": 120, "baseline": "ema"},
    }  # fmt: skip
    for key, value in changes.items():
        content[key] = value
    return Config.model_validate(content)


def run(settings: Config, resume: bool = False, stop_at: int | None = None, **options: Any) -> list[Metrics]:
    """Train; with `stop_at`, press Ctrl-C during that update."""
    seen: list[Metrics] = []

    def report(phase: str, done: int, updates: int, metrics: Metrics) -> None:
        seen.append(metrics)
        if len(seen) == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    train(plan(settings), report, resume, **options)
    return seen


def adapter(path: Path) -> bytes:
    return (path / "adapters.safetensors").read_bytes()


def metrics(path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    timed = {"seconds", "val_seconds", "peak_memory"} | {f"{part}_{unit}" for part in ("rollout", "learn") for unit in
                                          ("seconds", "tokens_per_second")}  # fmt: skip
    return [{key: value for key, value in row.items() if key not in timed} for row in rows]


def test_a_run_moves_lora_b_and_leaves_a_whole_directory(random_model: Path, tmp_path: Path) -> None:
    seen = run(config(random_model, tmp_path / "run"))
    assert [row["phase"] for row in seen] == ["sft"] * 6 + ["rl"] * 3
    weights = mx.load(str(tmp_path / "run" / "adapters.safetensors"))
    moved = [name for name, value in weights.items() if name.endswith("lora_b") and mx.abs(value).max().item() > 0]
    assert len(moved) == len([name for name in weights if name.endswith("lora_b")]) > 0
    assert {"adapters.safetensors", "adapter_config.json", "chat_template.jinja", "config.yaml", "metrics.jsonl", "plan.json",
            "samples.jsonl", "state"} == {
        path.name for path in (tmp_path / "run").iterdir()}  # fmt: skip
    assert read_run_config(tmp_path / "run") == config(random_model, tmp_path / "run")
    assert float(seen[0]["loss"]) > float(seen[5]["loss"])


@pytest.mark.parametrize("stop_at", [1, 3, 5, 6, 7, 8])
@pytest.mark.parametrize("baseline", ["ema", "leave_one_out"])
def test_stopped_and_resumed_ends_with_the_same_bytes(
    random_model: Path, tmp_path: Path, stop_at: int, baseline: str
) -> None:
    rl = {"iters": 3, "batch_size": 2, "group_size": 2, "max_tokens": 120, "baseline": baseline}
    whole, stopped = (config(random_model, tmp_path / name, reinforce=rl) for name in ("whole", "stopped"))
    run(whole)
    with pytest.raises(Interrupted):
        run(stopped, stop_at=stop_at)
    run(stopped, resume=True)
    assert adapter(tmp_path / "stopped") == adapter(tmp_path / "whole")
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "whole")


def test_stopped_many_times(random_model: Path, tmp_path: Path) -> None:
    whole, stopped = config(random_model, tmp_path / "whole"), config(random_model, tmp_path / "stopped")
    run(whole)
    for number in range(8):
        with pytest.raises(Interrupted):
            run(stopped, resume=number > 0, stop_at=1)
    run(stopped, resume=True)
    assert adapter(tmp_path / "stopped") == adapter(tmp_path / "whole")


def test_a_crash_after_the_last_checkpoint_repeats_what_was_lost(random_model: Path, tmp_path: Path) -> None:
    whole, crashed = config(random_model, tmp_path / "whole"), config(random_model, tmp_path / "crashed")
    run(whole)

    def crash(phase: str, done: int, updates: int, measured: Metrics) -> None:
        if (phase, done) == ("sft", 5):
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        train(plan(crashed), crash)
    assert len(metrics(tmp_path / "crashed")) == 5
    run(crashed, resume=True)
    assert adapter(tmp_path / "crashed") == adapter(tmp_path / "whole")
    assert metrics(tmp_path / "crashed") == metrics(tmp_path / "whole")


def test_a_crash_before_the_first_checkpoint_starts_over(random_model: Path, tmp_path: Path) -> None:
    whole, crashed = config(random_model, tmp_path / "whole"), config(random_model, tmp_path / "crashed")
    run(whole)

    def crash(*_: Any) -> None:
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        train(plan(crashed), crash)
    run(crashed, resume=True)
    assert metrics(tmp_path / "crashed") == metrics(tmp_path / "whole")


@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True}], ids=str)
def test_what_a_killed_process_had_half_written_is_removed(
    random_model: Path, tmp_path: Path, options: dict[str, bool]
) -> None:
    settings = config(random_model, tmp_path / "run", iters=2, reinforce={"iters": 0})
    run(settings)
    names = [
        ".plan.json.x1.tmp",
        ".config.yaml.x2.tmp",
        ".adapters.tmp.safetensors",
        "best/.adapter_config.json.x3.tmp",
    ]
    (tmp_path / "run" / "best").mkdir()
    for name in names:
        (tmp_path / "run" / name).write_text("half", encoding="utf-8")
    run(settings, **options)
    assert [path.name for path in (tmp_path / "run").rglob(".*") if ".tmp" in path.name] == []
    assert len(adapter(tmp_path / "run")) > 0


def test_resuming_a_finished_run_changes_nothing(random_model: Path, tmp_path: Path) -> None:
    settings = config(random_model, tmp_path / "run")
    run(settings)
    before = adapter(tmp_path / "run"), metrics(tmp_path / "run")
    assert run(settings, resume=True) == []
    assert (adapter(tmp_path / "run"), metrics(tmp_path / "run")) == before


def test_a_full_disk_loses_nothing(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, full = config(random_model, tmp_path / "whole"), config(random_model, tmp_path / "full")
    run(whole)
    saves = 0

    def failing(path: str, arrays: dict[str, mx.array], **options: Any) -> None:
        nonlocal saves
        saves += 1
        if saves > 4:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(path, arrays, **options)

    original = mx.save_safetensors
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.mx, "save_safetensors", failing)
        with pytest.raises(UserError, match="no space left"):
            run(full)
    run(full, resume=True)
    assert adapter(tmp_path / "full") == adapter(tmp_path / "whole")
    assert not list((tmp_path / "full" / "state").glob("*.tmp"))


def test_an_existing_run_is_kept_unless_replacing_it_is_asked_for(random_model: Path, tmp_path: Path) -> None:
    settings = config(random_model, tmp_path / "run", reinforce={"iters": 0})
    run(settings)
    before = adapter(tmp_path / "run")
    with pytest.raises(UserError, match="--resume continues it"):
        run(settings)
    assert adapter(tmp_path / "run") == before
    with locked(tmp_path / "run"), pytest.raises(UserError, match="another process"):
        run(settings, overwrite=True)
    assert adapter(tmp_path / "run") == before
    run(settings, overwrite=True)
    assert adapter(tmp_path / "run") == before


def test_a_directory_that_is_no_run_is_never_overwritten(random_model: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(UserError):
            run(config(random_model, tmp_path / "thesis"), overwrite=overwrite)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def test_a_run_can_start_from_another_one_s_adapter(random_model: Path, tmp_path: Path) -> None:
    first = config(random_model, tmp_path / "first", reinforce={"iters": 0})
    run(first)
    weights = adapter_of(plan(config(random_model, tmp_path / "next", resume_adapter_file=tmp_path / "first")))
    saved = mx.load(str(tmp_path / "first" / "adapters.safetensors"))
    assert all(mx.array_equal(weights[name], value) for name, value in saved.items())
    other = config(random_model, tmp_path / "other", reinforce={"iters": 0}, seed=8)
    run(other)
    both = [tmp_path / "first", tmp_path / "other" / "adapters.safetensors"]
    mean = adapter_of(plan(config(random_model, tmp_path / "next", resume_adapter_file=both)))
    theirs = mx.load(str(both[1]))
    for name, value in saved.items():
        assert mx.allclose(mean[name], (value + theirs[name]) / 2, atol=1e-7), name
        assert name.endswith("lora_a") or not mx.array_equal(mean[name], value)
    with pytest.raises(UserError, match="does not fit the new one") as error:
        plan(
            config(
                random_model,
                tmp_path / "next",
                resume_adapter_file=tmp_path / "first",
                lora_parameters={"keys": ["mlp.up_proj"]},
            )
        )
    others = [name for name in saved if "up_proj" not in name]
    assert len(error.value.faults) == 1 + len(others), "a heading, and a line each"
    for wrong in (tmp_path / "absent", tmp_path / "first" / "config.yaml"):
        with pytest.raises(UserError, match="resume_adapter_file"):
            plan(config(random_model, tmp_path / "next", resume_adapter_file=wrong))


def test_a_run_does_not_go_on_with_other_weights_of_its_model(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", byte_level_tokenizer())
    settings = config(model, tmp_path / "run", reinforce={"iters": 0})
    with pytest.raises(Interrupted):
        run(settings, stop_at=1)
    write_model(model, byte_level_tokenizer(), seed=1)
    with pytest.raises(UserError, match="started on other weights"):
        plan(settings, resume=True)
    write_model(model, byte_level_tokenizer())
    plan(settings, resume=True)


def adapter_of(planned: Plan) -> dict[str, mx.array]:
    return dict(adapter_weights(planned.base.network))


def test_two_processes_never_share_a_run(random_model: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(UserError, match="another process"):
        train(plan(config(random_model, tmp_path / "run")), lambda *_: None, resume=True)


@pytest.mark.parametrize("kind", ["dora", "full"])
def test_other_ways_of_fine_tuning_train_and_resume(random_model: Path, tmp_path: Path, kind: str) -> None:
    whole, stopped = (config(random_model, tmp_path / name, fine_tune_type=kind) for name in ("whole", "stopped"))
    run(whole)
    with pytest.raises(Interrupted):
        run(stopped, stop_at=4)
    run(stopped, resume=True)
    assert adapter(tmp_path / "stopped") == adapter(tmp_path / "whole")


def test_examples_that_do_not_fit_are_listed_and_none_is_cut(random_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        plan(config(random_model, tmp_path / "run", max_seq_length=300))
    assert "24 of 24 examples are longer than max_seq_length (300 tokens)" in error.value.faults[0]
    lengths = [int(fault.split()[0]) for fault in error.value.faults[1:]]
    assert len(lengths) == 10, "the worst offenders"
    assert lengths == sorted(lengths, reverse=True)


def test_prompts_that_leave_no_room_for_a_reply_are_listed(random_model: Path, tmp_path: Path) -> None:
    rl = {"iters": 1, "batch_size": 2, "group_size": 2, "max_tokens": 2000}
    with pytest.raises(UserError, match=r"leave no room for reinforce\.max_tokens"):
        plan(config(random_model, tmp_path / "run", reinforce=rl))


def test_rl_needs_no_gold_traces(random_model: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"question": f"She has {n},000 — ½ of it? $5 or 20%", "answer": f"x\n#### {n}"}) + "\n"
                            for n in range(5)), encoding="utf-8")  # fmt: skip
    data = [{"source": "file", "path": str(rows)}]
    settings = config(random_model, tmp_path / "run", data=data, epochs=0)
    seen = run(settings)
    assert [row["phase"] for row in seen] == ["rl"] * 3
    assert all(0 <= float(row["reward"]) <= 1 for row in seen)
    with pytest.raises(UserError, match="none of the problems has a gold trace"):
        plan(config(random_model, tmp_path / "other", data=data))


def test_nothing_to_train_is_an_error(random_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to train"):
        plan(config(random_model, tmp_path / "run", epochs=0, reinforce={"iters": 0}))


def test_more_layers_than_there_are_means_all_of_them_in_one_line(
    random_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = config(random_model, tmp_path / "run", num_layers=16, iters=1, reinforce={"iters": 0})
    run(asked)
    assert capsys.readouterr().err.count("has 2 layers: all of them are trained") == 1
    assert json.loads((tmp_path / "run" / "adapter_config.json").read_text(encoding="utf-8"))["num_layers"] == 2
    assert read_run_config(tmp_path / "run") == asked, "a resumed run is compared with what was asked for"
    run(asked, resume=True)


def test_unknown_keys_of_layers_are_told(random_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"lora_parameters\.keys"):
        config(random_model, tmp_path / "run", lora_parameters={"keys": ["nothing.here"]})


def test_only_the_top_layers_are_trained(random_model: Path, tmp_path: Path) -> None:
    run(config(random_model, tmp_path / "run", num_layers=1, reinforce={"iters": 0}))
    weights = mx.load(str(tmp_path / "run" / "adapters.safetensors"))
    assert {name.split(".")[2] for name in weights} == {"1"}


@pytest.mark.parametrize("decay", ["none", "cosine", "linear"])
def test_the_schedule_warms_up_and_never_falls_below_a_tenth(decay: str) -> None:
    rates = [learning_rate(at, 100, 1.0, 10, decay) for at in range(100)]
    assert rates[:10] == [pytest.approx((at + 1) / 10) for at in range(10)]
    assert rates[10] == pytest.approx(1.0)
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))
    assert rates[-1] >= 0.1 - 1e-9
    assert (rates[-1] < 0.2) == (decay != "none")


# --- the same command, the same bytes ----------------------------------------------------------------------------


def test_runs_that_do_not_say_how_wide_passes_are_end_alike_whatever_a_clock_says(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlx_trace.decode.engine import Engine

    seen = []
    for number, headroom in enumerate((1, 4096)):
        monkeypatch.setattr(Engine, "probe", lambda self, size, headroom=headroom: headroom)
        settings = config(random_model, tmp_path / str(number), decoding={}, epochs=0, reinforce={
            "iters": 2, "batch_size": 2, "group_size": 2, "max_tokens": 120, "baseline": "ema"})  # fmt: skip
        run(settings)
        seen.append((adapter(settings.adapter_path), (settings.adapter_path / "plan.json").read_text(encoding="utf-8")))
    assert seen[0] == seen[1]
    timed = config(random_model, tmp_path / "timed", decoding={"max_tokens_per_pass": "probe"}, epochs=0, reinforce={
        "iters": 1, "batch_size": 2, "group_size": 2, "max_tokens": 120, "baseline": "ema"})  # fmt: skip
    run(timed)
    assert json.loads((tmp_path / "timed" / "plan.json").read_text(encoding="utf-8"))["headroom"] == 4096


# --- what cannot be is found first -------------------------------------------------------------------------------

FOUND_FIRST: dict[str, tuple[dict[str, Any], str]] = {
    "data": ({"data": [{"source": "file", "path": "absent.jsonl"}]}, "absent.jsonl: no such file"),
    "lengths": ({"max_seq_length": 300}, "are longer than max_seq_length"),
    "replies": ({"reinforce": {"iters": 1, "max_tokens": 20}}, "reinforce.max_tokens: .*the shortest trace takes"),
    "room": ({"reinforce": {"iters": 1, "max_tokens": 2000}}, "leave no room"),
    "reward": ({"reinforce": {"iters": 1, "reward_function": "absent.py:reward"}}, "absent.py is no Python file"),
    "start": ({"resume_adapter_file": "absent"}, "absent: no such file"),
    "memory": ({"memory": 1e-6}, "memory: this run needs"),
    "epochs": ({"epochs": 100_000, "data": [{"source": "synthetic", "n": 1001}], "max_seq_length": 4000}, "in all"),
    "held out": ({"val_examples": 24}, "val_examples is 24"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND_FIRST)
def test_what_data_shapes_and_names_tell_is_told_before_weights_are_read(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from mlx_trace.train import run as module

    def loaded(*_: Any) -> Any:
        raise AssertionError("the weights were read first")

    monkeypatch.setattr(module, "load_base", loaded)
    monkeypatch.chdir(tmp_path)
    changes, said = FOUND_FIRST[name]
    with pytest.raises(UserError, match=said):
        plan(config(random_model, tmp_path / "run", **changes))


def test_a_folder_that_cannot_be_used_is_told_before_anything_is_loaded(random_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("", encoding="utf-8")
    for name, said in (
        ("file", "is a file"),
        ("full", "is not empty, and no run"),
        ("file/run", "file cannot be written to"),
    ):
        with pytest.raises(UserError, match=said):
            check_folder(config(random_model, tmp_path / name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


# --- what goes wrong in learning ---------------------------------------------------------------------------------


def test_on_a_mac_a_run_holds_mlx_and_the_buffers_that_it_keeps_to_its_memory_and_then_to_what_it_was(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [99 << 30]

    def set_limit(limit: int) -> int:
        limits.append(limit)
        return limits[-2]

    monkeypatch.setattr(bursts, "on_metal", lambda: True)
    monkeypatch.setattr(mx, "set_memory_limit", set_limit)
    settings = config(random_model, tmp_path / "run", memory=1.5, reinforce={"iters": 0})
    run(settings)
    assert limits == [99 << 30, 1_500_000_000, 99 << 30]
    with pytest.raises(UserError, match=r"diverged|not finite"):
        run(settings.model_copy(update={"adapter_path": tmp_path / "other", "learning_rate": 1e30}))
    assert limits[3:] == [1_500_000_000, 99 << 30]


def test_a_run_that_diverges_says_so_and_stops(random_model: Path, tmp_path: Path) -> None:
    for number, changes in enumerate(({"learning_rate": 1.0, "lora_parameters": {"rank": 4, "scale": 1e6}},
                                      {"learning_rate": 1.0, "lora_parameters": {"rank": 4, "scale": 1e30}})):  # fmt: skip
        with pytest.raises(UserError, match=r"diverged|not finite"):
            run(config(random_model, tmp_path / str(number), reinforce={"iters": 0}, epochs=20, warmup=0, **changes))


def test_a_run_that_has_unlearnt_says_so_at_its_end_though_it_was_stopped(random_model: Path, tmp_path: Path) -> None:
    content = {"iters": 4, "batch_size": 2, "group_size": 2, "max_tokens": 120, "baseline": "ema"}
    settings = config(random_model, tmp_path / "run", epochs=0, reinforce=content)
    assert train(plan(settings), lambda *_: None) == []
    file, rows = tmp_path / "run" / "metrics.jsonl", metrics(tmp_path / "run")
    rows[0] |= {"reward": 1.0, "reward_std": 0.0, "groups": 50}  # as if it had found a policy that it has lost since
    file.write_text("no row\n" + "".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    (doubt,) = train(plan(settings, resume=True), lambda *_: None, resume=True)
    assert "rewards have fallen, from 1 to" in doubt
