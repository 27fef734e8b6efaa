"""The traps of reinforcement on small models, each closed by a test of its name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.config import Config
from mlx_trace.decode.engine import Engine
from mlx_trace.decode.episode import Episode, Request
from mlx_trace.decode.grammar.vocabulary import Vocabulary
from mlx_trace.decode.params import SamplingParams
from mlx_trace.language.grade import Grade
from mlx_trace.language.knowledge import grounded_numbers
from mlx_trace.memory.predict import MemoryPlan
from mlx_trace.model.base import Base
from mlx_trace.model.layers import Split
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas
from mlx_trace.train.examples import Example
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rl.advantages import Ema, leave_one_out, scaled_by_group
from mlx_trace.train.rl.loss import Objective, token_losses
from mlx_trace.train.rl.packing import prefix_tree, sampled_tokens
from mlx_trace.train.rl.reinforce import Reinforce
from mlx_trace.train.rl.reward import make_scorer
from tests.train.conftest import (
    adapt,
    close,
    flat,
    gradient,
    half_precision_base,
    make_learner,
    plain_gradient,
    plain_sft,
    policy_batch,
    scored,
    sft_batches,
)

import mlx.core as mx  # isort: skip
from mlx.utils import tree_flatten

QUESTION = "Tom has 3 bags of 12 eggs and sells half of them. How many are left?"
ROWS = [Example([5, 6, 7, 8], [9, 10, 2]), Example([5, 6, 11, 12], [13, 14, 15, 16, 17, 2])]


def engine_of(base: Base, constrained: bool = True) -> Engine:
    vocabulary = Vocabulary(base.tokenizer) if constrained else None
    return Engine(base.network.eval(), {2}, vocabulary, [5], max_tokens_per_pass=8, cached_layer=base.num_layers - 1)


def sampled(
    engine: Engine, temperature: float = 1.0, prompts: Any = ([5, 6, 7, 30], [5, 9]), tokens: int = 150
) -> list[Episode]:
    numbers = grounded_numbers(QUESTION)
    return engine.sample(
        [Request(list(prompt), numbers) for prompt in prompts],
        SamplingParams(tokens, temperature=temperature, n=2, seed=4),
    )


def gap(base: Base, network: Any, drawn_at: float, learnt_at: float, constrained: bool = True) -> float:
    """Return how far training's log-probabilities are from the rollout's."""
    engine = engine_of(base, constrained)
    episodes = sampled(engine, drawn_at, tokens=150 if constrained else 20)
    learner = make_learner(network)
    batch, order = policy_batch(learner, engine, episodes, [1.0] * 4, 1.0, Objective(learnt_at))
    return float(np.abs(learner.measure(batch)[1]["logprob"] - sampled_tokens(episodes).old_logprobs[order]).max())


def reinforce_of(base: Base, folder: Path, micro_tokens: int = 8192, score: Any = None, **changes: Any) -> Reinforce:
    """Return the phase on a moved adapter, with a few problems; `score` replaces the solver's rewards."""
    settings = {"iters": 9, "batch_size": 3, "group_size": 4, "max_tokens": 120, "kl": 0.0} | changes
    config = Config.model_validate({"num_layers": 1, "adapter_path": str(folder), "decoding": {"max_tokens_per_pass": 8},
                                    "reinforce": settings})  # fmt: skip
    problems = generate_balanced(select_schemas([], load_schemas()), 12, 0)
    scorer = make_scorer(config.reinforce)
    numbered = iter(range(10_000))

    def own(problem: Any, reply: str) -> Grade:
        return Grade(score(next(numbered)), "wrong_answer", None, "")

    return Reinforce(base, Split(base.network, 1), Prompter(base.tokenizer, config.prompt), config, problems, [],
                     MemoryPlan(micro_tokens), Ranks(), own if score else scorer)  # fmt: skip


