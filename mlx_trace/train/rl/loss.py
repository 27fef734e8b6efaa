"""The policy-gradient loss of sampled tokens, with the temperature and the masks that they were sampled with.

Takes packed episodes and the states below the trained layers. Knows nothing of rewards but their advantages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_trace.decode.sampler import Masks, by_kind, padded, taken
from mlx_trace.model.head import head, head_size, listed_logits
from mlx_trace.model.layers import LossPositions, PrefixTree
from mlx_trace.train.learner import Chunk, Loss, Measured, MicroBatch, in_chunks, listed_runs
from mlx_trace.train.rl.packing import Packed, SampledTokens


@dataclass(frozen=True, slots=True)
class Objective:
    """What a token's loss is made of, besides its advantage."""

    temperature: float
    clip: float = 0.0  # of the ratio to the sampling policy; 0 is none
    kl: float = 0.0  # weight of the divergence from the reference
    entropy: float = 0.0  # weight of the entropy, as a bonus


def micro_batch(
    network: Any, states: Sequence[mx.array], tree: PrefixTree, packed: Packed, objective: Objective, divisor: float,
    masks: Masks,
) -> tuple[MicroBatch, list[int]]:  # fmt: skip
    """Return episodes as a micro-batch, and the index of each of its measurements among the sampled tokens."""
    width, tokens = tree.levels[-1].width, packed.tokens
    places = [row * width + column for row, episode in enumerate(packed.episodes)
              for column, sampled in enumerate(episode.sampled) if sampled]  # fmt: skip
    listed, masked = by_kind(tokens.choices)
    listed.sort(key=lambda index: len(tokens.choices[index].ids))  # type: ignore[union-attr]
    order = [*listed, *masked]
    chunks = _listed_chunks(network, tokens.take(listed), objective, divisor, int(states[-1].shape[-1]))
    others = tokens.take(masked)
    chunks += in_chunks(
        len(masked), head_size(network),
        lambda start, stop: _masked(network, others.take(range(start, stop)), objective, divisor, masks),
    )  # fmt: skip
    positions = LossPositions(np.array(places), len(packed.episodes), width)
    return MicroBatch(states, tree, positions, chunks, mx.array(order)), order


def _listed_chunks(
    network: Any, tokens: SampledTokens, objective: Objective, divisor: float, width: int
) -> list[Chunk]:
    """Return the losses of tokens sampled from lists, short lists first, for which the head is run at those alone."""
    lengths = [len(choice.ids) for choice in tokens.choices if choice is not None]
    return [Chunk(stop - start, _listed(network, tokens.take(range(start, stop)), objective, divisor))
            for start, stop in listed_runs(lengths, width)]  # fmt: skip


def _listed(network: Any, tokens: SampledTokens, objective: Objective, divisor: float) -> Loss:
    ids = padded([choice.ids for choice in tokens.choices if choice is not None])  # (S, A), filled up with -1
    chosen = mx.array([choice.ids.index(token) for choice, token in zip(tokens.choices, tokens.tokens, strict=True)
                       if choice is not None])  # fmt: skip
    offered = mx.array(ids)

    def logits(states: mx.array) -> mx.array:
        listed = listed_logits(network, states, mx.maximum(offered, 0)).astype(mx.float32) / objective.temperature
        return mx.where(offered >= 0, listed, -mx.inf)

    return _loss(logits, chosen, tokens, objective, divisor)


def _masked(network: Any, tokens: SampledTokens, objective: Objective, divisor: float, masks: Masks) -> Loss:
    def logits(states: mx.array) -> mx.array:
        return masks.apply(head(network, states).astype(mx.float32) / objective.temperature, tokens.choices)

    return _loss(logits, mx.array(tokens.tokens), tokens, objective, divisor)


def _loss(
    logits: Callable[[mx.array], mx.array], chosen: mx.array, tokens: SampledTokens, objective: Objective,
    divisor: float,
) -> Loss:  # fmt: skip
    """Return the loss of tokens: (clipped ratio · advantage, KL, entropy), summed and divided."""
    advantages, old, ref, counts = (
        mx.array(array) for array in (tokens.advantages, tokens.old_logprobs, tokens.ref_logprobs, tokens.counts)
    )  # fmt: skip

    def loss(states: mx.array) -> tuple[mx.array, Measured]:
        logprobs, entropies = _distribution(logits(states), chosen)
        return token_losses(logprobs, entropies, advantages, old, ref, objective, divisor, counts)

    return loss


def _distribution(logits: mx.array, chosen: mx.array) -> tuple[mx.array, mx.array]:
    """Return log p(chosen) and the entropy, (S,) each, of logits (S, A); -inf is what cannot be sampled."""
    top = mx.stop_gradient(logits.max(axis=-1, keepdims=True))
    weights = mx.exp(logits - top)
    total = weights.sum(axis=-1)
    log_total = mx.log(total) + top[:, 0]
    mean = (weights * mx.where(weights > 0, logits, 0.0)).sum(axis=-1) / total
    return taken(logits, chosen) - log_total, log_total - mean


def token_losses(
    logprobs: mx.array, entropies: mx.array, advantages: mx.array, old_logprobs: mx.array, ref_logprobs: mx.array,
    objective: Objective, divisor: float, counts: mx.array | float = 1.0,
) -> tuple[mx.array, Measured]:  # fmt: skip
    """Return Σ count · loss / divisor, and each token's log-probability, entropy and divergence, (K,) each, in nats.

    Without a clip the loss is REINFORCE's, −advantage · log p (Williams 1992); with one, PPO's clipped surrogate
    (Schulman et al. 2017, eq. 7) against the policy that sampled. The divergence from the reference is the k3 estimator
    e^r − r − 1 of KL(policy ‖ reference), r the log-ratio of reference to policy (Schulman 2020,
    "Approximating KL Divergence"): never negative, and exact at r = 0.
    """
    log_ratio = ref_logprobs - logprobs
    divergence = mx.exp(log_ratio) - log_ratio - 1
    if objective.clip:
        ratio = mx.exp(logprobs - old_logprobs)
        bounded = mx.clip(ratio, 1 - objective.clip, 1 + objective.clip)
        gain = mx.minimum(ratio * advantages, bounded * advantages)
    else:
        gain = logprobs * advantages
    losses = -gain
    if objective.kl:
        losses = losses + objective.kl * divergence
    if objective.entropy:
        losses = losses - objective.entropy * entropies
    return (counts * losses).sum() / divisor, {"logprob": logprobs, "entropy": entropies, "kl": divergence}
