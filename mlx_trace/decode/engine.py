"""Sample replies in batches over a KV cache: token ids, their log-probabilities, and whether they were cut off.

Takes a network and prompts as ids. A sample's random stream belongs to (seed, prompt, sample), not to its batch.
Knows nothing of text, traces or rewards. Left out: constraints, forced runs, shared prefixes, refilling the batch.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import BatchKVCache

from mlx_trace.model.base import next_logits
from mlx_trace.seeds import derive_seed

WIDTH: Final = 64  # rows decoded at once
_SPARSE: Final = 0.75  # finished rows leave the batch once at most this share is still running


@dataclass(slots=True)
class Episode:
    """One sampled reply to prompt number `prompt`. The stop token, if one came, is the last of `ids`.

    `logprobs` are those of the sampled ids under the distribution they were drawn from (fp32; 0 when greedy).
    """

    prompt: int
    prompt_ids: list[int]
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    truncated: bool = False


def sample(
    network: Any,
    prompts: Sequence[Sequence[int]],
    stop_ids: Collection[int],
    max_tokens: int,
    num_samples: int = 1,
    temperature: float = 0.0,
    seed: int = 0,
    width: int = WIDTH,
) -> list[Episode]:
    """Sample `num_samples` replies to each prompt, at most `max_tokens` long; greedily at temperature 0.

    Returns the samples of a prompt beside one another, in the order of the prompts.
    """
    episodes = [Episode(at, list(ids)) for at, ids in enumerate(prompts) for _ in range(num_samples)]
    keys = [derive_seed("sample", seed, n // num_samples, n % num_samples) for n in range(len(episodes))]
    by_length = sorted(range(len(episodes)), key=lambda n: len(episodes[n].prompt_ids))
    for start in range(0, len(by_length), width):
        rows = by_length[start : start + width]
        batch = _Batch(network, [episodes[n] for n in rows], [keys[n] for n in rows], temperature, max_tokens)
        for _ in batch.passes(frozenset(stop_ids)):
            pass
    return episodes


def stream(network: Any, prompt: Sequence[int], stop_ids: Collection[int], max_tokens: int) -> Iterator[Episode]:
    """Decode one reply greedily, yielding the episode after each new token."""
    episode = Episode(0, list(prompt))
    for _ in _Batch(network, [episode], [0], 0.0, max_tokens).passes(frozenset(stop_ids)):
        yield episode


class _Batch:
    """Rows that are decoded together, until each has stopped or reached `max_tokens`."""

    def __init__(
        self, network: Any, episodes: list[Episode], keys: list[int], temperature: float, max_tokens: int
    ) -> None:
        self.network, self.episodes, self.temperature, self.max_tokens = network, episodes, temperature, max_tokens
        longest = max(len(episode.prompt_ids) for episode in episodes)
        padding = [longest - len(episode.prompt_ids) for episode in episodes]
        self.caches = [BatchKVCache(padding) for _ in network.layers]
        self.noise = [np.random.Generator(np.random.PCG64(key)) for key in keys] if temperature > 0 else []
        self.inputs = mx.array([[0] * pad + row.prompt_ids for pad, row in zip(padding, episodes, strict=True)])

    def passes(self, stop_ids: frozenset[int]) -> Iterator[None]:
        """Decode one token a row at each pass, until none is left to decode."""
        running = list(range(len(self.episodes)))  # the rows of the batch; stopped ones stay until it is sparse
        stopped: set[int] = set()
        for _ in range(self.max_tokens):
            tokens, logprobs = self._draw(next_logits(self.network, self.inputs, self.caches), running)
            mx.eval(tokens, logprobs)
            for row, token, logprob in zip(running, tokens.tolist(), logprobs.tolist(), strict=True):
                if row not in stopped:
                    self.episodes[row].ids.append(token)
                    self.episodes[row].logprobs.append(logprob)
                    if token in stop_ids:
                        stopped.add(row)
            yield
            self.inputs = tokens[:, None]
            running = self._drop(running, stopped)
            if not running:
                return
        for row in set(running) - stopped:
            self.episodes[row].truncated = True

    def _drop(self, running: list[int], stopped: set[int]) -> list[int]:
        """Take the stopped rows out of the batch, once they are many; return the rows that it holds then."""
        left = [at for at, row in enumerate(running) if row not in stopped]
        if left and len(left) > _SPARSE * len(running):
            return running
        if left:
            keep = mx.array(left)
            for cache in self.caches:
                cache.filter(keep)
            self.inputs = self.inputs[keep]
        return [running[at] for at in left]

    def _draw(self, logits: mx.array, running: list[int]) -> tuple[mx.array, mx.array]:
        """Return (tokens, log-probabilities), (B,) each, from logits (B, V): the Gumbel trick, one key a row."""
        if self.temperature == 0:
            tokens = mx.argmax(logits, axis=-1)
            return tokens, mx.zeros(tokens.shape)
        scaled = logits.astype(mx.float32) / self.temperature
        keys = np.stack([self.noise[row].integers(0, 2**32, size=2, dtype=np.uint32) for row in running])
        gumbel = mx.vmap(lambda key: mx.random.gumbel(logits.shape[-1:], key=key))(mx.array(keys))
        tokens = mx.argmax(scaled + gumbel, axis=-1)
        chosen = mx.take_along_axis(scaled, tokens[:, None], axis=-1)[:, 0]
        return tokens, chosen - mx.logsumexp(scaled, axis=-1)