def update_gradient(phase: Reinforce) -> np.ndarray:
    """Return the gradient of an update, which is not taken."""
    found: list[np.ndarray] = []

    def step() -> float:
        found.append(np.zeros(1) if phase.learner._gradients is None else flat(phase.learner._gradients))
        phase.learner._gradients = None
        return 0.0

    phase.learner.step = step  # type: ignore[method-assign]
    phase.update(0)
    return found[0]


# --- what must change the gradient, and what must not ----------------------------------------------------------


def test_reinforce_with_advantage_one_on_gold_is_sft(random_base: Base) -> None:
    """Without a constraint, at temperature 1, with the same divisor."""
    network = adapt(random_base)
    learner, engine = make_learner(network), engine_of(random_base, constrained=False)
    episodes = []
    for at, row in enumerate(ROWS):  # read a gold reply as if it had been drawn
        cache, (places,) = engine.prompt_cache([row.prompt[:-1]])
        (own,) = engine.read(cache, [[row.prompt[-1], *row.target[:-1]]])
        count = len(row.target)
        episodes.append(Episode(at, row.prompt, row.target, [True] * count, [0.0] * count, [None] * count, False, True,
                                places, own))  # fmt: skip
    divisor = float(sum(len(row.target) for row in ROWS))
    batch, _ = policy_batch(learner, engine, episodes, [1.0, 1.0], divisor, Objective(1.0))
    assert close(gradient(learner, [batch]), plain_gradient(network, plain_sft, ROWS))
    assert close(gradient(learner, sft_batches(random_base, learner, ROWS)), plain_gradient(network, plain_sft, ROWS))


def test_the_prompt_changes_the_gradient(random_base: Base) -> None:
    network = adapt(random_base)
    learner = make_learner(network)
    others = [Example([33, 34, 35, 36], ROWS[0].target)]
    one, other = (gradient(learner, sft_batches(random_base, learner, rows)) for rows in (ROWS[:1], others))
    assert not close(one, other, 1e-2)


def test_lora_b_is_not_zero_after_one_update(random_base: Base, tmp_path: Path) -> None:
    phase = reinforce_of(random_base, tmp_path, score=lambda n: n % 4 / 3)
    from mlx_trace.model.adapter import attach_adapter

    attach_adapter(random_base, Config.model_validate({"num_layers": 1, "lora_parameters": {"rank": 4}}))
    phase.update(0)
    b = [value for name, value in tree_flatten(random_base.network.trainable_parameters()) if name.endswith("lora_b")]
    assert b
    assert all(mx.abs(value).max().item() > 0 for value in b)


def test_zero_advantage_at_the_reference_gives_zero_gradient(random_base: Base, tmp_path: Path) -> None:
    adapt(random_base)
    phase = reinforce_of(random_base, tmp_path, score=lambda n: 0.5, baseline="ema", kl=0.1)
    assert np.abs(update_gradient(phase)).max() < 1e-7


# --- the table of traps ----------------------------------------------------------------------------------------


def test_per_sequence_length_mean(random_base: Base, tmp_path: Path) -> None:
    """Every sampled token weighs the same, however long its reply: a batch's gradient is the sum of its replies'."""
    network = adapt(random_base)
    learner, engine = make_learner(network), engine_of(random_base)
    episodes = sampled(engine)
    assert len({len(one.logprobs) for one in episodes}) > 1
    whole, _ = policy_batch(learner, engine, episodes, [1.0] * 4, 50.0, Objective(1.0))
    alone = [policy_batch(learner, engine, [one], [1.0], 50.0, Objective(1.0))[0] for one in episodes]
    assert close(gradient(learner, [whole]), sum(gradient(learner, [one]) for one in alone))  # type: ignore[arg-type]


def test_std_division() -> None:
    """Off by default; where it is asked for, a group without spread stays finite."""
    assert Config.model_validate({}).reinforce.scale_rewards == "none"
    rewards = [[0.5, 0.5], [0.0, 1.0]]
    assert scaled_by_group(leave_one_out(rewards), rewards)[0] == [0.0, 0.0]
    assert np.isfinite(scaled_by_group(leave_one_out(rewards), rewards)).all()


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_temperature_mismatch(random_base: Base, temperature: float) -> None:
    network = adapt(random_base)
    assert gap(random_base, network, temperature, temperature) < 1e-4
    assert gap(random_base, network, temperature, temperature * 2) > 1e-2


