"""What SFT does besides its gradient: batches and accumulation, held-out loss, patience, the best adapter."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.memory.predict import MemoryPlan
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.layers import Split
from mlx_trace.train.examples import Example
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.run import plan, train
from mlx_trace.train.sft import Sft
from tests.train.conftest import adapt

import mlx.core as mx  # isort: skip
from mlx.utils import tree_flatten

RNG = np.random.default_rng(0)
ROWS = [Example([5, 6, *RNG.integers(8, 300, n % 5 + 1).tolist()], [*RNG.integers(8, 300, 3 + n % 9).tolist(), 2])
        for n in range(16)]  # fmt: skip


def phase(base: Base, micro_tokens: int = 8192, held_out: Any = (), **changes: Any) -> Sft:
    content = {"num_layers": 1, "batch_size": 8, "learning_rate": 1e-3, "grad_clip": 0.0} | changes
    plan = MemoryPlan(micro_tokens)
    return Sft(base, Split(base.network, 1), Config.model_validate(content), ROWS, held_out, plan, Ranks())


def weights(base: Base) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in tree_flatten(base.network.trainable_parameters())}


def after_one_update(random_model: Path, **how: Any) -> dict[str, np.ndarray]:
    base = load_base(str(random_model))
    adapt(base)
    phase(base, **how).update(0)
    return weights(base)


def test_micro_batches_and_accumulation_are_one_update(random_model: Path) -> None:
    """However it is cut, an update's loss is the mean over all of its target tokens."""
    whole = after_one_update(random_model, batch_size=16)
    for how in ({"batch_size": 16, "micro_tokens": 1}, {"batch_size": 16, "micro_tokens": 40},
                {"batch_size": 4, "grad_accumulation_steps": 4}):  # fmt: skip
        found = after_one_update(random_model, **how)
        assert all(np.allclose(found[name], value, atol=2e-5) for name, value in whole.items()), how


def test_a_batch_of_tokens_is_a_batch(random_base: Base) -> None:
    adapt(random_base)
    one = phase(random_base, batch_tokens=40)
    assert one.updates == len(one.batches.epoch(0)) > 16 * 8 // 40
    seen = sum(int(one.update(index)["target_tokens"]) for index in range(one.updates))
    assert seen == sum(len(row.target) for row in ROWS), "no token is dropped"


def test_the_held_out_loss_is_measured_and_nothing_is_learnt_from_it(random_base: Base) -> None:
    adapt(random_base)
    one = phase(random_base, held_out=ROWS[:3], steps_per_eval=1, epochs=2, learning_rate=1e-9)
    first = one.update(0)
    assert one.has_improved
    total = sum(len(row.target) for row in ROWS[:3])
    assert one.held_out is not None
    before = weights(random_base)
    loss = one.held_out.loss(one.learner)
    assert all(np.array_equal(value, before[name]) for name, value in weights(random_base).items())
    alone = [phase(random_base, held_out=[row]).held_out for row in ROWS[:3]]
    parts = [
        one.loss(phase(random_base).learner) * len(row.target) for one, row in zip(alone, ROWS, strict=False) if one
    ]
    assert loss == pytest.approx(sum(parts) / total, rel=1e-5)
    assert float(first["val_loss"]) == pytest.approx(loss, rel=1e-4)


def test_patience_ends_the_phase_and_survives_a_resume(random_base: Base) -> None:
    adapt(random_base)
    one = phase(random_base, held_out=ROWS[:2], steps_per_eval=1, patience=2, epochs=9, val_examples=2)
    losses = iter([3.0, 2.0, 2.5, 2.1, 1.0])
    assert one.held_out is not None
    one.held_out.loss = lambda _: next(losses)  # type: ignore[method-assign]
    done = []
    for index in range(4):
        one.update(index)
        done.append((one.has_improved, one.is_done))
    assert done == [(True, False), (True, False), (False, False), (False, True)]
    again = phase(random_base, held_out=ROWS[:2], steps_per_eval=1, patience=2, epochs=9, val_examples=2)
    again.restore(one.state(), {})
    assert again.is_done
    with pytest.raises(ValueError, match="val_examples"):
        Config.model_validate({"patience": 2})


def settings(model: Path, run: Path, **changes: Any) -> Config:
    return Config.model_validate({
        "model": str(model), "adapter_path": str(run), "num_layers": 1, "lora_parameters": {"rank": 4},
        "data": [{"source": "synthetic", "n": 14, "schemas": ["rate_equation"]}], "batch_size": 4, "contamination": [],
        "learning_rate": 1e-3, "max_seq_length": 2048, "val_examples": 4, "steps_per_eval": 1, "epochs": 2,
    } | changes)  # fmt: skip


def test_the_best_adapter_is_kept_beside_the_last(random_model: Path, tmp_path: Path) -> None:
    planned = plan(settings(random_model, tmp_path / "run"))
    assert (len(planned.material.rows), len(planned.material.held_out)) == (10, 4)
    (sft,) = planned.phases
    assert isinstance(sft, Sft)
    assert sft.held_out is not None
    losses = iter([3.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    sft.held_out.loss = lambda _: next(losses)  # type: ignore[method-assign]
    kept = {}

    def report(name: str, done: int, updates: int, metrics: Any) -> None:
        kept[done] = weights(planned.base)

    train(planned, report)
    best = mx.load(str(tmp_path / "run" / "best" / "adapters.safetensors"))
    assert all(np.array_equal(np.array(best[name]), value) for name, value in kept[2].items())
    assert json.loads((tmp_path / "run" / "best" / "adapter_config.json").read_text())["num_layers"] == 1
    last = mx.load(str(tmp_path / "run" / "adapters.safetensors"))
    assert all(np.array_equal(np.array(last[name]), value) for name, value in kept[6].items())


def test_patience_leaves_the_rest_of_the_run_to_follow(random_model: Path, tmp_path: Path) -> None:
    rl = {"iters": 1, "batch_size": 1, "group_size": 2, "max_tokens": 120}
    planned = plan(settings(random_model, tmp_path / "run", patience=1, reinforce=rl))
    sft = planned.phases[0]
    assert isinstance(sft, Sft)
    assert sft.held_out is not None
    losses = iter([1.0, 2.0, 0.0])
    sft.held_out.loss = lambda _: next(losses)  # type: ignore[method-assign]
    names: list[str] = []
    train(planned, lambda name, *_: names.append(name))
    assert names == ["sft", "sft", "rl"]


def test_holding_out_everything_is_refused(random_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="val_examples is 14, and there are 14"):
        plan(settings(random_model, tmp_path / "run", val_examples=14))
