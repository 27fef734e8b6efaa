"""What reinforcement makes of sampled tokens: log-probabilities as they were drawn with, and a loss.

Takes episodes, with the states that the rollout left of them; forced tokens have no part in the loss, and nothing
behind the last sampled one is computed. Knows nothing of rewards but their advantages.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import mlx.core as mx
import numpy as np

from mlx_trace.decode.episode import Episode
from mlx_trace.decode.grammar.automaton import Choice
from mlx_trace.decode.sampler import Masks, padded, parted, taken
from mlx_trace.model.base import head, head_size, listed_logits
from mlx_trace.model.layers import Level, LossPositions, PrefixTree, gather, rectangle
from mlx_trace.train.learner import Found, Loss, MicroBatch, Part, in_parts

_ROWS: Final = 1 << 23  # numbers of the head's weights that are gathered at once for short lists


@dataclass(frozen=True, slots=True)
class Objective:
    """What a token's loss is made of, besides its advantage."""

    temperature: float
    clip: float = 0.0  # of the ratio to the sampling policy; 0 is none
    kl: float = 0.0  # weight of the divergence from the reference
    entropy: float = 0.0  # weight of the entropy, as a bonus


@dataclass(frozen=True, slots=True)
class Sampled:
    """Sampled tokens and what is known of them, (K,) each, in the order of the episodes."""

    tokens: list[int]
    choices: list[Choice | None]
    advantages: np.ndarray
    before: np.ndarray  # log-probabilities when they were drawn
    reference: np.ndarray  # log-probabilities under the reference
    counts: np.ndarray  # samples that each stands for

    def take(self, order: Sequence[int]) -> "Sampled":
        """Return some of them."""
        arrays = (array[list(order)] for array in (self.advantages, self.before, self.reference, self.counts))
        return Sampled([self.tokens[at] for at in order], [self.choices[at] for at in order], *arrays)

    def against(self, reference: np.ndarray) -> "Sampled":
        """Return them with the reference's log-probabilities."""
        return replace(self, reference=reference)


def sampled_of(
    episodes: Sequence[Episode], advantages: Sequence[float], counts: Sequence[int] | None = None
) -> Sampled:
    """Return the sampled tokens of episodes, each with its episode's advantage, and its count of like samples."""
    lengths = [len(one.logprobs) for one in episodes]
    tokens = [token for one in episodes for token, drawn in zip(one.ids, one.sampled, strict=True) if drawn]
    choices = [choice for one in episodes for choice in one.choices]
    before = np.array([logprob for one in episodes for logprob in one.logprobs], dtype=np.float32)
    pulls, times = (np.repeat(np.asarray(own, dtype=np.float32), lengths)
                    for own in (advantages, counts or [1] * len(episodes)))  # fmt: skip
    return Sampled(tokens, choices, pulls, before, before, times)


def tree_of(episodes: Sequence[Episode], prefix: Sequence[int], kept: mx.array) -> tuple[list[mx.array], PrefixTree]:
    """Return each level's states (R, T, D), and the tree: the prefix, the prompts, the episodes.

    `kept` (N, D) are the states the rollout left, `prefix` the places of what all prompts begin with.
    """
    prompts = list(dict.fromkeys(one.prompt for one in episodes))
    starts = {one.prompt: list(one.prompt_places) for one in episodes}
    is_common = all(starts[at][: len(prefix)] == list(prefix) and len(starts[at]) > len(prefix) for at in prompts)
    common = list(prefix) if is_common else []
    own = [one.places[: read_length(one)] for one in episodes]
    rows = [[common], [starts[at][len(common) :] for at in prompts], own]
    parents = [[0], [0] * len(prompts), [prompts.index(one.prompt) for one in episodes]]
    empty = 0 if common else 1 if any(starts.values()) else 2  # a prompt of one token has nothing before its reply
    rows, parents = rows[empty:], parents[empty:]
    parents[0] = [0] * len(rows[0])
    levels = [Level(np.array([len(row) for row in places]), np.array(above))
              for places, above in zip(rows, parents, strict=True)]  # fmt: skip
    return [gather(kept, rectangle(places)) for places in rows], PrefixTree(levels)


def read_length(episode: Episode) -> int:
    """Return how many tokens, from the prompt's last on, must be read to see every sampled one come."""
    return max(at + 1 for at, drawn in enumerate(episode.sampled) if drawn)


