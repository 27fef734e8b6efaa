"""Sampling over a cache gives what recomputing everything would, whatever else is in the batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlx_trace.decode.engine import sample, stream
from mlx_trace.model.base import Base

import mlx.core as mx  # isort: skip

PROMPTS = [[5, 9, 11], [7], [20, 21, 22, 23, 24, 25], [5, 9, 12], [30, 31]]


def greedy_by_recomputing(network: Any, prompt: list[int], length: int) -> list[int]:
    ids = list(prompt)
    for _ in range(length):
        ids.append(int(network(mx.array([ids]))[0, -1].argmax().item()))
    return ids[len(prompt) :]


def test_greedy_equals_recomputing_every_token(random_base: Base) -> None:
    episodes = sample(random_base.network, PROMPTS, set(), max_tokens=12)
    for prompt, episode in zip(PROMPTS, episodes, strict=True):
        assert episode.prompt_ids == prompt
        assert episode.ids == greedy_by_recomputing(random_base.network, prompt, 12)
        assert episode.logprobs == [0.0] * 12
        assert episode.truncated


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
def test_logprobs_equal_one_full_pass(random_base: Base, temperature: float) -> None:
    for episode in sample(random_base.network, PROMPTS, set(), 15, num_samples=2, temperature=temperature, seed=3):
        ids = episode.prompt_ids + episode.ids
        logits = random_base.network(mx.array([ids]))[0].astype(mx.float32) / temperature
        logprobs = np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
        first = len(episode.prompt_ids)
        full = [logprobs[at - 1, ids[at]] for at in range(first, len(ids))]
        assert np.abs(np.array(full) - episode.logprobs).max() < 1e-4


def test_a_sample_belongs_to_its_prompt_and_number_not_to_its_batch(random_base: Base) -> None:
    def drawn(prompts: list[list[int]], width: int) -> list[list[int]]:
        found = sample(random_base.network, prompts, set(), 10, num_samples=3, temperature=1.0, seed=8, width=width)
        return [episode.ids for episode in found]

    together = drawn(PROMPTS, 64)
    assert drawn(PROMPTS, 4) == together
    assert drawn(PROMPTS[:2], 64) == together[:6]
    assert len({tuple(ids) for ids in together[:3]}) > 1, "samples of one prompt differ"


def test_seeds_decide(random_base: Base) -> None:
    one, same, other = (
        [episode.ids for episode in sample(random_base.network, PROMPTS, set(), 8, temperature=1.0, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_samples_follow_the_distribution(scripted: Callable[..., Any]) -> None:
    class Biased:
        layers, args = [object()], scripted({}).args

        def model(self, ids: mx.array, caches: Any) -> mx.array:
            return mx.zeros((*ids.shape, 1))

        def lm_head(self, hidden: mx.array) -> mx.array:
            return hidden * 0 + mx.log(mx.array([0.6, 0.3, 0.1]))

    found = sample(Biased(), [[0]], set(), 1, num_samples=3000, temperature=1.0, seed=0, width=3000)
    shares = np.bincount([episode.ids[0] for episode in found], minlength=3) / 3000
    assert np.abs(shares - [0.6, 0.3, 0.1]).max() < 0.03


def test_rows_stop_alone_and_leave_the_batch(scripted: Callable[..., Any]) -> None:
    replies = {(1,): [10, 11, 2], (3, 4): [12, 2], (5, 6, 7): [13, 14, 15, 16, 17, 18, 19, 2], (8,): [2]}
    network = scripted(replies)
    episodes = sample(network, [list(prompt) for prompt in replies], {2}, max_tokens=30)
    assert [episode.ids for episode in episodes] == list(replies.values())
    assert not any(episode.truncated for episode in episodes)
    assert network.passes[0] == (4, 3)
    assert network.passes[-1] == (1, 1)
    assert len(network.passes) == 8


def test_replies_that_never_stop_are_truncated(scripted: Callable[..., Any]) -> None:
    network = scripted({(1,): [10, 2], (3,): [11]})
    ended, endless = sample(network, [[1], [3]], {2}, max_tokens=5)
    assert (ended.ids, ended.truncated) == ([10, 2], False)
    assert (endless.ids, endless.truncated) == ([11] * 5, True)


def test_a_stream_yields_token_by_token(scripted: Callable[..., Any]) -> None:
    lengths = [len(episode.ids) for episode in stream(scripted({(1,): [10, 11, 2]}), [1], {2}, 9)]
    assert lengths == [1, 2, 3]


def test_no_prompts_give_no_episodes(random_base: Base) -> None:
    assert sample(random_base.network, [], {2}, 5) == []