@pytest.mark.parametrize("constrained", [True, False])
def test_grammar_support_mismatch(random_base: Base, constrained: bool) -> None:
    """Training renormalises over what was offered: masks, lists, and the whole vocabulary alike."""
    network = adapt(random_base)
    assert gap(random_base, network, 1.0, 1.0, constrained) < 1e-4
    kinds = {choice and choice.mask is None for one in sampled(engine_of(random_base)) for choice in one.choices}
    assert kinds == {True, False}, "both short lists and masks were drawn from"


def test_retokenising(random_base: Base) -> None:
    """The sampled ids are learnt, though the text they spell would be read as other ids."""
    engine = engine_of(random_base, constrained=False)
    adapt(random_base)
    episodes = sampled(engine, 1.5, tokens=12)
    text = [random_base.tokenizer.decode(one.ids) for one in episodes]
    again = [list(random_base.tokenizer.encode(one, add_special_tokens=False)) for one in text]
    assert any(ids != one.ids for ids, one in zip(again, episodes, strict=True))
    drawn = [token for one in episodes for token, is_drawn in zip(one.ids, one.sampled, strict=True) if is_drawn]
    assert sampled_tokens(episodes).tokens == drawn


def test_eos(random_base: Base, tmp_path: Path) -> None:
    """The end of a reply is learnt when it was drawn, nothing follows it, and cut replies may be left out."""
    network = adapt(random_base)
    engine = engine_of(random_base, constrained=False)
    engine.stop_ids = frozenset(range(0, 400, 9))
    episodes = sampled(engine, tokens=30)
    ended = [one for one in episodes if not one.truncated]
    assert ended
    for one in ended:
        assert one.ids[-1] in engine.stop_ids
        assert not set(one.ids[:-1]) & engine.stop_ids
        assert one.sampled[-1]
    phase = reinforce_of(random_base, tmp_path, baseline="none", mask_truncated=True)
    phase.decoder.engine.stop_ids, phase.decoder.engine.vocabulary = engine.stop_ids, None
    rollout = scored(phase)
    for episode in rollout.episodes:
        episode.advantage = 1.0
    learnt = [episode for packed in phase._pack(rollout) for episode in packed.episodes]
    assert sorted(map(id, learnt)) == sorted(id(one) for one in rollout.episodes if not one.truncated)
    assert network is phase.base.network


def test_padding(random_base: Base) -> None:
    """What stands in the places of shorter rows reaches neither the loss nor the gradient."""
    network = adapt(random_base)
    learner, engine = make_learner(network), engine_of(random_base)
    episodes = sampled(engine)
    batch, _ = policy_batch(learner, engine, episodes, [1.0] * 4, 9.0, Objective(1.0, kl=0.1))
    expected = gradient(learner, [batch])
    filled = []
    for states, level in zip(batch.states, batch.tree.levels, strict=True):
        is_there = mx.arange(states.shape[1]) < mx.array(level.lengths)[:, None]
        filled.append(mx.where(is_there[:, :, None], states, 1e4))
    assert any(not mx.array_equal(one, other) for one, other in zip(filled, batch.states, strict=True))
    from dataclasses import replace

    assert close(gradient(learner, [replace(batch, states=filled)]), expected)


def test_baseline_leakage() -> None:
    """A sample has no part in its own baseline: neither among its group's others, nor in the moving average."""
    for reward in (0.0, 0.3, 1.0):
        (centred,) = leave_one_out([[reward, 0.5, 0.7]])
        assert centred[0] == pytest.approx(reward - 0.6)
    before = Ema(0.5, 0.9)
    assert before.centre([[1.0]]) == [[0.5]]
    assert before.after(1.0).value == pytest.approx(0.55)


