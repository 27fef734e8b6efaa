"""Baselines centre without looking at what they must not look at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.train.rl.advantages import Ema, has_zero_variance, leave_one_out

GROUPS = st.lists(st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]), min_size=4, max_size=4), min_size=1, max_size=5)


@given(GROUPS)
def test_leave_one_out_is_the_distance_from_the_others(rewards: list[list[float]]) -> None:
    for group, centred in zip(rewards, leave_one_out(rewards), strict=True):
        for at, advantage in enumerate(centred):
            others = group[:at] + group[at + 1 :]
            assert advantage == pytest.approx(group[at] - sum(others) / len(others))
        assert sum(centred) == pytest.approx(0, abs=1e-9)


@given(GROUPS)
def test_frac_reward_zero_std_teach_nothing_under_their_own_baseline(rewards: list[list[float]]) -> None:
    silent = [max(map(abs, group)) == 0 for group in leave_one_out(rewards)]
    assert silent == [has_zero_variance(group) for group in rewards]


def test_the_moving_average_is_updated_after_use() -> None:
    before = Ema(0.5, 0.9)
    assert before.centre([[1.0, 0.0], [1.0, 1.0]]) == [[0.5, -0.5], [0.5, 0.5]]
    after = before.after(0.75)
    assert after.value == pytest.approx(0.9 * 0.5 + 0.1 * 0.75)
    assert after.decay == 0.9
