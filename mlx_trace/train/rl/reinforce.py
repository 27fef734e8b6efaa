"""Reinforcement: sample, score, advantages, loss, step.

Takes problems with answers (gold traces are not needed). The loss is −Σ advantage · log-probability over all sampled
tokens of a batch, divided by one number for all, with the temperature and the masks they were sampled with. Expert
iteration (Anthony et al. 2017) learns the solved samples by SFT instead.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mlx_trace.config import Config
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.episode import Episode
from mlx_trace.decode.params import SamplingParams
from mlx_trace.memory.predict import MemoryPlan
from mlx_trace.model.base import Base
from mlx_trace.model.layers import Split
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.seeds import derive_seed
from mlx_trace.train.activation_cache import ActivationCache
from mlx_trace.train.checkpoint import Arrays
from mlx_trace.train.examples import Example, by_budget
from mlx_trace.train.learner import Learner, MicroBatch, joined
from mlx_trace.train.metrics import Metrics
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rl.advantages import (
    Advantages,
    Ema,
    group_mean,
    has_zero_variance,
    leave_one_out,
    scaled,
    scaled_by_group,
)
from mlx_trace.train.rl.loss import Objective, micro_batch
from mlx_trace.train.rl.measures import Tokens, clip_ratios, speeds, token_measures
from mlx_trace.train.rl.packing import Packed, largest_of_each, num_read, prefix_tree, sampled_tokens
from mlx_trace.train.rl.reference import Reference
from mlx_trace.train.rl.reward import Scorer
from mlx_trace.train.rl.rollout import Reply, Rollout, reply_of, rollout_metrics, saved_samples
from mlx_trace.train.samples import SavedSample, is_due
from mlx_trace.train.sft import PackedExamples

_GAP: Final = 0.02  # largest gap between the rollout's log-probabilities and training's that fp32 explains


class RlState(BaseModel):
    """What `Reinforce` carries from update to update besides arrays."""

    model_config = ConfigDict(strict=True)

    ema: float = Field(allow_inf_nan=False)
    position: int = Field(ge=0)


class Reinforce:
    """The reinforcement phase. An update's prompts and samples follow from the seed and the state."""

    name = "rl"
    state_model = RlState
    is_done = has_improved = False

    def __init__(
        self, base: Base, split: Split, prompter: Prompter, config: Config, problems: Sequence[Problem],
        gold: Sequence[Example], plan: MemoryPlan, ranks: Ranks, scorer: Scorer,
    ) -> None:  # fmt: skip
        self.base, self.split, self.prompter, self.config, self.problems = base, split, prompter, config, problems
        self.plan, self.ranks, self.scorer, self.rl = plan, ranks, scorer, config.reinforce
        self.updates = self.rl.iters
        self.optimizer = optim.AdamW(self.rl.learning_rate, betas=[0.9, 0.95], weight_decay=0.0)
        self.learner = Learner(base.network, split, self.optimizer, config.grad_clip, ranks)
        self.ema = Ema(self.rl.ema_start, self.rl.ema_decay)
        self.position = 0  # problems that were taken so far, by all ranks
        self.reference = Reference(base.network)
        self.decoder = Decoder(base, prompter, config.decoding, plan.max_sequences, split.first, config.gpu_seconds)
        self.decoder.check(self.rl.max_tokens)
        self.gold = gold
        self.samples: list[SavedSample] = []  # of the last update, where they are to be saved
        self.gaps: dict[Reply, float] = {}  # of an update's log-probabilities, by what was learnt from
        self.objective = Objective(self.rl.temperature, self.rl.clip, self.rl.kl, self.rl.entropy)

    def update(self, index: int) -> Metrics:
        """Sample replies to some prompts, and learn from how their rewards compare."""
        if self.rl.kl:
            self.reference.hold()
        began = time.perf_counter()
        rollout = self._sample(index)
        self._score(rollout, index)
        self._set_advantages(rollout)
        sampled = time.perf_counter()
        packed, steps, self.gaps = self._pack(rollout), list[Tokens](), {}
        for number in range(self.rl.updates_per_batch):
            loss, measured = self._loss(rollout, packed, index, number)
            norm = self.learner.step()
            steps.append(measured)
        learnt = self._learning_metrics(rollout, loss, norm, steps[0]) | clip_ratios(steps, self.rl.clip, self.ranks)
        done = time.perf_counter()
        is_time = is_due(index, self.updates, self.rl.samples_every)
        metrics = rollout_metrics(rollout, self.ranks, self.rl.group_size)
        self.samples = saved_samples(rollout, self.ranks, index + 1, self.gaps, self.prompter) if is_time else []
        return {**metrics, **learnt, **speeds(metrics, sampled - began, done - sampled)}

    # --- sample, score, advantages -----------------------------------------------------------------------------

    def _sample(self, index: int) -> Rollout:
        """Sample this rank's prompts of the next batch."""
        self.base.network.eval()
        self.decoder.refresh()
        return self._sample_slots(list(self.ranks.share(self.rl.batch_size)), index, 0)

    def _sample_slots(self, slots: Sequence[int], index: int, attempt: int) -> Rollout:
        """Sample the prompts of some slots of the batch that begins at the position, and go on to the next batch."""
        problems = [self._problem(self.position + slot) for slot in slots]
        self.position += self.rl.batch_size
        if not problems:
            return Rollout([], [])
        seed = derive_seed("rl", self.config.seed, index)
        params = SamplingParams(self.rl.max_tokens, self.rl.temperature, self.rl.group_size, seed)
        streams = [self.rl.batch_size * attempt + slot for slot in slots]
        episodes = self.decoder.sample([problem.question for problem in problems], params, streams)
        starts = range(0, len(episodes), params.n)
        return Rollout(problems, [episodes[start : start + params.n] for start in starts])

    def _problem(self, n: int) -> Problem:
        """Return the n-th problem: of a new permutation each time all were seen."""
        epoch, place = divmod(n, len(self.problems))
        order = np.random.default_rng(derive_seed("rl epoch", self.config.seed, epoch)).permutation(len(self.problems))
        return self.problems[int(order[place])]

    def _score(self, rollout: Rollout, index: int) -> None:
        """Grade the samples; replace groups of equal rewards by other prompts', as often as the configuration says."""
        self._grade(rollout)
        slots = list(self.ranks.share(self.rl.batch_size))
        for attempt in range(1, self.rl.resample_zero_variance + 1):
            flat = [place for place, rewards in enumerate(rollout.rewards) if has_zero_variance(rewards)]
            if self.ranks.any(bool(flat)):
                others = self._sample_slots([slots[place] for place in flat], index, attempt)
                self._grade(others)
                rollout.replace(flat, others)

    def _grade(self, rollout: Rollout) -> None:
        for problem, group in zip(rollout.problems, rollout.groups, strict=True):
            for episode in group:
                episode.grade = self.scorer(problem, self.prompter.decode(episode.ids))

    def _set_advantages(self, rollout: Rollout) -> None:
        """Tell each sample its advantage."""
        for group, values in zip(rollout.groups, self._advantages(rollout.rewards), strict=True):
            for episode, advantage in zip(group, values, strict=True):
                episode.advantage = advantage

    def _advantages(self, rewards: list[list[float]]) -> Advantages:
        flat = [reward for group in rewards for reward in group]
        count, total, squares = self.ranks.total(len(flat), sum(flat), sum(reward**2 for reward in flat))
        match self.rl.baseline:
            case "leave_one_out":
                centred = leave_one_out(rewards)
            case "group_mean":
                centred = group_mean(rewards)
            case "ema":
                centred = self.ema.centre(rewards)
                self.ema = self.ema.after(total / count)
            case "none":
                centred = [list(group) for group in rewards]
        if self.rl.scale_rewards == "group":
            return scaled_by_group(centred, rewards)
        if self.rl.scale_rewards == "batch":
            return scaled(centred, max(0.0, squares / count - (total / count) ** 2) ** 0.5)
        return centred

    # --- loss --------------------------------------------------------------------------------------------------

    def _pack(self, rollout: Rollout) -> list[Packed]:
        """Return what carries a signal, in micro-batches of like length that no padding makes too large.

        Samples that are the same, with the same advantage, are learnt as one that counts as many.
        """
        if self.rl.algorithm == "expert_iteration":
            return []
        pulls = bool(self.rl.kl or self.rl.entropy)
        alike: dict[tuple[int, tuple[int, ...], float], list[Episode]] = {}
        for group, rewards in zip(rollout.groups, rollout.rewards, strict=True):
            if not (self.rl.skips_zero_variance and has_zero_variance(rewards)):
                for episode in group:
                    is_cut = self.rl.mask_truncated and episode.truncated
                    if episode.logprobs and (episode.advantage or pulls) and not is_cut:
                        key = episode.prompt, tuple(episode.ids), episode.advantage
                        alike.setdefault(key, []).append(episode)
        distinct = sorted(((same[0], len(same)) for same in alike.values()),
                          key=lambda counted: (num_read(counted[0]), counted[0].prompt))  # fmt: skip
        lengths = [len(episode.prompt_activations) + num_read(episode) for episode, _ in distinct]
        packed = []
        for chosen in by_budget(range(len(distinct)), lengths, self.plan.micro_tokens):
            episodes, counts = zip(*(distinct[index] for index in chosen), strict=True)
            packed.append(Packed(list(episodes), sampled_tokens(episodes, counts)))
        return self._with_reference(packed, self.decoder.activations()) if self.rl.kl else packed

    def _loss(self, rollout: Rollout, packed: list[Packed], index: int, number: int) -> tuple[float, Tokens]:
        """Add the gradients of an optimizer step's loss; return it, and what it measures of the sampled tokens."""
        if self.rl.algorithm == "expert_iteration":
            return self._add_examples(self._solved(rollout), 1.0), {}
        activations, divisor = self.decoder.activations() if packed else mx.zeros((0, 0)), self._divisor(rollout)
        total, measured = 0.0, []
        for part in packed:
            batch, order = self._micro_batch(part, activations, divisor)
            loss, measures = self.learner.add(batch)
            total += loss
            measures |= token_measures(part.tokens, order, measures["logprob"], self.rl.clip)
            if number == 0:
                gaps = largest_of_each(part, order, measures["gap"])
                self.gaps.update(zip(map(reply_of, part.episodes), gaps, strict=True))
            measured.append(measures)
        return total + self._add_gold(index, number), joined(measured)

    def _micro_batch(self, packed: Packed, activations: mx.array, divisor: float) -> tuple[MicroBatch, list[int]]:
        states, tree = prefix_tree(packed.episodes, self.decoder.prefix_activations, activations)
        return micro_batch(self.base.network, states, tree, packed, self.objective, divisor, self.decoder.masks)

    def _divisor(self, rollout: Rollout) -> float:
        """Return what all tokens' losses are divided by: one number, as in Dr. GRPO, not each reply's length."""
        if self.rl.loss_divisor == "max_tokens":
            return float(self.rl.batch_size * self.rl.group_size * self.rl.max_tokens)
        return max(1.0, self.ranks.total(sum(len(episode.logprobs) for episode in rollout.episodes))[0])

    def _with_reference(self, packed: list[Packed], activations: mx.array) -> list[Packed]:
        """Return micro-batches with the reference's log-probabilities: those of the weights that RL began with."""
        referred = []
        with self.reference.in_place():
            for part in packed:
                batch, order = self._micro_batch(part, activations, 1.0)
                logprobs = np.empty_like(part.tokens.old_logprobs)
                logprobs[order] = self.learner.measure(batch)[1]["logprob"]
                referred.append(Packed(part.episodes, part.tokens.against(logprobs)))
        return referred

    def _add_gold(self, index: int, number: int) -> float:
        """Add the SFT loss on as many gold examples as there are prompts, by its weight; return it."""
        if not self.rl.sft_weight:
            return 0.0
        first = (index * self.rl.updates_per_batch + number) * self.rl.batch_size
        chosen = [self.gold[(first + offset) % len(self.gold)] for offset in range(self.rl.batch_size)]
        return self._add_examples(chosen, self.rl.sft_weight)

    def _add_examples(self, rows: Sequence[Example], weight: float) -> float:
        """Add the gradient of the mean loss on some examples, which all ranks share out; return that loss."""
        if not rows:
            return 0.0
        examples = PackedExamples(self.base, self.split, rows, self.config.name_weight)
        cache = ActivationCache(
            self.split, rows, examples.shared, "off", self.config.adapter_path, lambda index: [index]
        )
        divisor = examples.weight(range(len(rows))) / weight
        batches = examples.micro_batches(range(len(rows)), self.plan.micro_tokens, self.ranks)
        return sum(self.learner.add(examples.pack(chosen, cache, divisor))[0] for chosen in batches)

    def _solved(self, rollout: Rollout) -> list[Example]:
        """Return the distinct solved samples of all ranks."""
        return [Example(prompt, ids) for prompt, ids in self.ranks.gathered(rollout.solved)]

    # --- metrics -----------------------------------------------------------------------------------------------

    def _learning_metrics(self, rollout: Rollout, loss: float, norm: float, tokens: Tokens) -> Metrics:
        """Return the update's measurements; RuntimeError if training does not see what sampling saw."""
        metrics: Metrics = {"learning_rate": self.rl.learning_rate, "grad_norm": norm}
        if self.rl.algorithm == "expert_iteration":
            rows = self._solved(rollout)
            return {"loss": self.ranks.total(loss)[0], **metrics, "imitated": len(rows),
                    "trained_tokens": sum(len(row.target) for row in rows)}  # fmt: skip
        counts = tokens.get("count", np.zeros(0))
        names = ["entropy", *(["kl"] if self.rl.kl else [])]
        sums = [float((tokens[name] * counts).sum()) if counts.size else 0.0 for name in names]
        loss, total, *sums = self.ranks.total(loss, float(counts.sum()), *sums)
        gap = float(tokens["gap"].max()) if counts.size else 0.0
        if gap > _GAP and self.base.is_exact:
            raise RuntimeError(f"training's log-probabilities differ from the rollout's by {gap:.3f}: this is a bug")
        means = {name: value / max(1.0, total) for name, value in zip(names, sums, strict=True)}
        return {"loss": loss, **metrics, "logprob_gap": gap, "trained_tokens": int(total), **means}

    # --- state -------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what updates leave behind: the baseline, and the position in the data."""
        return {"ema": self.ema.value, "position": self.position}

    def arrays(self) -> Arrays:
        """Return the adapter as this phase found it."""
        return self.reference.weights

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Take up what was left behind."""
        self.ema = Ema(state["ema"], self.rl.ema_decay)
        self.position = state["position"]
        self.reference.take_up(arrays)