def test_reference_used_as_the_old_policy() -> None:
    """The clipped ratio is to the policy that drew the samples, whatever the reference says."""
    now, before, advantages = mx.array([-1.0, -2.0]), mx.array([-1.5, -2.0]), mx.array([1.0, 1.0])
    losses = [token_losses(now, mx.zeros(2), advantages, before, reference, Objective(1.0, clip=0.2), 1.0)[0].item()
              for reference in (now, before, now - 5)]  # fmt: skip
    assert losses == pytest.approx([-(1.2 + 1.0)] * 3)


def test_kl_in_reward_not_detached() -> None:
    """The divergence has a gradient of its own, 1 − reference/policy for each token; advantages are constants."""
    now, reference = mx.array([-1.0, -2.0]), mx.array([-1.3, -1.1])

    def loss(logprobs: mx.array) -> mx.array:
        return token_losses(logprobs, mx.zeros(2), mx.zeros(2), now, reference, Objective(1.0, kl=1.0), 1.0)[0]

    assert np.allclose(np.array(mx.grad(loss)(now)), 1 - np.exp(np.array(reference - now)), atol=1e-6)


def test_kl_moves_dead_groups(random_base: Base, tmp_path: Path) -> None:
    """A group of equal rewards is left out whole, with its divergence and entropy; the divisor still counts it."""
    adapt(random_base)
    rewards = [0.5] * 4 + [0.0, 1.0, 1.0, 1.0] + [0.7] * 4
    phase = reinforce_of(random_base, tmp_path, score=rewards.__getitem__, kl=0.1, entropy=0.1)
    phase.reference.hold()
    rollout = scored(phase)
    assert {episode.prompt for packed in phase._pack(rollout) for episode in packed.episodes} == {1}
    assert phase._divisor(rollout) == sum(len(one.logprobs) for one in rollout.episodes)


def test_fp16_log_softmax(tmp_path: Path) -> None:
    """Log-probabilities are computed in fp32 from a half-precision network."""
    base = half_precision_base(tmp_path)
    network = adapt(base)
    engine, learner = engine_of(base), make_learner(network)
    episodes = sampled(engine)
    batch, _ = policy_batch(learner, engine, episodes, [1.0] * 4, 1.0, Objective(1.0))
    found = learner.measure(batch)[1]["logprob"]
    assert found.dtype == np.float32
    assert len(np.unique(found)) > 0.5 * len(found[found < 0]), "finer than half precision"


def test_dropout_on_when_scoring(random_base: Base, tmp_path: Path) -> None:
    adapt(random_base, lora_parameters={"rank": 4, "scale": 2.0, "dropout": 0.5})
    phase = reinforce_of(random_base, tmp_path, score=lambda n: n % 4 / 3)
    random_base.network.train()
    assert phase.update(0)["logprob_gap"] < 1e-4


def test_chunk_dependent_normaliser(random_base: Base, tmp_path: Path) -> None:
    """However small the micro-batches, an update's gradient is the same."""
    adapt(random_base)
    gradients = []
    for micro_tokens in (1, 700, 100_000):
        phase = reinforce_of(random_base, tmp_path, micro_tokens, lambda n: n % 4 / 3, kl=0.1, entropy=0.1)
        gradients.append(update_gradient(phase))
    assert np.abs(gradients[0]).max() > 1e-4
    assert close(gradients[1], gradients[0])
    assert close(gradients[2], gradients[0])


def test_what_all_prompts_begin_with_is_learnt_from_once(random_base: Base) -> None:
    engine = engine_of(random_base)
    adapt(random_base)
    episodes = sampled(engine, prompts=([5, 6, 7, 30], [5, 6, 9, 8, 30]))
    assert engine.activations is not None
    states, tree = prefix_tree(episodes, engine.prefix_activations, engine.activations.states())
    assert [state.shape[:2] for state in states[:2]] == [(1, 1), (2, 3)]
    assert [level.parents.tolist() for level in tree.levels] == [[0], [0, 0], [0, 0, 1, 1]]
