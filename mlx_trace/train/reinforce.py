"""REINFORCE: sample, solve, score, centre, update.

Takes problems with answers (gold traces are not needed). The loss is −Σ advantage · log-probability over all sampled
tokens of a batch, divided by their number, with the temperature and the masks they were drawn with.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_map

from mlx_trace.config import Config
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.draw import Masks
from mlx_trace.decode.episode import Episode
from mlx_trace.language.grade import GRADE_KINDS, Grade, grade
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.seeds import derive_seed
from mlx_trace.train.advantages import Advantages, Ema, dead_groups, leave_one_out
from mlx_trace.train.loop import Metrics
from mlx_trace.train.policy import Samples, arrange, lay_out, sampled_logprobs
from mlx_trace.train.sft import step

_MICRO_TOKENS: Final = 8192  # sequence tokens that are learnt from at once


class Reinforce:
    """The reinforcement phase. An update's prompts and samples follow from the seed and its index."""

    name = "rl"

    def __init__(self, base: Base, prompter: Prompter, config: Config, problems: Sequence[Problem]) -> None:
        self.base, self.prompter, self.config, self.problems = base, prompter, config, problems
        self.rl = config.reinforce
        self.updates = self.rl.iters
        self.optimizer = optim.AdamW(self.rl.learning_rate, betas=[0.9, 0.95], weight_decay=0.0)
        self.ema = Ema(self.rl.ema_start, self.rl.ema_decay)
        self.decoder = Decoder(base, prompter, config.decoding)
        self.decoder.check(self.rl.max_tokens)
        self._loss_and_grad = nn.value_and_grad(base.network, _loss)

    def update(self, index: int) -> Metrics:
        """Sample the update's prompts in groups, reward the samples, and take one optimizer step."""
        chosen = self._problems(index)
        began = time.perf_counter()
        episodes = self._sample(chosen, index)
        sampled = time.perf_counter()
        grades = self._grade(chosen, episodes)
        rewards = self._groups([float(one.reward or 0.0) for one in grades])
        advantages = self._centre(rewards)
        learnt = self._learn(episodes, [value for group in advantages for value in group])
        tokens = sum(len(episode.ids) for episode in episodes)
        drawn = sum(len(episode.logprobs) for episode in episodes)
        return {
            "reward": float(np.mean(rewards)),
            **_shares(grades),
            "dead_groups": dead_groups(rewards),
            "length": tokens / len(episodes),
            "sampled": drawn / len(episodes),
            "truncated": sum(episode.truncated for episode in episodes),
            **learnt,
            "rollout_tokens_per_second": tokens / (sampled - began),
            "learn_tokens_per_second": tokens / (time.perf_counter() - sampled),
        }

    def _problems(self, index: int) -> list[Problem]:
        """Return the update's problems: successive slices of a new permutation each time all were seen."""
        first = index * self.rl.batch_size
        return [self.problems[self._nth(n)] for n in range(first, first + self.rl.batch_size)]

    def _nth(self, n: int) -> int:
        epoch, place = divmod(n, len(self.problems))
        order = np.random.default_rng(derive_seed("rl epoch", self.config.seed, epoch)).permutation(len(self.problems))
        return int(order[place])

    def _sample(self, problems: Sequence[Problem], index: int) -> list[Episode]:
        self.base.network.eval()
        self.decoder.engine.refresh()
        return self.decoder.sample(
            [problem.question for problem in problems], self.rl.max_tokens, self.rl.group_size, self.rl.temperature,
            derive_seed("rl", self.config.seed, index),
        )  # fmt: skip

    def _grade(self, problems: Sequence[Problem], episodes: Sequence[Episode]) -> list[Grade]:
        """Solve every sample and grade it against its problem."""
        return [
            grade(self.prompter.decode(episode.ids), problem.expected, problem.expert, self.rl.rewards)
            for episode, problem in zip(episodes, (problems[episode.prompt] for episode in episodes), strict=True)
        ]

    def _groups(self, rewards: list[float]) -> list[list[float]]:
        size = self.rl.group_size
        return [rewards[at : at + size] for at in range(0, len(rewards), size)]

    def _centre(self, rewards: list[list[float]]) -> Advantages:
        if self.rl.baseline == "leave_one_out":
            return leave_one_out(rewards)
        advantages, self.ema = self.ema.centre(rewards)
        return advantages

    def _learn(self, episodes: Sequence[Episode], advantages: Sequence[float]) -> Metrics:
        """Take one step on all samples with a signal, in micro-batches whose gradients add up to the batch's."""
        divisor = sum(len(episode.logprobs) for episode in episodes)
        signal = [(episode, advantage) for episode, advantage in zip(episodes, advantages, strict=True) if advantage]
        signal.sort(key=lambda pair: len(pair[0].prompt_ids) + len(pair[0].ids))
        gradients, loss, gap, masks = None, 0.0, 0.0, self.decoder.engine.masks
        for pairs in _micro_batches(signal):
            (part, apart), grads = self._loss_and_grad(
                self.base.network, *_arrays(pairs), divisor, self.rl.temperature, masks
            )
            gradients = grads if gradients is None else tree_map(mx.add, gradients, grads)
            mx.eval(part, apart, gradients)
            loss, gap = loss + part.item(), max(gap, apart.item())
        norm = mx.array(0.0)
        if gradients is not None:
            norm = step(self.base, self.optimizer, gradients, self.config.grad_clip)
            mx.eval(norm, self.base.network.trainable_parameters(), self.optimizer.state)
        return {"loss": loss, "learning_rate": self.rl.learning_rate, "grad_norm": norm.item(), "logprob_gap": gap}

    def state(self) -> dict[str, Any]:
        """Return what updates leave behind besides adapter and optimizer: the baseline, and the device's probe."""
        return {"ema": self.ema.value, "headroom": self.decoder.engine.headroom}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the moving baseline, and the probe, so that passes are as wide as before."""
        self.ema = Ema(state["ema"], self.rl.ema_decay)
        self.decoder.engine.headroom = state["headroom"]


_Pair = tuple[Episode, float]


def _micro_batches(pairs: Sequence[_Pair]) -> list[list[_Pair]]:
    """Split samples, sorted by length, so that no padded batch holds more than `_MICRO_TOKENS`."""
    batches: list[list[_Pair]] = []
    for pair in pairs:
        length = len(pair[0].prompt_ids) + len(pair[0].ids)
        if not batches or (len(batches[-1]) + 1) * length > _MICRO_TOKENS:
            batches.append([])
        batches[-1].append(pair)
    return batches


def _arrays(pairs: Sequence[_Pair]) -> tuple[Samples, mx.array, mx.array]:
    """Return the samples of a micro-batch, with the advantage and rollout log-probability of each token, (K,) both."""
    samples = lay_out([episode for episode, _ in pairs])
    advantages = [advantage for episode, advantage in pairs for _ in episode.logprobs]
    before = [logprob for episode, _ in pairs for logprob in episode.logprobs]
    return samples, arrange(advantages, samples), arrange(before, samples)


def _loss(
    network: Any, samples: Samples, advantages: mx.array, before: mx.array, divisor: int, temperature: float,
    masks: Masks,
) -> tuple[mx.array, mx.array]:  # fmt: skip
    """Return −Σ advantage · logp / divisor, and the largest gap between training's and sampling's logp."""
    logprobs = sampled_logprobs(network, samples, temperature, masks)
    counted = samples.batch.weights > 0
    gap = mx.abs(mx.where(counted, logprobs - before, 0.0)).max()
    return -(mx.where(counted, logprobs * advantages, 0.0)).sum() / divisor, mx.stop_gradient(gap)


def _shares(grades: Sequence[Grade]) -> Metrics:
    """Return the share of each grade among the samples."""
    counts = Counter(one.kind for one in grades)
    return {kind: counts[kind] / len(grades) for kind in GRADE_KINDS if kind != "solved"}
