"""What each algorithm and option does to an update, besides its gradient."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.language.grade import Grade
from mlx_trace.memory.predict import MemoryPlan
from mlx_trace.model.base import Base
from mlx_trace.model.layers import Split
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas
from mlx_trace.train.examples import Example
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rl.advantages import group_mean, leave_one_out, scaled, scaled_by_group
from mlx_trace.train.rl.packing import Packed, sampled_tokens
from mlx_trace.train.rl.reinforce import Reinforce
from mlx_trace.train.rl.reward import load_reward, make_scorer
from tests.train.conftest import adapt, close, gradient, scored
from tests.train.test_traps import reinforce_of, update_gradient

import mlx.core as mx  # isort: skip


def weights(base: Base) -> np.ndarray:
    return np.concatenate([np.array(value).ravel() for _, value in tree_flatten(base.network.trainable_parameters())])


def test_group_mean_is_leave_one_out_but_for_a_factor() -> None:
    rewards = [[0.0, 0.3, 1.0, 0.7], [0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0]]
    for mean, others in zip(group_mean(rewards), leave_one_out(rewards), strict=True):
        assert mean == pytest.approx([value * 3 / 4 for value in others])
    assert scaled([[1.0, -1.0]], 0.5)[0] == pytest.approx([2, -2], rel=1e-3)
    assert np.std(scaled_by_group(group_mean(rewards), rewards)[0], ddof=1) == pytest.approx(1, rel=1e-3)


def test_a_preset_fills_in_what_is_not_said() -> None:
    def settings(**keys: Any) -> Any:
        return Config.model_validate({"reinforce": keys}).reinforce

    assert settings().baseline == settings(algorithm="rloo").baseline == "leave_one_out"
    assert settings(algorithm="reinforce").baseline == "ema"
    grpo = settings(algorithm="grpo")
    assert (grpo.baseline, grpo.scale_rewards, grpo.clip, grpo.updates_per_batch) == ("group_mean", "group", 0.2, 2)
    assert settings(algorithm="grpo", scale_rewards="none", clip=0.1).clip == 0.1
    again = settings(**grpo.model_dump())
    assert again == grpo, "a saved configuration says all of it"
    for wrong in ({"updates_per_batch": 2}, {"baseline": "ema", "resample_zero_variance": 1}, {"algorithm": "ppo"},
                  {"baseline": "group_mean", "group_size": 1}, {"scale_rewards": "group", "baseline": "none",
                                                                "group_size": 1}):  # fmt: skip
        with pytest.raises(ValueError, match=r".+"):
            settings(**wrong)


@pytest.mark.parametrize("algorithm", ["reinforce", "rloo", "grpo"])
def test_every_policy_gradient_moves_the_adapter_and_says_what_it_measured(
    random_base: Base, tmp_path: Path, algorithm: str
) -> None:
    adapt(random_base)
    phase = reinforce_of(
        random_base, tmp_path, score=lambda n: n % 4 / 3, algorithm=algorithm, kl=0.05, learning_rate=1e-2
    )
    before = weights(random_base)
    rows = [phase.update(index) for index in range(2)]
    assert np.abs(weights(random_base) - before).max() > 0
    for row in rows:
        assert {"reward", "correct", "parse_failure", "frac_reward_zero_std", "length", "truncated", "entropy", "kl", "grad_norm",
                "rollout_tokens_per_second", "learn_tokens_per_second", "trained_tokens"} <= row.keys()  # fmt: skip
        assert any(key.startswith("correct_") for key in row)
        assert float(row["logprob_gap"]) < 1e-4
    assert float(rows[0]["kl"]) == pytest.approx(0, abs=1e-6), "at first the policy is the reference"
    assert float(rows[1]["kl"]) > 0


def test_what_a_gpu_rounds_otherwise_is_no_bug(
    random_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapt(random_base)
    monkeypatch.setattr("mlx_trace.train.rl.reinforce._GAP", -1.0)
    phase = reinforce_of(random_base, tmp_path, score=lambda n: n % 4 / 3)
    if random_base.is_exact:
        with pytest.raises(RuntimeError, match="this is a bug"):
            phase.update(0)
    monkeypatch.setattr(mx, "default_device", lambda: mx.Device(mx.gpu))
    phase.update(1)


def test_samples_that_are_the_same_are_learnt_once_and_count_as_many(random_base: Base, tmp_path: Path) -> None:
    adapt(random_base)
    phase = reinforce_of(random_base, tmp_path, 600, lambda n: n % 2, group_size=6, temperature=0.01, baseline="none",
                         entropy=0.01, kl=0.01)  # fmt: skip
    phase.reference.hold()
    rollout = scored(phase)
    activations = phase.decoder.activations()
    packed = phase._pack(rollout)
    each = Packed(rollout.episodes, sampled_tokens(rollout.episodes))
    learnt = [episode for part in packed for episode in part.episodes]
    assert {tuple(one.ids) for one in learnt} == {tuple(one.ids) for one in rollout.episodes}
    assert len(learnt) < len(rollout.episodes)
    assert sum(part.tokens.counts.sum() for part in packed) == len(each.tokens.tokens)
    merged = gradient(phase.learner, [phase._micro_batch(part, activations, 30.0)[0] for part in packed])
    assert close(merged, gradient(phase.learner, [phase._micro_batch(each, activations, 30.0)[0]]), 1e-4)
    measured = phase.learner.measure(phase._micro_batch(each, activations, 30.0)[0])[1]
    metrics = phase._learning_metrics(rollout, 0.0, 0.0, phase._loss(rollout, packed, 0, 0)[1])
    assert metrics["trained_tokens"] == len(each.tokens.tokens)
    assert metrics["entropy"] == pytest.approx(measured["entropy"].mean(), rel=1e-3)


def test_a_batch_without_signal_takes_no_step(random_base: Base, tmp_path: Path) -> None:
    adapt(random_base)
    phase = reinforce_of(random_base, tmp_path, score=lambda n: 0.1 + 0.2)
    before = weights(random_base)
    row = phase.update(0)
    assert (row["frac_reward_zero_std"], row["grad_norm"], row["trained_tokens"]) == (1, 0, 0)
    assert np.array_equal(weights(random_base), before)


def test_groups_of_equal_rewards_are_replaced_by_other_prompts(random_base: Base, tmp_path: Path) -> None:
    adapt(random_base)
    rewards = [0.5] * 4 + [0.0, 1.0, 1.0, 1.0] + [0.7] * 4 + [1.0, 0.0] * 4  # two flat groups, then two others
    phase = reinforce_of(random_base, tmp_path, score=rewards.__getitem__, resample_zero_variance=1)
    rollout = scored(phase)
    assert phase.position == 6, "a second batch of prompts was begun"
    assert [max(group) for group in rollout.rewards] == [1.0] * 3
    wanted = [phase._problem(n).question for n in (3, 1, 5)]
    assert [problem.question for problem in rollout.problems] == wanted
    assert len({episode.prompt for part in phase._pack(rollout) for episode in part.episodes}) == 3


def test_the_sft_loss_is_mixed_in_by_its_weight(random_base: Base, tmp_path: Path) -> None:
    adapt(random_base)
    gold = [Example([5, 6, 7], [8, 9, 2]), Example([5, 10], [11, 2])]
    found = {}
    for name, weight, score in (("rl", 0.0, lambda n: n % 4 / 3), ("sft", 1.0, lambda n: 0.5),
                                ("both", 0.5, lambda n: n % 4 / 3)):  # fmt: skip
        phase = reinforce_of(random_base, tmp_path, score=score, sft_weight=weight)
        phase.gold = gold
        found[name] = update_gradient(phase)
    assert close(found["both"], found["rl"] + 0.5 * found["sft"])


def test_expert_iteration_learns_the_distinct_solved_samples(random_base: Base, tmp_path: Path) -> None:
    adapt(random_base)
    phase = reinforce_of(random_base, tmp_path, algorithm="expert_iteration")
    kinds = iter(["correct", "wrong_answer", "correct", "wrong_answer"] * 3)
    phase.scorer = lambda problem, reply: Grade(1.0, next(kinds), "1", "")  # type: ignore[arg-type]
    learnt: list[list[Example]] = []
    add = phase._add_examples

    def seen(rows: Any, weight: float) -> float:
        learnt.append(list(rows))
        return add(rows, weight)

    phase._add_examples = seen  # type: ignore[method-assign]
    rollout_ids: list[tuple[int, ...]] = []
    sample = phase._sample

    def remember(index: int) -> Any:
        rollout = sample(index)
        rollout_ids.extend(tuple(one.ids) for group in rollout.groups for one in (group[0], group[2]))
        return rollout

    phase._sample = remember  # type: ignore[method-assign]
    before = weights(random_base)
    row = phase.update(0)
    assert row["imitated"] == len(learnt[0]) > 0
    assert {tuple(example.target) for example in learnt[0]} == set(rollout_ids)
    assert np.abs(weights(random_base) - before).max() > 0


def test_the_reference_and_the_position_are_part_of_the_state(random_base: Base, tmp_path: Path) -> None:
    adapt(random_base)
    phase = reinforce_of(random_base, tmp_path, score=lambda n: n % 4 / 3, kl=0.05, baseline="ema")
    phase.update(0)
    state, arrays = phase.state(), phase.arrays()
    other = reinforce_of(random_base, tmp_path, score=lambda n: n % 4 / 3, kl=0.05, baseline="ema")
    other.restore(state, arrays)
    assert (other.position, other.ema.value) == (phase.position, phase.ema.value) == (3, state["ema"])
    assert other.reference.weights.keys() == phase.reference.weights.keys() != set()
    assert phase._problem(3).id not in {phase._problem(n).id for n in range(3)}


def test_a_users_reward_takes_the_place_of_the_solvers(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def short(problem, reply, grade):\n    return grade.reward - len(reply) / 1000\n", encoding="utf-8"
    )
    (problem,) = generate_balanced(select_schemas([], load_schemas()), 1, 0)
    plain = make_scorer(Config.model_validate({}).reinforce)
    mine = make_scorer(Config.model_validate({"reinforce": {"reward_function": f"{file}:short"}}).reinforce)
    assert problem.trace is not None
    assert plain(problem, problem.trace).reward == 1.0
    assert mine(problem, problem.trace).reward == pytest.approx(1.0 - len(problem.trace) / 1000)
    assert mine(problem, problem.trace).kind == "correct"
    for wrong in ("nowhere.py:f", f"{file}:long", "short", str(file)):
        with pytest.raises(UserError, match="reward_function"):
            load_reward(wrong)


def test_a_reply_too_short_for_any_trace_is_refused_before_training(random_base: Base, tmp_path: Path) -> None:
    config = Config.model_validate({"num_layers": 1, "reinforce": {"iters": 1, "max_tokens": 9}})
    with pytest.raises(UserError, match="tokens"):
        Reinforce(random_base, Split(random_base.network, 1), Prompter(random_base.tokenizer, config.prompt), config,
                  [], [], MemoryPlan(), Ranks(), make_scorer(config.reinforce))  # fmt: skip
