"""The gradients of both losses: equal to the whole network's, whatever the network's shape and however it is cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.decode.engine import Engine
from mlx_trace.decode.episode import Episode, Request
from mlx_trace.decode.grammar.vocabulary import Vocabulary
from mlx_trace.decode.params import SamplingParams
from mlx_trace.language.knowledge import grounded_numbers
from mlx_trace.model.base import Base, load_base
from mlx_trace.train import learner as learner_module
from mlx_trace.train.examples import Example
from mlx_trace.train.rl.loss import Objective
from tests.conftest import byte_level_tokenizer, write_model
from tests.train.conftest import (
    adapt,
    close,
    gradient,
    half_precision_base,
    make_learner,
    plain_gradient,
    plain_policy,
    plain_sft,
    policy_batch,
    sft_batches,
)

import mlx.core as mx  # isort: skip
from mlx.utils import tree_flatten

ROWS = [
    Example([5, 6, 7, 8], [9, 10, 2]),
    Example([5, 6, 11, 12], [13, 14, 15, 16, 17, 2]),
    Example([5, 6, 20], [21, 2]),
]
QUESTION = "Tom has 3 bags of 12 eggs and sells half of them. How many are left?"
PROMPTS = [[5, 6, 7, 30], [5, 6, 9]]
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "tied": {"tie_word_embeddings": True},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": True, "max_position_embeddings": 512},
    "qwen3": {"model_type": "qwen3", "head_dim": 16, "max_position_embeddings": 512, "tie_word_embeddings": True},
    "smollm2": {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True},
    "smollm3": {"model_type": "smollm3", "num_hidden_layers": 4, "no_rope_layer_interval": 2},
    "scaled rope": {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                     "high_freq_factor": 4.0, "original_max_position_embeddings": 64}},
    "sliding": {"num_hidden_layers": 4, "sliding_window": 3,
                "layer_types": ["sliding_attention", "full_attention"] * 2},
    "4-bit": {"hidden_size": 64, "quantization": {"group_size": 32, "bits": 4}},
    "4-bit, tied": {"hidden_size": 64, "quantization": {"group_size": 32, "bits": 4}, "tie_word_embeddings": True},
}  # fmt: skip


@pytest.fixture(params=SHAPES)
def shaped(request: pytest.FixtureRequest, tmp_path: Path) -> Base:
    """A random base of each architecture's shape."""
    return load_base(str(write_model(tmp_path / "model", byte_level_tokenizer(), **SHAPES[request.param])))


def engine_of(base: Base, keep: int, constrained: bool = True, prefix: list[int] | None = None) -> Engine:
    vocabulary = Vocabulary(base.tokenizer) if constrained else None
    return Engine(base.network.eval(), {2}, vocabulary, [5, 6] if prefix is None else prefix, cached_layer=keep)


def sampled(engine: Engine, temperature: float = 1.0, group: int = 2, max_tokens: int = 150) -> list[Episode]:
    requests = [Request(PROMPTS[0], grounded_numbers(QUESTION)), Request(PROMPTS[1], grounded_numbers(QUESTION))]
    return engine.sample(requests, SamplingParams(max_tokens, temperature=temperature, n=group, seed=4))


def test_sft_gradients_are_the_whole_networks(shaped: Base) -> None:
    network = adapt(shaped, 2)
    learner = make_learner(network, 2)
    loss = sum(learner.measure(batch)[0] for batch in sft_batches(shaped, learner, ROWS))
    assert loss == pytest.approx(plain_sft(network, ROWS).item(), rel=1e-5)
    assert close(gradient(learner, sft_batches(shaped, learner, ROWS)), plain_gradient(network, plain_sft, ROWS))


@pytest.mark.parametrize("constrained", [True, False])
def test_reinforcement_gradients_are_the_whole_networks(shaped: Base, constrained: bool) -> None:
    """With the states that the rollout left, under its masks, at its temperature."""
    network = adapt(shaped, 1)
    engine = engine_of(shaped, shaped.num_layers - 1, constrained)
    episodes = sampled(engine, 0.8, max_tokens=150 if constrained else 12)
    learner, advantages = make_learner(network), [0.7, -0.3, 1.1, -0.2]
    batch, _ = policy_batch(learner, engine, episodes, advantages, 40.0, Objective(0.8))
    plain = plain_gradient(network, plain_policy, episodes, advantages, 40.0, 0.8, engine.masks)
    assert np.abs(plain).max() > 1e-3
    assert close(gradient(learner, [batch]), plain)


