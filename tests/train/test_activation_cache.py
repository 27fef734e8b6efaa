"""What the trunk makes of an example is the same wherever it is kept, and computed once where it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.memory.predict import MemoryPlan
from mlx_trace.model.base import Base
from mlx_trace.model.layers import Split
from mlx_trace.train import activation_cache as states_module
from mlx_trace.train.activation_cache import own_tokens
from mlx_trace.train.examples import Example
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.sft import Sft
from tests.train.conftest import adapt

import mlx.core as mx  # isort: skip
from mlx.utils import tree_flatten

RNG = np.random.default_rng(0)
ROWS = [Example([5, 6, 7, *RNG.integers(8, 300, n % 7).tolist()], [*RNG.integers(8, 300, 3 + n % 11).tolist(), 2])
        for n in range(23)]  # fmt: skip


def phase(base: Base, folder: Path, keep: Any, micro_tokens: int = 60) -> Sft:
    config = Config.model_validate({"num_layers": 1, "adapter_path": str(folder), "batch_size": 5, "epochs": 3,
                                    "learning_rate": 1e-3})  # fmt: skip
    return Sft(base, Split(base.network, 1), config, ROWS, [], MemoryPlan(micro_tokens, activation_cache=keep), Ranks())


def trained(base: Base, one: Sft, first: int = 0) -> tuple[list[float], dict[str, mx.array]]:
    losses = [float(one.update(index)["loss"]) for index in range(first, one.updates)]
    return losses, dict(tree_flatten(base.network.trainable_parameters()))


@pytest.mark.parametrize("keep", ["memory", "disk"])
def test_kept_or_not_the_updates_are_the_same(random_model: Path, tmp_path: Path, keep: str) -> None:
    from mlx_trace.model.base import load_base

    found = []
    for where in ("off", keep):
        base = load_base(str(random_model))
        adapt(base)
        one = phase(base, tmp_path, where)
        found.append((one, *trained(base, one)))
    (plain, losses, weights), (kept, others, also) = found
    assert losses == pytest.approx(others, rel=1e-5)
    assert all(mx.allclose(value, also[name], atol=1e-5) for name, value in weights.items())
    own = sum(len(row) - 1 - 3 for row in ROWS)
    assert plain.activations.tokens_read > 3 * own
    assert own < kept.activations.tokens_read < own * 1.6, (
        "once an example, and the shared beginning once a micro-batch"
    )


@pytest.mark.parametrize("keep", ["memory", "disk"])
def test_states_are_the_same_to_the_bit_whenever_they_are_computed(
    random_base: Base, tmp_path: Path, keep: str
) -> None:
    """A resumed run meets examples in other batches first; it reads them in the groups of the first epoch."""
    adapt(random_base)
    straight, resumed = (phase(random_base, tmp_path, keep) for _ in range(2))
    for index in range(straight.updates):
        for chosen in straight.examples.micro_batches(straight.batches[index], 60, Ranks()):
            straight.activations(chosen)
    for index in range(7, resumed.updates):
        for chosen in resumed.examples.micro_batches(resumed.batches[index], 60, Ranks()):
            levels = [straight.activations(chosen)[0], resumed.activations(chosen)[0]]
            for one, other in zip(*levels, strict=True):
                assert np.array_equal(np.array(one), np.array(other))


def test_memory_keeps_few_large_arrays(random_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapt(random_base)
    plain, kept = phase(random_base, tmp_path, "memory"), phase(random_base, tmp_path, "memory", 20)
    for index in range(len(ROWS)):
        plain.activations([index])
    before = {index: np.array(plain.activations.store[index]) for index in range(-1, len(ROWS))}
    monkeypatch.setattr(states_module, "_BLOCK", 4 * 32 * 40)  # forty tokens
    for index in range(len(ROWS)):
        kept.activations([index])
    assert len(plain.activations.store.blocks) < len(ROWS) / 2, "one a group, not one an example"
    sizes = [block.shape[0] for block in kept.activations.store.blocks]
    assert kept.activations.store.open > 1 and min(sizes[: kept.activations.store.open]) >= 40
    assert len(sizes) <= kept.activations.store.open + 3, "what is open is less than a block"
    for index, array in before.items():
        assert np.allclose(array, np.array(kept.activations.store[index]), atol=1e-5), index


def test_half_precision_states_survive_the_disk(random_base: Base, tmp_path: Path) -> None:
    random_base.network.set_dtype(mx.bfloat16)
    one = phase(random_base, tmp_path, "disk")
    first, again = one.activations([3, 4])[0], one.activations([3, 4])[0]
    assert {state.dtype for state in again} == {mx.bfloat16}
    assert all(mx.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert list(tmp_path.iterdir()) == [], "the file has no name, so that nothing is left behind"


def test_a_full_disk_is_a_line_with_advice(random_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    one = phase(random_base, tmp_path, "disk")
    monkeypatch.setattr(states_module.os, "pwrite", full)
    with pytest.raises(UserError, match="activation_cache: disk: no space left on device"):
        one.activations([0, 1])


def test_the_size_is_known_before() -> None:
    assert own_tokens([Example([1, 2, 3], [4, 5]), Example([1, 2], [4])], 1) == 3 + 1
