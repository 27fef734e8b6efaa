"""Accuracy while a run trains: measured on schedule, changing nothing of the training, and it decides what is best."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.evaluate.evaluate import evaluate
from mlx_trace.evaluate.suites import suite
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import load_base
from mlx_trace.model.prompts import Prompter
from mlx_trace.train.interrupt import Interrupted
from mlx_trace.train.run import plan, train
from mlx_trace.train.validation import Validation
from tests.train.test_run import adapter, config, metrics, run

N = 3


def watched(model: Path, path: Path, **changes: Any) -> Config:
    """Return the configuration of six updates of SFT and three of RL, measured after every second."""
    return config(model, path, **{"eval_every": 2, "eval_suite": "everyday", "eval_n": N} | changes)


def scripted(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> None:
    """Have accuracies come in this order, whatever the network says."""
    left = iter(accuracies)
    monkeypatch.setattr(Validation, "_accuracy", lambda self: next(left))


def test_evaluating_changes_nothing_of_what_is_learnt(random_model: Path, tmp_path: Path) -> None:
    dropped = {"lora_parameters": {"rank": 4, "scale": 2.0, "dropout": 0.3}}
    run(config(random_model, tmp_path / "without", **dropped))
    run(watched(random_model, tmp_path / "with", **dropped))
    assert adapter(tmp_path / "with") == adapter(tmp_path / "without")
    measured = {"val_accuracy", "val_accuracy_before", "val_best", "val_n", "is_best"}
    rows = [{key: value for key, value in row.items() if key not in measured} for row in metrics(tmp_path / "with")]
    assert rows == metrics(tmp_path / "without")
    samples = [(tmp_path / name / "samples.jsonl").read_bytes() for name in ("with", "without")]
    assert samples[0] == samples[1] != b""


def test_it_is_measured_before_the_run_on_schedule_and_at_each_phase_s_end(random_model: Path, tmp_path: Path) -> None:
    run(watched(random_model, tmp_path / "run", eval_every=4))
    rows = metrics(tmp_path / "run")
    assert [(row["phase"], row["update"]) for row in rows if "val_accuracy" in row] == [
        ("sft", 4),
        ("sft", 6),
        ("rl", 3),
    ]
    assert [row["update"] for row in rows if "val_accuracy_before" in row] == [1]
    assert all(row["val_n"] == N for row in rows if "val_accuracy" in row)


def test_the_figure_is_that_of_eval(random_model: Path, tmp_path: Path) -> None:
    settings = watched(random_model, tmp_path / "run", eval_suite="synthetic", eval_n=6)
    run(settings)
    base = load_base(str(random_model))
    load_adapter(base, tmp_path / "run")
    records = evaluate(base, Prompter(base.tokenizer, settings.prompt), suite("synthetic", 6), 120, settings.decoding)
    assert metrics(tmp_path / "run")[-1]["val_accuracy"] == sum(record.correct for record in records) / 6


@pytest.mark.parametrize("stop_at", [1, 2, 3, 6, 8])
def test_stopped_and_resumed_the_best_is_the_same(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    accuracies = [0.2, 0.4, 0.4, 0.1, 0.5, 0.3]  # before, after 2, 4 and 6 of SFT, after 2 and 3 of RL
    whole, stopped = watched(random_model, tmp_path / "whole"), watched(random_model, tmp_path / "stopped")
    scripted(monkeypatch, accuracies)
    run(whole)
    scripted(monkeypatch, accuracies)
    with pytest.raises(Interrupted):
        run(stopped, stop_at=stop_at)
    done = 1 + sum("val_accuracy" in row for row in metrics(tmp_path / "stopped"))
    scripted(monkeypatch, accuracies[done:])
    run(stopped, resume=True)
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "whole")
    assert adapter(tmp_path / "stopped" / "best") == adapter(tmp_path / "whole" / "best")
    assert [row["update"] for row in metrics(tmp_path / "whole") if row.get("is_best")] == [2, 2]


def test_a_crash_repeats_what_was_measured(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(phase: str, done: int, *_: Any) -> None:
        if (phase, done) == ("sft", 4):
            raise RuntimeError("the power went")

    settings = watched(random_model, tmp_path / "run", save_every=3)
    scripted(monkeypatch, [0.1, 0.2, 0.3])
    with pytest.raises(RuntimeError):
        train(plan(settings), crash)
    scripted(monkeypatch, [0.3, 0.2, 0.1, 0.1])
    run(settings, resume=True)
    assert [row["val_best"] for row in metrics(tmp_path / "run") if "val_best" in row] == [0.2, 0.3, 0.3, 0.3, 0.3]


@given(st.lists(st.floats(0, 1), min_size=1))
def test_the_first_of_the_highest_is_the_best(accuracies: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        scripted(patched, accuracies)
        validation = object.__new__(Validation)
        validation.best, validation.problems = None, []
        bests = [bool(validation.measure()["is_best"]) for _ in accuracies]
    assert max(at for at, is_best in enumerate(bests) if is_best) == accuracies.index(max(accuracies))
    assert validation.best == max(accuracies)


def test_the_best_adapter_is_the_one_that_was_measured(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.5, 0.1, 0.2, 0.3, 0.4, 0.45])
    run(watched(random_model, tmp_path / "run"))
    base = load_base(str(random_model))
    load_adapter(base, tmp_path / "run" / "best")  # what the run began with: no update was better
    import mlx.core as mx

    moved = [name for name, value in mx.load(str(tmp_path / "run" / "best" / "adapters.safetensors")).items()
             if name.endswith("lora_b") and mx.abs(value).max().item() > 0]  # fmt: skip
    assert moved == []


def test_held_out_losses_do_not_decide_where_accuracy_does(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.0, 0.9, *[0.1] * 9])
    run(watched(random_model, tmp_path / "run", val_examples=2, steps_per_eval=1, reinforce={"iters": 0}))
    best = (tmp_path / "run" / "best" / "adapters.safetensors").read_bytes()
    scripted(monkeypatch, [0.0, 0.9, *[0.1] * 9])
    short = watched(random_model, tmp_path / "short", val_examples=2, steps_per_eval=1, reinforce={"iters": 0})
    with pytest.raises(Interrupted):
        run(short, stop_at=2)
    assert adapter(tmp_path / "short") == best


def test_what_cannot_be_measured_is_told_before_anything_is_loaded(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlx_trace.train import run as module

    monkeypatch.setattr(module, "load_base", lambda *_, **__: pytest.fail("the weights were read first"))
    unanswered = tmp_path / "open.jsonl"
    unanswered.write_text(json.dumps({"question": "How many?", "trace": None}) + "\n", encoding="utf-8")
    for name, said in (("absent.jsonl", "absent.jsonl: no such file"), (str(unanswered), "open.jsonl")):
        with pytest.raises(UserError, match=said):
            plan(watched(random_model, tmp_path / "run", eval_suite=name))
    with pytest.raises(UserError, match=r"reinforce\.max_tokens"):
        plan(watched(random_model, tmp_path / "run", reinforce={"iters": 0, "max_tokens": 9}))


def test_a_run_goes_on_with_the_problems_it_was_measured_on(random_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text(json.dumps({"question": "She has 4 and 5. How many?", "answer": "9"}) + "\n", encoding="utf-8")
    settings = watched(random_model, tmp_path / "run", eval_suite=str(data), reinforce={"iters": 0, "max_tokens": 120})
    with pytest.raises(Interrupted):
        run(settings, stop_at=2)
    plan(settings, resume=True)
    data.write_text(json.dumps({"question": "She has 4 and 6. How many?", "answer": "10"}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="its data are not those"):
        plan(settings, resume=True)


def test_fewer_replies_are_decoded_at_once_where_memory_is_short(random_model: Path, tmp_path: Path) -> None:
    rl = {"iters": 0, "max_tokens": 120}
    plenty = plan(watched(random_model, tmp_path / "run", reinforce=rl, eval_n=64, eval_suite="synthetic"))
    assert plenty.memory.max_sequences == 64
    few = plan(watched(random_model, tmp_path / "run", reinforce=rl, eval_n=64, eval_suite="synthetic", memory=0.0086))
    assert few.memory.max_sequences < 64


def test_it_is_not_measured_unless_that_is_asked_for(random_model: Path, tmp_path: Path) -> None:
    assert plan(config(random_model, tmp_path / "run", eval_suite="absent.jsonl")).validation is None
