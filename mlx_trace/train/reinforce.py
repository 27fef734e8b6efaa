"""Reinforcement: sample, solve, score, centre, update.

Takes problems with answers (gold traces are not needed). The loss is −Σ advantage · log-probability over all sampled
tokens of a batch, divided by one number for all, with the temperature and the masks they were drawn with. Expert
iteration learns the solved samples by SFT instead.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_unflatten
from pydantic import BaseModel, ConfigDict, Field

from mlx_trace.config import Config
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.episode import Episode
from mlx_trace.model.base import Base, adapter_weights
from mlx_trace.model.memory import MemoryPlan
from mlx_trace.model.prompts import Prompter
from mlx_trace.model.trunk import Split
from mlx_trace.problems.problem import Problem
from mlx_trace.seeds import derive_seed
from mlx_trace.train.advantages import Advantages, Ema, group_mean, is_dead, leave_one_out, scaled, scaled_by_group
from mlx_trace.train.checkpoint import Arrays
from mlx_trace.train.examples import Example, by_budget
from mlx_trace.train.learner import Learner, MicroBatch, joined
from mlx_trace.train.loop import Metrics
from mlx_trace.train.policy import Objective, Sampled, lay_out, read_length, sampled_of, tree_of
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rollout import Rollout, Scorer, measured
from mlx_trace.train.sft import Examples
from mlx_trace.train.states import TrunkStates

_GAP: Final = 0.02  # largest gap between the rollout's log-probabilities and training's that fp32 explains


@dataclass(frozen=True, slots=True)
class _Lesson:
    """A micro-batch's episodes and advantages, and which of the rollout's tokens they are."""

    episodes: list[Episode]
    sampled: Sampled


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
        self.reference: Arrays = {}  # the adapter as this phase found it
        self.decoder = Decoder(base, prompter, config.decoding, plan.width, split.first)
        self.decoder.check(self.rl.max_tokens)
        self.gold = gold
        self.objective = Objective(self.rl.temperature, self.rl.clip, self.rl.kl, self.rl.entropy)

    def update(self, index: int) -> Metrics:
        """Sample prompts in groups, reward the samples, and learn from them."""
        if self.rl.kl and not self.reference:
            self.reference = {name: mx.array(value) for name, value in adapter_weights(self.base.network)}
        began = time.perf_counter()
        rollout = self._sample(index)
        advantages = self._centre(rollout)
        sampled = time.perf_counter()
        learnt = self._learn(rollout, advantages, index)
        found = measured(rollout, self.ranks, self.rl.group_size)
        tokens = float(found["length"]) * float(found["episodes"])
        seconds = {"rollout": sampled - began, "learn": time.perf_counter() - sampled}
        speeds = {f"{name}_tokens_per_second": tokens / spent for name, spent in seconds.items()}
        timed = {f"{name}_seconds": round(spent, 4) for name, spent in seconds.items()}
        return {**found, **learnt, **speeds, **timed}

    # --- sampling ----------------------------------------------------------------------------------------------

    def _sample(self, index: int) -> Rollout:
        """Sample and grade this rank's prompts; replace groups of equal rewards, as often as the configuration says."""
        self.base.network.eval()
        self.decoder.engine.refresh()
        slots = list(self.ranks.share(self.rl.batch_size))
        rollout = self._groups(slots, index, 0)
        for attempt in range(1, self.rl.resample_dead + 1):
            dead = [at for at, rewards in enumerate(rollout.rewards) if is_dead(rewards)]
            if self.ranks.any(bool(dead)):
                rollout.replace(dead, self._groups([slots[at] for at in dead], index, attempt))
        return rollout

    def _groups(self, slots: Sequence[int], index: int, attempt: int) -> Rollout:
        """Sample the prompts of some slots of the batch that begins at the position, and go on to the next batch."""
        chosen = [self._problem(self.position + slot) for slot in slots]
        self.position += self.rl.batch_size
        if not chosen:
            return Rollout([], [], [])
        streams = [self.rl.batch_size * attempt + slot for slot in slots]
        episodes = self.decoder.sample(
            [problem.question for problem in chosen], self.rl.max_tokens, self.rl.group_size, self.rl.temperature,
            derive_seed("rl", self.config.seed, index), streams,
        )  # fmt: skip
        size = self.rl.group_size
        groups = [episodes[at : at + size] for at in range(0, len(episodes), size)]
        return Rollout(chosen, groups, [[self.scorer(problem, self.prompter.decode(one.ids)) for one in group]
                                        for problem, group in zip(chosen, groups, strict=True)])  # fmt: skip

    def _problem(self, n: int) -> Problem:
        """Return the n-th problem: of a new permutation each time all were seen."""
        epoch, place = divmod(n, len(self.problems))
        order = np.random.default_rng(derive_seed("rl epoch", self.config.seed, epoch)).permutation(len(self.problems))
        return self.problems[int(order[place])]

    def _centre(self, rollout: Rollout) -> Advantages:
        """Return each sample's advantage."""
        rewards = rollout.rewards
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

    # --- learning ----------------------------------------------------------------------------------------------

    def _learn(self, rollout: Rollout, advantages: Advantages, index: int) -> Metrics:
        """Take the update's optimizer steps; return what they measured."""
        if self.rl.algorithm == "expert_iteration":
            return self._imitate(rollout)
        lessons = self._lessons(rollout, advantages)
        divisor = self._divisor(rollout)
        kept = self.decoder.engine.kept.states() if self.decoder.engine.kept and lessons else mx.zeros((0, 0))
        first: dict[str, np.ndarray] = {}
        loss = norm = 0.0
        if self.rl.kl:
            lessons = self._with_reference(lessons, kept)
        for number in range(self.rl.updates_per_batch):
            measured_tokens = []
            loss = 0.0
            for lesson in lessons:
                batch, order = self._lay_out(lesson, kept, divisor)
                one, found = self.learner.add(batch)
                loss += one
                gap = np.abs(found["logprob"] - lesson.sampled.before[order])
                measured_tokens.append(found | {"gap": gap, "count": lesson.sampled.counts[order]})
            first = first or joined(measured_tokens)
            loss += self._add_gold(index, number)
            norm = self.learner.step()
        return self._describe(loss, norm, first)

    def _lessons(self, rollout: Rollout, advantages: Advantages) -> list[_Lesson]:
        """Return what carries a signal, in micro-batches of like length that no padding makes too large.

        Samples that are the same, with the same advantage, are learnt as one that counts as many.
        """
        pulls = bool(self.rl.kl or self.rl.entropy)
        alike: dict[tuple[int, tuple[int, ...], float], list[Episode]] = {}
        for group, rewards, values in zip(rollout.groups, rollout.rewards, advantages, strict=True):
            if not (self.rl.skips_dead and is_dead(rewards)):
                for one, advantage in zip(group, values, strict=True):
                    if one.logprobs and (advantage or pulls) and not (self.rl.mask_truncated and one.truncated):
                        alike.setdefault((one.prompt, tuple(one.ids), advantage), []).append(one)
        found = sorted(((same[0], advantage, len(same)) for (*_, advantage), same in alike.items()),
                       key=lambda learnt: (read_length(learnt[0]), learnt[0].prompt))  # fmt: skip
        lengths = [len(one.prompt_places) + read_length(one) for one, *_ in found]
        cut = by_budget(range(len(found)), lengths, self.plan.micro_tokens)
        parts = [list(zip(*(found[at] for at in chosen), strict=True)) for chosen in cut]
        return [_Lesson(list(episodes), sampled_of(episodes, *others)) for episodes, *others in parts]

    def _lay_out(self, lesson: _Lesson, kept: mx.array, divisor: float) -> tuple[MicroBatch, list[int]]:
        engine = self.decoder.engine
        states, tree = tree_of(lesson.episodes, engine.prefix_places, kept)
        return lay_out(self.base.network, states, tree, lesson.episodes, lesson.sampled, self.objective, divisor,
                       engine.masks)  # fmt: skip

    def _divisor(self, rollout: Rollout) -> float:
        """Return what all tokens' losses are divided by: the same for every micro-batch and rank."""
        if self.rl.loss_divisor == "max_tokens":
            return float(self.rl.batch_size * self.rl.group_size * self.rl.max_tokens)
        return max(1.0, self.ranks.total(sum(len(one.logprobs) for one in rollout.episodes))[0])

    def _with_reference(self, lessons: list[_Lesson], kept: mx.array) -> list[_Lesson]:
        """Return the lessons with the reference's log-probabilities: the same top, with the weights RL began with."""
        network = self.base.network
        trained = dict(adapter_weights(network))
        network.update(tree_unflatten(list(self.reference.items())))
        found = []
        for lesson in lessons:
            batch, order = self._lay_out(lesson, kept, 1.0)
            reference = np.empty_like(lesson.sampled.before)
            reference[order] = self.learner.measure(batch)[1]["logprob"]
            found.append(_Lesson(lesson.episodes, lesson.sampled.against(reference)))
        network.update(tree_unflatten(list(trained.items())))
        return found

    def _add_gold(self, index: int, number: int) -> float:
        """Add the SFT loss on as many gold examples as there are prompts, by its weight; return it."""
        if not self.rl.sft_weight:
            return 0.0
        first = (index * self.rl.updates_per_batch + number) * self.rl.batch_size
        chosen = [self.gold[(first + at) % len(self.gold)] for at in range(self.rl.batch_size)]
        return self._add_examples(chosen, self.rl.sft_weight)

    def _add_examples(self, rows: Sequence[Example], weight: float) -> float:
        """Add the gradient of the mean loss on some examples, which all ranks share out; return that loss."""
        if not rows:
            return 0.0
        examples = Examples(self.base, self.split, rows)
        states = TrunkStates(self.split, rows, examples.shared, "off", self.config.adapter_path, lambda at: [at])
        divisor = examples.num_targets(range(len(rows))) / weight
        cut = examples.micro_batches(range(len(rows)), self.plan.micro_tokens, self.ranks)
        return sum(self.learner.add(examples.lay_out(chosen, states, divisor))[0] for chosen in cut)

    def _imitate(self, rollout: Rollout) -> Metrics:
        """Learn the distinct solved samples of all ranks by SFT."""
        solved = {(tuple(one.prompt_ids), tuple(one.ids)): None
                  for group, grades in zip(rollout.groups, rollout.grades, strict=True)
                  for one, grade in zip(group, grades, strict=True) if grade.kind == "correct"}  # fmt: skip
        rows = [Example(list(prompt), list(ids)) for prompt, ids in self.ranks.gathered(list(solved))]
        loss = norm = 0.0
        for _ in range(self.rl.updates_per_batch):
            loss = self._add_examples(rows, 1.0)
            norm = self.learner.step()
        return {"loss": self.ranks.total(loss)[0], "learning_rate": self.rl.learning_rate, "grad_norm": norm,
                "imitated": len(rows), "trained_tokens": sum(len(row.target) for row in rows)}  # fmt: skip

    def _describe(self, loss: float, norm: float, tokens: dict[str, np.ndarray]) -> Metrics:
        """Return the update's measurements; RuntimeError if training does not see what sampling saw."""
        counts = tokens.get("count", np.zeros(0))
        names = ["entropy", *(["kl"] if self.rl.kl else [])]
        sums = [float((tokens[name] * counts).sum()) if counts.size else 0.0 for name in names]
        loss, total, *sums = self.ranks.total(loss, float(counts.sum()), *sums)
        gap = float(tokens["gap"].max()) if counts.size else 0.0
        if gap > _GAP and self.base.network.model.norm.weight.dtype == mx.float32:
            raise RuntimeError(f"training's log-probabilities differ from the rollout's by {gap:.3f}: this is a bug")
        means = {name: value / max(1.0, total) for name, value in zip(names, sums, strict=True)}
        return {"loss": loss, "learning_rate": self.rl.learning_rate, "grad_norm": norm, "logprob_gap": gap,
                "trained_tokens": int(total), **means}  # fmt: skip

    # --- state -------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return what updates leave behind: the baseline, and the position in the data."""
        return {"ema": self.ema.value, "position": self.position}

    def arrays(self) -> Arrays:
        """Return the adapter as this phase found it."""
        return self.reference

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Take up what was left behind."""
        self.ema = Ema(state["ema"], self.rl.ema_decay)
        self.position, self.reference = state["position"], dict(arrays)
