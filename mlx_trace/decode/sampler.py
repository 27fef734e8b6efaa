"""One token for each sample, among those that its sequence is offered; with their log-probabilities.

Takes states and choices, one a sequence, and one random stream a sample: a token belongs to its stream, whatever else
is in the batch. A short list is sampled from on the host, by numpy; a mask, or the whole vocabulary, on the device.
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_trace.decode.episode import SampledToken
from mlx_trace.decode.grammar.vocabulary import Mask, Vocabulary
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.model.head import head, listed_logits

Stream = np.random.Generator


class Masks:
    """The masks of a vocabulary on the device, (M, V) booleans, stacked as they are first asked for."""

    def __init__(self, vocabulary: Vocabulary | None) -> None:
        self._vocabulary = vocabulary
        self._rows: dict[Mask | None, int] = {}
        self._stacked = mx.zeros((0, 0), dtype=mx.bool_)

    def allowed(self, choices: Sequence[Choice | None], size: int) -> mx.array:
        """Return which of `size` tokens each choice offers, (S, V); None offers all."""
        names = [None if choice is None else choice.mask for choice in choices]
        for name in dict.fromkeys(names):
            if name not in self._rows or self._stacked.shape[1] != size:
                self._add(name, size)
        allowed = self._stacked[mx.array([self._rows[name] for name in names])]
        listed = [(row, token) for row, choice in enumerate(choices) if choice is not None for token in choice.ids]
        if listed:
            rows, tokens = (mx.array(list(part)) for part in zip(*listed, strict=True))
            allowed[rows, tokens] = True
        return allowed

    def apply(self, logits: mx.array, choices: Sequence[Choice | None]) -> mx.array:
        """Return logits (S, V) with -inf for what each choice does not offer."""
        if all(choice is None for choice in choices):
            return logits
        return mx.where(self.allowed(choices, logits.shape[-1]), logits, -mx.inf)

    def _add(self, name: Mask | None, size: int) -> None:
        row = np.zeros(size, dtype=np.bool_)
        if name is None or self._vocabulary is None:
            row[:] = True
        else:
            mask = self._vocabulary.mask(name)[:size]  # the network's rows may be more than the tokenizer's tokens
            row[: len(mask)] = mask
        if self._stacked.shape[1] != size:
            self._rows, self._stacked = {}, mx.zeros((0, size), dtype=mx.bool_)
        self._rows[name] = self._stacked.shape[0]
        self._stacked = mx.concatenate([self._stacked, mx.array(row)[None]])


class Sampler:
    """Samples from one network's logits; where tokens are listed, the head is run for those alone."""

    def __init__(self, network: Any, masks: Masks) -> None:
        self.network, self.masks = network, masks

    def __call__(
        self, states: mx.array, choices: Sequence[Choice | None], temperature: float,
        streams: Sequence[Sequence[Stream]],
    ) -> list[list[SampledToken]]:  # fmt: skip
        """Return each sequence's tokens from its state (S, D), one a stream; greedily, with log-probability 0, at 0."""
        by = temperature or 1.0
        listed, masked = by_kind(choices)
        pending: list[mx.array] = []
        if listed:
            ids = padded([choices[index].ids for index in listed])  # type: ignore[union-attr]
            logits = listed_logits(self.network, states[mx.array(listed)], mx.array(np.maximum(ids, 0)))
            pending.append(logits.astype(mx.float32) / by)
        if masked:
            chosen = states if not listed else states[mx.array(masked)]
            logits = head(self.network, chosen).astype(mx.float32) / by
            offered = self.masks.apply(logits, [choices[index] for index in masked])
            pending += _sample_on_device(offered, temperature, [streams[index] for index in masked])
        mx.eval(*pending)
        sampled: list[list[SampledToken]] = [[] for _ in choices]
        if listed:
            tokens = _sample_on_host(np.array(pending[0]), ids, temperature, [streams[index] for index in listed])
            for index, token in zip(_owners(streams, listed), tokens, strict=True):
                sampled[index].append(token)
        if masked:
            tokens = list(zip(pending[-2].tolist(), pending[-1].tolist(), strict=True))
            for index, token in zip(_owners(streams, masked), tokens, strict=True):
                sampled[index].append(token)
        return sampled


def _owners(streams: Sequence[Sequence[Stream]], rows: Sequence[int]) -> list[int]:
    """Return each of these rows as often as it has streams."""
    return [row for row in rows for _ in streams[row]]


def by_kind(choices: Sequence[Choice | None]) -> tuple[list[int], list[int]]:
    """Return the indexes of the choices among listed tokens alone, and those of all others."""
    listed = [index for index, choice in enumerate(choices) if choice is not None and choice.mask is None]
    masked = [index for index, choice in enumerate(choices) if choice is None or choice.mask is not None]
    return listed, masked


def taken(logits: mx.array, tokens: mx.array) -> mx.array:
    """Return each row's logit (S,) of its token, from (S, V)."""
    return mx.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]


def padded(lists: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """Return lists of ids as one array (G, K), short ones filled up with -1."""
    ids = np.full((len(lists), max(map(len, lists), default=0)), -1, dtype=np.int32)
    for row, tokens in enumerate(lists):
        ids[row, : len(tokens)] = tokens
    return ids


def _sample_on_host(
    scores: NDArray[np.float32], ids: NDArray[np.int32], temperature: float, streams: Sequence[Sequence[Stream]]
) -> list[SampledToken]:
    """Sample from lists of ids (G, K) by their scores: the Gumbel trick, with each sample's own noise."""
    scores = np.where(ids >= 0, scores, -np.inf)
    if not temperature:
        best = scores.argmax(axis=-1)
        return [(int(ids[row, best[row]]), 0.0) for row in _owners(streams, range(len(streams)))]
    lengths = (ids >= 0).sum(axis=-1).tolist()
    top = scores.max(axis=-1)
    logprobs = scores - (top + np.log(np.exp(scores - top[:, None]).sum(axis=-1)))[:, None]
    tokens = []
    for row, own in enumerate(streams):
        for stream in own:
            best = int((scores[row, : lengths[row]] + stream.gumbel(size=lengths[row])).argmax())
            tokens.append((int(ids[row, best]), float(logprobs[row, best])))
    return tokens


def _sample_on_device(scores: mx.array, temperature: float, streams: Sequence[Sequence[Stream]]) -> list[mx.array]:
    """Return (tokens, log-probabilities), (N,) each, from scores (G, V): the Gumbel trick, one key a sample."""
    owners = _owners(streams, range(len(streams)))
    if len(owners) > len(streams):
        scores = scores[mx.array(owners)]
    if not temperature:
        tokens = mx.argmax(scores, axis=-1)
        return [tokens, mx.zeros(tokens.shape)]
    keys = np.stack([stream.integers(0, 2**32, size=2, dtype=np.uint32) for own in streams for stream in own])
    noise = mx.vmap(lambda key: mx.random.gumbel(scores.shape[-1:], key=key))(mx.array(keys))
    tokens = mx.argmax(scores + noise, axis=-1)
    return [tokens, taken(scores, tokens) - mx.logsumexp(scores, axis=-1)]
