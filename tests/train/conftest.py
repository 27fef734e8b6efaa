"""What the tests of training share: the whole network's own way to losses, and ours in two halves, to compare."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.config import Config
from mlx_trace.decode.engine import Engine
from mlx_trace.decode.episode import Episode
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.decode.sampler import Masks
from mlx_trace.model.adapter import attach_adapter
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.layers import Split
from mlx_trace.train.activation_cache import ActivationCache
from mlx_trace.train.examples import Example
from mlx_trace.train.learner import Learner, MicroBatch
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rl.loss import Objective, micro_batch
from mlx_trace.train.rl.packing import Packed, prefix_tree, sampled_tokens
from mlx_trace.train.rl.reinforce import Reinforce
from mlx_trace.train.rl.rollout import Rollout
from mlx_trace.train.sft import PackedExamples
from tests.conftest import byte_level_tokenizer, write_model

import mlx.core as mx  # isort: skip
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_flatten

NUM_LAYERS = 1  # of the random network's two, so that both halves have something to do


def adapt(base: Base, num_layers: int = NUM_LAYERS, **changes: Any) -> Any:
    """Give a base an adapter that has moved away from zero, so that all of its gradients count; return the network."""
    content = {"num_layers": num_layers, "lora_parameters": {"rank": 4, "scale": 2.0}, **changes}
    attach_adapter(base, Config.model_validate(content))
    mx.random.seed(1)
    moved = [(name, value + 0.05 * mx.random.normal(value.shape).astype(value.dtype)) for name, value in
             tree_flatten(base.network.trainable_parameters())]  # fmt: skip
    base.network.load_weights(moved, strict=False)
    return base.network


@pytest.fixture
def network(random_base: Base) -> Any:
    """The random network with a moved adapter on its top layer."""
    return adapt(random_base)


def half_precision_base(folder: Path) -> Base:
    """Write a random model in bf16, and load it to be computed so."""
    model = write_model(folder / "m", byte_level_tokenizer())
    weights = {name: value.astype(mx.bfloat16) for name, value in mx.load(str(model / "model.safetensors")).items()}
    mx.save_safetensors(str(model / "model.safetensors"), weights)
    return load_base(str(model), dtype="bfloat16")


def flat(gradients: Any) -> np.ndarray:
    """Return a tree of gradients as one vector."""
    return np.concatenate([np.array(value.astype(mx.float32)).ravel() for _, value in tree_flatten(gradients)])


def close(one: np.ndarray, other: np.ndarray, tolerance: float = 1e-5) -> bool:
    """Tell whether two gradients agree, to the largest entry's scale."""
    return bool(np.abs(one - other).max() <= tolerance * max(1e-3, float(np.abs(other).max())))


# --- in two halves ---------------------------------------------------------------------------------------------


def make_learner(network: Any, num_layers: int = NUM_LAYERS, recompute: bool = False, clip: float = 0.0) -> Learner:
    return Learner(network, Split(network, num_layers, recompute), optim.AdamW(1e-2), clip, Ranks())


def gradient(learner: Learner, batches: Sequence[MicroBatch]) -> np.ndarray:
    """Return the gradient of micro-batches together."""
    for batch in batches:
        learner.add(batch)
    found, learner._gradients = learner._gradients, None
    return flat(found)


def sft_batches(
    base: Base,
    learner: Learner,
    rows: Sequence[Example],
    tokens: int = 10_000,
    divisor: float | None = None,
    name_weight: float = 1.0,
) -> list[MicroBatch]:
    """Return rows as SFT's micro-batches; the divisor is the targets' weight unless given."""
    laid = PackedExamples(base, learner.split, rows, name_weight)
    cache = ActivationCache(learner.split, rows, laid.shared, "off", base.path, lambda index: [index])
    divisor = divisor or laid.weight(range(len(rows)))
    return [laid.pack(chosen, cache, divisor) for chosen in laid.micro_batches(range(len(rows)), tokens, Ranks())]


def policy_batch(
    learner: Learner, engine: Engine, episodes: Sequence[Episode], advantages: Sequence[float], divisor: float,
    objective: Objective, reference: np.ndarray | None = None,
) -> tuple[MicroBatch, list[int]]:  # fmt: skip
    """Return episodes that an engine sampled as a micro-batch, and its order of their tokens."""
    assert engine.activations is not None
    states, tree = prefix_tree(episodes, engine.prefix_activations, engine.activations.states())
    for episode, advantage in zip(episodes, advantages, strict=True):
        episode.advantage = advantage
    tokens = sampled_tokens(episodes)
    packed = Packed(list(episodes), tokens if reference is None else tokens.against(reference))
    return micro_batch(learner.network, states, tree, packed, objective, divisor, engine.masks)


# --- the whole network -----------------------------------------------------------------------------------------


def whole_logprobs(network: Any, prompt: Sequence[int], reply: Sequence[int], temperature: float = 1.0) -> mx.array:
    """Return the logits of a reply's tokens divided by the temperature, (T, V), from a pass over everything."""
    logits = network(mx.array([[*prompt, *reply]]))[0].astype(mx.float32)
    return logits[len(prompt) - 1 : -1] / temperature


def plain_sft(network: Any, rows: Sequence[Example]) -> mx.array:
    """Return the mean cross-entropy over target tokens."""
    losses = [nn.losses.cross_entropy(whole_logprobs(network, row.prompt, row.target), mx.array(row.target))
              for row in rows]  # fmt: skip
    return mx.concatenate(losses).mean()


def plain_policy(
    network: Any, episodes: Sequence[Episode], advantages: Sequence[float], divisor: float, temperature: float,
    masks: Masks,
) -> mx.array:  # fmt: skip
    """Return −Σ advantage · log-probability / divisor, over sampled tokens under their masks."""
    total = mx.array(0.0)
    for episode, advantage in zip(episodes, advantages, strict=True):
        logits = whole_logprobs(network, episode.prompt_ids, episode.ids, temperature)
        places = [at for at, drawn in enumerate(episode.sampled) if drawn]
        masked = mx.stack(
            [_offered(logits[at], choice, masks) for at, choice in zip(places, episode.choices, strict=True)]
        )
        tokens = mx.array([episode.ids[at] for at in places])
        total = total - advantage * (mx.take_along_axis(masked, tokens[:, None], axis=-1)[:, 0]
                                     - mx.logsumexp(masked, axis=-1)).sum()  # fmt: skip
    return total / divisor


def _offered(logits: mx.array, choice: Choice | None, masks: Masks) -> mx.array:
    """Return one token's logits (V,) with -inf for what was not offered."""
    if choice is None or choice.mask is not None:
        return masks.apply(logits[None], [choice])[0]
    listed = np.isin(np.arange(logits.shape[0]), choice.ids)
    return mx.where(mx.array(listed), logits, -mx.inf)


def plain_gradient(network: Any, loss: Any, *args: Any) -> np.ndarray:
    """Return the gradient of a loss of the whole network."""
    _, found = nn.value_and_grad(network, loss)(network, *args)
    return flat(found)


# --- reinforcement ---------------------------------------------------------------------------------------------


def scored(phase: Reinforce) -> Rollout:
    """Return the first update's rollout, scored, with its advantages."""
    rollout = phase._sample(0)
    phase._score(rollout, 0)
    phase._set_advantages(rollout)
    return rollout
