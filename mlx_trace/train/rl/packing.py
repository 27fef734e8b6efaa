"""Episodes as micro-batches: their sampled tokens, and the cached activations that learning goes on from.

Jump-forward tokens have no part in the loss, and nothing behind the last sampled one is computed. Knows nothing of
rewards but their advantages.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import mlx.core as mx
import numpy as np

from mlx_trace.decode.episode import Episode
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.model.layers import Level, PrefixTree, gather, rectangle


@dataclass(frozen=True, slots=True)
class SampledTokens:
    """Sampled tokens and what is known of them, (K,) each, in the order of the episodes."""

    tokens: list[int]
    choices: list[Choice | None]
    advantages: np.ndarray
    old_logprobs: np.ndarray  # when they were sampled
    ref_logprobs: np.ndarray  # under the reference
    counts: np.ndarray  # samples that each stands for

    def take(self, order: Sequence[int]) -> "SampledTokens":
        """Return some of them."""
        arrays = (self.advantages, self.old_logprobs, self.ref_logprobs, self.counts)
        return SampledTokens([self.tokens[index] for index in order], [self.choices[index] for index in order],
                             *(array[list(order)] for array in arrays))  # fmt: skip

    def against(self, ref_logprobs: np.ndarray) -> "SampledTokens":
        """Return them with the reference's log-probabilities."""
        return replace(self, ref_logprobs=ref_logprobs)


@dataclass(frozen=True, slots=True)
class Packed:
    """Distinct episodes that are learnt from at once, and their sampled tokens."""

    episodes: list[Episode]
    tokens: SampledTokens


def sampled_tokens(episodes: Sequence[Episode], counts: Sequence[int] | None = None) -> SampledTokens:
    """Return the sampled tokens of episodes, each with its episode's advantage, and its count of like samples."""
    lengths = [len(episode.logprobs) for episode in episodes]
    tokens = [token for episode in episodes
              for token, sampled in zip(episode.ids, episode.sampled, strict=True) if sampled]  # fmt: skip
    choices = [choice for episode in episodes for choice in episode.choices]
    old = np.array([logprob for episode in episodes for logprob in episode.logprobs], dtype=np.float32)
    advantages = [episode.advantage for episode in episodes]
    pulls, times = (np.repeat(np.asarray(own, dtype=np.float32), lengths)
                    for own in (advantages, counts or [1] * len(episodes)))  # fmt: skip
    return SampledTokens(tokens, choices, pulls, old, old, times)


def largest_of_each(packed: Packed, order: Sequence[int], values: np.ndarray) -> list[float]:
    """Return the largest of what was measured, (K,) in some order of the sampled tokens, of each episode."""
    ordered = np.empty_like(values)
    ordered[list(order)] = values
    ends = np.cumsum([len(episode.logprobs) for episode in packed.episodes]).tolist()
    return [float(own.max()) for own in np.split(ordered, ends[:-1])]


def prefix_tree(
    episodes: Sequence[Episode], prefix: Sequence[int], activations: mx.array
) -> tuple[list[mx.array], PrefixTree]:
    """Return each level's states (R, T, D), and the tree: the prefix, the prompts, the episodes, each computed once.

    `activations` (N, D) are those the rollout left, `prefix` the indexes of what all prompts begin with.
    """
    prompts = list(dict.fromkeys(episode.prompt for episode in episodes))
    starts = {episode.prompt: list(episode.prompt_activations) for episode in episodes}
    is_common = all(starts[prompt][: len(prefix)] == list(prefix) and len(starts[prompt]) > len(prefix)
                    for prompt in prompts)  # fmt: skip
    common = list(prefix) if is_common else []
    own = [episode.activations[: num_read(episode)] for episode in episodes]
    rows = [[common], [starts[prompt][len(common) :] for prompt in prompts], own]
    parents = [[0], [0] * len(prompts), [prompts.index(episode.prompt) for episode in episodes]]
    empty = 0 if common else 1 if any(starts.values()) else 2  # a prompt of one token has nothing before its reply
    rows, parents = rows[empty:], parents[empty:]
    parents[0] = [0] * len(rows[0])
    levels = [Level(np.array([len(row) for row in indexes]), np.array(above))
              for indexes, above in zip(rows, parents, strict=True)]  # fmt: skip
    return [gather(activations, rectangle(indexes)) for indexes in rows], PrefixTree(levels)


def num_read(episode: Episode) -> int:
    """Return how many tokens, from the prompt's last on, must be read to see every sampled one come."""
    return max(index + 1 for index, sampled in enumerate(episode.sampled) if sampled)