def test_samples_that_agree_have_the_gradients_of_samples(random_base: Base) -> None:
    """They were read once, and left their states once."""
    network = adapt(random_base, 1)
    engine = engine_of(random_base, random_base.num_layers - 1)
    episodes = sampled(engine, 0.01, group=4)
    assert 2 < len({tuple(one.activations) for one in episodes}) < len(episodes), "some are the same, others part"
    learner, advantages = make_learner(network), [0.7, -0.3, 1.1, -0.2, 0.4, 0.5, -0.6, 0.9]
    batch, _ = policy_batch(learner, engine, episodes, advantages, 40.0, Objective(1.0))
    plain = plain_gradient(network, plain_policy, episodes, advantages, 40.0, 1.0, engine.masks)
    assert close(gradient(learner, [batch]), plain)


@pytest.mark.parametrize("kind", ["lora", "dora", "full"])
@pytest.mark.parametrize("num_layers", [1, 2, -1])
def test_every_fine_tune_type_and_depth(random_base: Base, kind: str, num_layers: int) -> None:
    network = adapt(random_base, num_layers, fine_tune_type=kind)
    if kind == "full" and num_layers == -1:
        assert [layer for layer in network.layers if layer.trainable_parameters()], "all layers are trained"
    learner = make_learner(network, num_layers)
    assert close(gradient(learner, sft_batches(random_base, learner, ROWS)), plain_gradient(network, plain_sft, ROWS))


def test_prompts_that_share_nothing_and_prompts_that_share_all(random_base: Base, network: Any) -> None:
    learner = make_learner(network)
    for rows in ([Example([5], [6, 2]), Example([7, 8], [9, 2])], [Example([5, 6], [7, 2]), Example([5, 6], [8, 2])],
                 [Example([5], [7])]):  # fmt: skip
        plain = plain_gradient(network, plain_sft, rows)
        assert close(gradient(learner, sft_batches(random_base, learner, rows)), plain)
    engine = engine_of(random_base, 1, prefix=[])
    episodes = sampled(engine)
    batch, _ = policy_batch(learner, engine, episodes, [1.0] * 4, 9.0, Objective(1.0))
    assert close(gradient(learner, [batch]), plain_gradient(network, plain_policy, episodes, [1.0] * 4, 9.0, 1.0,
                                                             engine.masks))  # fmt: skip


def test_recomputing_activations_changes_no_gradient(random_base: Base) -> None:
    network = adapt(random_base, 2)
    kept, again = (make_learner(network, 2, recompute) for recompute in (False, True))
    before = dict(tree_flatten(network.trainable_parameters()))
    expected = gradient(kept, sft_batches(random_base, kept, ROWS))
    assert close(gradient(again, sft_batches(random_base, again, ROWS)), expected, 1e-6)
    after = dict(tree_flatten(network.trainable_parameters()))
    assert all(mx.array_equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("logits", [1, 700, 1 << 23])
def test_the_size_of_the_heads_parts_changes_nothing(
    random_base: Base, network: Any, logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_module, "LOGITS", logits)
    learner = make_learner(network)
    (batch,) = sft_batches(random_base, learner, ROWS)
    assert len(batch.chunks) == {1: 11, 700: 11, 1 << 23: 1}[logits]
    assert close(gradient(learner, [batch]), plain_gradient(network, plain_sft, ROWS))


def test_a_half_precision_base_trains_its_adapter_in_full_precision(tmp_path: Path) -> None:
    base = half_precision_base(tmp_path)
    network = adapt(base)
    learner = make_learner(network)
    batches = sft_batches(base, learner, ROWS)
    assert {state.dtype for batch in batches for state in batch.states} == {mx.bfloat16}
    first = sum(learner.measure(batch)[0] for batch in batches)
    for _ in range(5):
        for batch in batches:
            learner.add(batch)
        learner.step()
    assert sum(learner.measure(batch)[0] for batch in batches) < first
    assert {value.dtype for _, value in tree_flatten(network.trainable_parameters())} == {mx.float32}
    frozen = [value for name, value in tree_flatten(network.parameters()) if "lora" not in name]
    assert {value.dtype for value in frozen} == {mx.bfloat16}


def test_a_gradient_that_is_not_finite_changes_nothing(random_base: Base, network: Any) -> None:
    from mlx_trace.errors import UserError

    learner = make_learner(network)
    before = {name: mx.array(value) for name, value in tree_flatten(network.trainable_parameters())}
    for batch in sft_batches(random_base, learner, ROWS, divisor=float("nan")):
        learner.add(batch)
    with pytest.raises(UserError, match="not finite"):
        learner.step()
    after = dict(tree_flatten(network.trainable_parameters()))
    assert all(mx.array_equal(value, after[name]) for name, value in before.items())
