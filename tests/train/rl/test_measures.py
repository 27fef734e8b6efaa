"""Which ratios count as clipped: those beyond the bound on the side to which their advantage pulls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rl.measures import clip_ratios, token_measures
from mlx_trace.train.rl.packing import SampledTokens

_SIXTY_FOURTHS = st.integers(-64, 64).map(lambda number: number / 64)  # no product of which vanishes
TOKEN = st.tuples(st.floats(-1, 1), _SIXTY_FOURTHS, st.integers(1, 4))  # log-ratio, advantage, samples


def tokens_of(rows: list[tuple[float, float, int]]) -> tuple[SampledTokens, np.ndarray]:
    ratios, advantages, counts = (np.array(column, dtype=np.float32) for column in zip(*rows, strict=True))
    old = np.full(len(rows), -1.0, dtype=np.float32)
    return SampledTokens([0] * len(rows), [None] * len(rows), advantages, old, old, counts), old + ratios


@given(st.lists(TOKEN, min_size=1), st.sampled_from([0.1, 0.2, 0.5]), st.randoms())
def test_a_token_is_clipped_just_where_its_loss_has_no_slope(
    rows: list[tuple[float, float, int]], clip: float, random: np.random.Generator
) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    tokens, logprobs = tokens_of(rows)
    measured = token_measures(tokens, order, logprobs[order], clip)
    ratio = np.exp(logprobs - tokens.old_logprobs)
    bounded = np.clip(ratio, 1 - clip, 1 + clip)
    flat = bounded * tokens.advantages < ratio * tokens.advantages  # PPO's surrogate takes the smaller
    assert np.array_equal((measured["low"] | measured["high"]), flat[order])
    shares = clip_ratios([measured], clip, Ranks())
    assert shares["clip_ratio/region_mean"] == pytest.approx(
        float((flat * tokens.counts).sum() / tokens.counts.sum()), abs=1e-6
    )
    assert float(shares["clip_ratio/low_mean"]) + float(shares["clip_ratio/high_mean"]) == pytest.approx(
        shares["clip_ratio/region_mean"]
    )


def test_the_first_step_of_a_rollout_clips_nothing_and_counts() -> None:
    tokens, logprobs = tokens_of([(0.0, 1.0, 1), (0.0, -1.0, 1)])
    first = token_measures(tokens, [0, 1], logprobs, 0.2)
    second = token_measures(tokens, [0, 1], logprobs + np.float32(0.5), 0.2)
    shares = clip_ratios([first, second], 0.2, Ranks())
    assert shares == {"clip_ratio/low_mean": 0, "clip_ratio/high_mean": 0.25, "clip_ratio/region_mean": 0.25}


def test_without_a_clip_nothing_is_measured_and_without_tokens_nothing_is_clipped() -> None:
    tokens, logprobs = tokens_of([(0.0, 1.0, 1)])
    assert {"low", "high"}.isdisjoint(token_measures(tokens, [0], logprobs, 0.0))
    assert clip_ratios([{}], 0.0, Ranks()) == {}
    assert set(clip_ratios([{}, {}], 0.2, Ranks()).values()) == {0.0}
