"""The network in two halves: what is refused, and that trees say what they should. Gradients: tests/train."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.layers import Level, LossPositions, PrefixTree, Split, check_split, rectangle, shared_length
from mlx_trace.train.run import plan

import mlx.core as mx  # isort: skip
import mlx.nn as nn


def test_a_network_that_splits_is_accepted(random_base: Base) -> None:
    check_split(random_base.network, "a name")


def test_layers_of_another_shape_are_refused_by_name(random_base: Base) -> None:
    del random_base.network.layers[1].mlp.gate_proj
    del random_base.network.layers[0].post_attention_layernorm
    with pytest.raises(UserError, match=r"not Llama-shaped.*no mlp.gate_proj, post_attention_layernorm"):
        check_split(random_base.network, "a name")


def test_layers_that_compute_something_else_are_refused(random_base: Base) -> None:
    class Louder(nn.RMSNorm):
        def __call__(self, x: mx.array) -> mx.array:
            return super().__call__(x) + x

    class Odd(type(random_base.network.layers[0])):  # type: ignore[misc]
        def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
            return super().__call__(x, mask, cache) * 1.1

    random_base.network.layers[0].__class__ = Odd
    with pytest.raises(UserError, match="compute something that is not known"):
        check_split(random_base.network, "a name")


def test_a_gpus_float32_is_not_held_to_its_last_bits(random_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products are TF32's there, and a network of some layers differs by half a percent."""
    monkeypatch.setattr("mlx_trace.model.layers.relative_difference", lambda *_: 0.005)
    if random_base.is_exact:
        with pytest.raises(UserError, match="compute something that is not known"):
            check_split(random_base.network, "a name")
    monkeypatch.setattr(mx, "default_device", lambda: mx.Device(mx.gpu))
    check_split(random_base.network, "a name")


def test_a_run_on_such_a_network_does_not_start(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(name: str, *_: object, **__: object) -> Base:
        base = load_base(name)
        del base.network.layers[1].mlp.up_proj
        return base

    monkeypatch.setattr("mlx_trace.train.run.load_base", odd)
    with pytest.raises(UserError, match="not Llama-shaped"):
        plan(Config.model_validate({"model": str(random_model), "adapter_path": str(tmp_path / "run")}))
    assert not (tmp_path / "run").exists()


def test_a_tree_masks_what_is_not_before_a_token() -> None:
    tree = PrefixTree([Level(np.array([2]), np.array([0])), Level(np.array([3, 1]), np.array([0, 0])),
                 Level(np.array([2, 1, 2]), np.array([1, 0, 0]))])  # fmt: skip
    assert [start.tolist() for start in tree.starts] == [[0], [2, 2], [3, 5, 5]]
    mask = np.array(tree.mask(2, None))[:, 0]  # (3, 2, 2 + 3 + 2)
    assert mask[0].astype(int).tolist() == [[1, 1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 1]]
    assert mask[1].astype(int).tolist()[0] == [1, 1, 1, 1, 1, 1, 0]
    near = np.array(tree.mask(2, 2))[:, 0]  # each token sees itself and the one before it
    assert near[0].astype(int).tolist() == [[0, 0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1, 1]]


def test_only_the_wanted_tokens_pass_the_last_layer(random_base: Base) -> None:
    split = Split(random_base.network, 1)
    tree = PrefixTree([Level(np.array([5, 3]), np.array([0, 0]))])
    states = split.frozen([mx.array([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]])], tree)
    every = split.trained(states, tree, LossPositions(np.arange(10), 2, 5))
    some = split.trained(states, tree, LossPositions(np.array([1, 4, 5]), 2, 5))
    assert some.shape == (3, 32)
    assert mx.allclose(some, every[mx.array([1, 4, 5])], atol=1e-5)


def test_rows_share_their_beginning_but_for_their_last_token() -> None:
    assert shared_length([[1, 2, 3], [1, 2, 4, 5]]) == 2
    assert shared_length([[1, 2], [1, 2, 3]]) == 1
    assert shared_length([[1, 2], [1, 2]]) == 1
    assert shared_length([[7], [7, 8]]) == 0
    assert shared_length([[1, 2, 3]]) == 2
    assert rectangle([[1], [2, 3]]).tolist() == [[1, 0], [2, 3]]
