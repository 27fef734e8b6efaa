"""Draws follow the softmax of what each row is offered, whatever stands beside it."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from mlx_trace.decode.grammar.vocabulary import Mask, Vocabulary
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.decode.sampler import Masks, SampledToken, Sampler, Stream

import mlx.core as mx  # isort: skip
import mlx.nn as nn

SIZE, PADDED = 12, 16  # the tokenizer's tokens, and the network's
EVEN, SMALL = Mask("even", 1), Mask("small", 2)
CHOICES: dict[str, Choice | None] = {
    "list": Choice(None, (3, 7, 8, 1)), "short list": Choice(None, (9, 2)), "mask": Choice(EVEN, ()),
    "mask and ids": Choice(SMALL, (11, 5)), "anything": None,
}  # fmt: skip


class Toy:
    """Stands in for a vocabulary: two masks of twelve tokens."""

    def mask(self, name: Mask) -> NDArray[np.bool_]:
        tokens = np.arange(SIZE)
        return tokens % 2 == 0 if name == EVEN else tokens < 4


class Plain:
    """Stands in for a network whose states are its logits."""

    args = SimpleNamespace(tie_word_embeddings=False)

    def __init__(self) -> None:
        self.lm_head = nn.Linear(PADDED, PADDED, bias=False)
        self.lm_head.weight = mx.eye(PADDED)


NETWORK = Plain()


def masks() -> Masks:
    return Masks(cast(Vocabulary, Toy()))


def offered(choice: Choice | None) -> list[int]:
    """Return the tokens that a choice offers, in plain words."""
    if choice is None:
        return list(range(PADDED))
    named = {} if choice.mask is None else set(np.flatnonzero(Toy().mask(choice.mask)).tolist())
    return sorted({*named, *choice.ids})


def streams(count: int, start: int = 0) -> list[Stream]:
    return [np.random.Generator(np.random.PCG64(at)) for at in range(start, start + count)]


def drawn_singly(
    logits: mx.array, choices: Sequence[Choice | None], temperature: float, streams: Sequence[Stream]
) -> list[SampledToken]:
    """Return a draw for each row, which has one stream."""
    found = Sampler(NETWORK, masks())(logits, choices, temperature, [[stream] for stream in streams])
    assert all(len(one) == 1 for one in found)
    return [one for (one,) in found]


def probabilities(logits: NDArray[np.float32], choice: Choice | None, temperature: float) -> dict[int, float]:
    ids = offered(choice)
    scores = np.exp(logits[ids].astype(np.float64) / temperature)
    return dict(zip(ids, (scores / scores.sum()).tolist(), strict=True))


LOGITS = np.random.default_rng(5).normal(size=PADDED).astype(np.float32)


@pytest.fixture(scope="module", params=[0.6, 1.0, 1.7])
def drawn(request: pytest.FixtureRequest) -> tuple[float, dict[str, list[SampledToken]]]:
    """3,000 draws of each kind of choice, all in one call, the kinds in turn."""
    choices = list(CHOICES.values()) * 3000
    logits = mx.array(np.tile(LOGITS, (len(choices), 1)))
    found = drawn_singly(logits, choices, request.param, streams(len(choices)))
    return request.param, {name: found[at :: len(CHOICES)] for at, name in enumerate(CHOICES)}


@pytest.mark.parametrize("kind", CHOICES)
def test_frequencies_follow_the_softmax(kind: str, drawn: tuple[float, dict[str, list[SampledToken]]]) -> None:
    temperature, found = drawn
    counts = np.bincount([token for token, _ in found[kind]], minlength=PADDED)
    expected = probabilities(LOGITS, CHOICES[kind], temperature)
    assert set(np.flatnonzero(counts).tolist()) <= set(expected)
    assert max(abs(counts[token] / 3000 - share) for token, share in expected.items()) < 0.035


@pytest.mark.parametrize("kind", CHOICES)
def test_logprobs_are_of_the_distribution_drawn_from(
    kind: str, drawn: tuple[float, dict[str, list[SampledToken]]]
) -> None:
    temperature, found = drawn
    expected = probabilities(LOGITS, CHOICES[kind], temperature)
    assert max(abs(np.log(expected[token]) - logprob) for token, logprob in found[kind]) < 1e-5


def test_greedy_takes_the_best_token_offered() -> None:
    choices = list(CHOICES.values()) * 20
    logits = np.random.default_rng(1).normal(size=(len(choices), PADDED)).astype(np.float32)
    found = drawn_singly(mx.array(logits), choices, 0.0, streams(len(choices)))
    expected = [max(offered(choice), key=lambda token: row[token]) for row, choice in zip(logits, choices, strict=True)]
    assert found == [(token, 0.0) for token in expected]


def test_greedy_draws_nothing_from_the_streams() -> None:
    used, untouched = streams(len(CHOICES)), streams(len(CHOICES))
    drawn_singly(mx.array(np.tile(LOGITS, (len(CHOICES), 1))), list(CHOICES.values()), 0.0, used)
    assert [stream.random() for stream in used] == [stream.random() for stream in untouched]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_draw_belongs_to_its_stream_not_to_its_batch(temperature: float) -> None:
    choices = list(CHOICES.values()) * 8
    logits = np.random.default_rng(2).normal(size=(len(choices), PADDED)).astype(np.float32)
    together = drawn_singly(mx.array(logits), choices, temperature, streams(len(choices)))
    alone = [drawn_singly(mx.array(row[None]), [choice], temperature, [stream])[0]
             for row, choice, stream in zip(logits, choices, streams(len(choices)), strict=True)]  # fmt: skip
    assert [token for token, _ in together] == [token for token, _ in alone]
    assert np.abs(np.array(together)[:, 1] - np.array(alone)[:, 1]).max() < 1e-5


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_samples_of_one_row_draw_what_each_would_alone(temperature: float) -> None:
    counts = [1, 3, 2, 5, 1, 4]
    choices = [*CHOICES.values(), *CHOICES.values()][: len(counts)]
    logits = np.random.default_rng(3).normal(size=(len(choices), PADDED)).astype(np.float32)
    starts = np.cumsum(counts) - counts
    groups = [streams(count, start) for count, start in zip(counts, starts.tolist(), strict=True)]
    together = Sampler(NETWORK, masks())(mx.array(logits), choices, temperature, groups)
    owners = np.repeat(np.arange(len(counts)), counts).tolist()
    alone = drawn_singly(mx.array(logits[owners]), [choices[at] for at in owners], temperature, streams(len(owners)))
    assert [len(one) for one in together] == counts
    assert [token for one in together for token, _ in one] == [token for token, _ in alone]
    assert np.abs(np.array([p for one in together for _, p in one]) - [p for _, p in alone]).max() < 1e-5
    if temperature:
        assert len({token for token, _ in together[3]}) > 1, "samples of one row differ"


def test_a_mask_offers_none_of_the_tokens_that_only_the_network_has() -> None:
    logits = np.zeros((1, PADDED), np.float32)
    logits[:, SIZE:] = 50.0
    for choice in (Choice(EVEN, ()), Choice(SMALL, (11,))):
        for temperature in (0.0, 1.0):
            ((token, logprob),) = drawn_singly(mx.array(logits), [choice], temperature, streams(1))
            assert token in offered(choice)
            assert temperature == 0.0 or abs(logprob + np.log(len(offered(choice)))) < 1e-5


def test_masks_serve_networks_of_several_sizes() -> None:
    held = masks()
    for size in (PADDED, SIZE, PADDED + 4):
        allowed = np.array(held.allowed([Choice(SMALL, (11,)), None, Choice(EVEN, ())], size))
        assert allowed.shape == (3, size)
        assert np.flatnonzero(allowed[0]).tolist() == [0, 1, 2, 3, 11]
        assert allowed[1].all()
        assert np.flatnonzero(allowed[2]).tolist() == [0, 2, 4, 6, 8, 10]


def test_half_precision_logits_give_fp32_logprobs() -> None:
    logits = mx.array(LOGITS[None]).astype(mx.bfloat16)
    exact = np.array(logits.astype(mx.float32))[0]
    for choice in CHOICES.values():
        ((token, logprob),) = drawn_singly(logits, [choice], 0.7, streams(1))
        assert abs(logprob - np.log(probabilities(exact, choice, 0.7)[token])) < 1e-5
