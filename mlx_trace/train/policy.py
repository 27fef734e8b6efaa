"""Log-probabilities of sampled tokens, under the very distribution they were drawn from: temperature and masks.

Takes episodes; forced tokens have no part in it. The head runs at sampled positions only. Knows nothing of rewards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_trace.decode.automaton import Choice
from mlx_trace.decode.draw import Masks, padded, parted, taken
from mlx_trace.decode.episode import Episode
from mlx_trace.model.base import head, hidden_states
from mlx_trace.train.sft import Batch, Example, make_batch


@dataclass(frozen=True, slots=True)
class Samples:
    """Episodes laid out for learning: K sampled tokens, those drawn from a list first.

    `order` (K,) is each one's place among the episodes' sampled tokens; `lists` (G, A) are the ids that the first G
    were offered, filled up with -1; `choices` are those of the others.
    """

    batch: Batch
    order: list[int]
    lists: mx.array
    choices: list[Choice | None]


def lay_out(episodes: Sequence[Episode]) -> Samples:
    """Lay out episodes side by side; the batch's arrays are in the order of `order`, padding last."""
    rows = [Example(list(episode.prompt_ids), episode.ids) for episode in episodes]
    batch = make_batch(rows, [episode.sampled for episode in episodes])
    choices = [choice for episode in episodes for choice in episode.choices]
    listed, others = parted(choices)
    padding = range(len(choices), batch.targets.size)
    permutation = mx.array([*listed, *others, *padding])
    batch = Batch(batch.ids, batch.positions[permutation], batch.targets[permutation], batch.weights[permutation],
                  batch.num_targets)  # fmt: skip
    ids = padded([choice.ids for at in listed if (choice := choices[at]) is not None])
    return Samples(
        batch, [*listed, *others], mx.array(ids), [*(choices[at] for at in others), *(None for _ in padding)]
    )


def sampled_logprobs(network: Any, samples: Samples, temperature: float, masks: Masks) -> mx.array:
    """Return the log-probabilities (K,) of the sampled tokens, in fp32, padding included."""
    batch, count = samples.batch, samples.lists.shape[0]
    hidden = hidden_states(network, batch.ids)
    logits = head(network, hidden.reshape(-1, hidden.shape[-1])[batch.positions]).astype(mx.float32) / temperature
    found = []
    if count:
        scores = mx.take_along_axis(logits[:count], mx.maximum(samples.lists, 0), axis=-1)
        scores = mx.where(samples.lists >= 0, scores, -mx.inf)
        found.append(taken(logits[:count], batch.targets[:count]) - mx.logsumexp(scores, axis=-1))
    if samples.choices:
        others = masks.apply(logits[count:], samples.choices)
        found.append(taken(others, batch.targets[count:]) - mx.logsumexp(others, axis=-1))
    return mx.concatenate(found)


def arrange(values: Sequence[float], samples: Samples) -> mx.array:
    """Return one number for each sampled token (K,), in the order of the samples, padding 0."""
    arranged = np.zeros(samples.batch.targets.size, dtype=np.float32)
    arranged[: len(samples.order)] = np.asarray(values, dtype=np.float32)[samples.order]
    return mx.array(arranged)