def lay_out(
    network: Any, states: Sequence[mx.array], tree: PrefixTree, episodes: Sequence[Episode], sampled: Sampled,
    objective: Objective, divisor: float, masks: Masks,
) -> tuple[MicroBatch, list[int]]:  # fmt: skip
    """Return episodes as a micro-batch, and the place of each of its measurements among the sampled tokens."""
    width = tree.levels[-1].width
    places = [row * width + at for row, one in enumerate(episodes) for at, drawn in enumerate(one.sampled) if drawn]
    listed, others = parted(sampled.choices)
    listed.sort(key=lambda at: len(sampled.choices[at].ids))  # type: ignore[union-attr]
    order = [*listed, *others]
    parts = _listed_parts(network, sampled.take(listed), objective, divisor, int(states[-1].shape[-1]))
    free = sampled.take(others)
    parts += in_parts(
        len(others), head_size(network),
        lambda start, stop: _free(network, free.take(range(start, stop)), objective, divisor, masks),
    )  # fmt: skip
    wanted = LossPositions(np.array(places), len(episodes), width)
    return MicroBatch(states, tree, wanted, parts, mx.array(order)), order


def _listed_parts(network: Any, sampled: Sampled, objective: Objective, divisor: float, width: int) -> list[Part]:
    """Return the losses of tokens drawn from lists, short lists first, for which the head is run at those alone."""
    lengths = [len(choice.ids) for choice in sampled.choices if choice is not None]
    parts: list[Part] = []
    start = 0
    while start < len(lengths):
        stop = start + 1
        while stop < len(lengths) and (stop + 1 - start) * lengths[stop] * width <= _ROWS:
            stop += 1
        parts.append(Part(stop - start, _listed(network, sampled.take(range(start, stop)), objective, divisor)))
        start = stop
    return parts


def _listed(network: Any, sampled: Sampled, objective: Objective, divisor: float) -> Loss:
    ids = padded([choice.ids for choice in sampled.choices if choice is not None])  # (S, A), filled up with -1
    chosen = mx.array([choice.ids.index(token) for choice, token in zip(sampled.choices, sampled.tokens, strict=True)
                       if choice is not None])  # fmt: skip
    offered = mx.array(ids)

    def logits(states: mx.array) -> mx.array:
        found = listed_logits(network, states, mx.maximum(offered, 0)).astype(mx.float32) / objective.temperature
        return mx.where(offered >= 0, found, -mx.inf)

    return _loss(logits, chosen, sampled, objective, divisor)


def _free(network: Any, sampled: Sampled, objective: Objective, divisor: float, masks: Masks) -> Loss:
    def logits(states: mx.array) -> mx.array:
        return masks.apply(head(network, states).astype(mx.float32) / objective.temperature, sampled.choices)

    return _loss(logits, mx.array(sampled.tokens), sampled, objective, divisor)


def _loss(logits: Any, chosen: mx.array, sampled: Sampled, objective: Objective, divisor: float) -> Loss:
    """Return the loss of tokens: (clipped ratio · advantage, KL, entropy), summed and divided."""
    advantages, before, reference, counts = (
        mx.array(one) for one in (sampled.advantages, sampled.before, sampled.reference, sampled.counts)
    )  # fmt: skip

    def loss(states: mx.array) -> tuple[mx.array, Found]:
        logprobs, entropies = _distribution(logits(states), chosen)
        return token_losses(logprobs, entropies, advantages, before, reference, objective, divisor, counts)

    return loss


def _distribution(logits: mx.array, chosen: mx.array) -> tuple[mx.array, mx.array]:
    """Return log p(chosen) and the entropy, (S,) each, of logits (S, A); -inf is what cannot be drawn."""
    top = mx.stop_gradient(logits.max(axis=-1, keepdims=True))
    weights = mx.exp(logits - top)
    total = weights.sum(axis=-1)
    log_total = mx.log(total) + top[:, 0]
    mean = (weights * mx.where(weights > 0, logits, 0.0)).sum(axis=-1) / total
    return taken(logits, chosen) - log_total, log_total - mean


def token_losses(
    logprobs: mx.array, entropies: mx.array, advantages: mx.array, before: mx.array, reference: mx.array,
    objective: Objective, divisor: float, counts: mx.array | float = 1.0,
) -> tuple[mx.array, Found]:  # fmt: skip
    """Return Σ count · loss / divisor, and each token's log-probability, entropy and divergence, (K,) each.

    The divergence is the k3 estimator (Schulman 2020); clipping is PPO's (Schulman et al. 2017), against the policy
    that drew the samples.
    """
    apart = reference - logprobs
    divergence = mx.exp(apart) - apart - 1
    if objective.clip:
        ratio = mx.exp(logprobs - before)
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
