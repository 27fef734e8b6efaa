"""Supervised fine-tuning: cross-entropy on gold traces, every example whole, none dropped.

The loss counts target tokens only, all of them or those that are choices under the constraint, and the head runs at
those alone; what lies below the trained layers is computed once an example.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mlx_trace.config import Config
from mlx_trace.decode.grammar.vocabulary import vocabulary_of
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.decode.sampler import Masks
from mlx_trace.errors import UserError
from mlx_trace.memory.predict import MemoryPlan
from mlx_trace.model.base import Base
from mlx_trace.model.head import head_size
from mlx_trace.model.layers import LossPositions, Split, shared_length
from mlx_trace.train.activation_cache import ActivationCache
from mlx_trace.train.checkpoint import Arrays
from mlx_trace.train.choices import loss_chunks
from mlx_trace.train.examples import Batches, Example, by_budget
from mlx_trace.train.learner import Learner, MicroBatch
from mlx_trace.train.metrics import Metrics
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.schedule import learning_rate

_RUNAWAY: Final = 2.0  # times the loss of blind guessing


class PackedExamples:
    """Gold examples, laid out for learning."""

    def __init__(self, base: Base, split: Split, rows: Sequence[Example], name_weight: float) -> None:
        self.base, self.split, self.rows, self.name_weight = base, split, rows, name_weight
        self.lengths = [len(row) - 1 for row in rows]
        self.vocabulary_size = head_size(base.network)
        self.shared = rows[0].prompt[: shared_length([row.prompt for row in rows])]

    def activation_cache(self, plan: MemoryPlan, batches: Batches, ranks: Ranks, folder: Path) -> ActivationCache:
        """Return the cache of their activations below the trained layers, kept as the plan says."""
        groups: dict[int, list[int]] = {}

        def group_of(index: int) -> list[int]:
            if not groups:
                for batch in batches.first_epoch():
                    for micro in self.micro_batches(batch, plan.micro_tokens, ranks):
                        groups.update(dict.fromkeys(micro, micro))
            return groups.get(index) or [index]

        return ActivationCache(self.split, self.rows, self.shared, plan.activation_cache, folder, group_of)

    def micro_batches(self, batch: Sequence[int], tokens: int, ranks: Ranks) -> list[list[int]]:
        """Return this rank's share of a batch, in micro-batches of at most so many tokens once padded."""
        order = sorted(batch, key=lambda index: (self.lengths[index], index))
        return list(by_budget([order[n] for n in ranks.share(len(order))], self.lengths, tokens))

    def pack(
        self, chosen: Sequence[int], activations: ActivationCache, divisor: float, on_all: bool = False
    ) -> MicroBatch:
        """Return some examples as a micro-batch; its loss is the sum over the tokens that count, or all, divided."""
        states, tree = activations(chosen)
        width = tree.levels[-1].width
        places: list[int] = []
        targets: list[int] = []
        offered: list[Choice | None] = []
        weights: list[float] = []
        for row, index in enumerate(chosen):
            example = self._row(index, on_all)
            first = row * width + len(example.prompt) - len(self.shared) - 1
            places += [first + position for position in example.counted]
            targets += [example.target[position] for position in example.counted]
            offered += example.choices.offered() if example.choices is not None else [None] * len(example.target)
            weights += self._weights(example)
        positions = LossPositions(np.array(places), len(chosen), width)
        chunks, order = loss_chunks(
            self.base.network, targets, offered, weights, divisor, self._masks, int(states[-1].shape[-1])
        )
        return MicroBatch(states, tree, positions, chunks, mx.array(order) if order != sorted(order) else None)

    @cached_property
    def _masks(self) -> Masks:
        """Return the masks of what may be offered, where anything is chosen under a constraint."""
        return Masks(vocabulary_of(self.base.tokenizer) if any(row.choices is not None for row in self.rows) else None)

    def num_targets(self, chosen: Sequence[int], on_all: bool = False) -> int:
        """Return how many tokens of some examples count, or how many there are."""
        return sum(len(self._row(index, on_all).counted) for index in chosen)

    def weight(self, chosen: Sequence[int], on_all: bool = False) -> float:
        """Return what the tokens that count weigh together, or all: what a mean loss is divided by."""
        return sum(sum(self._weights(self._row(index, on_all))) for index in chosen)

    def _weights(self, example: Example) -> list[float]:
        return [1.0] * len(example.target) if example.choices is None else example.choices.weights(self.name_weight)

    def _row(self, index: int, on_all: bool) -> Example:
        """Return an example, with all of its tokens counting if so."""
        return replace(self.rows[index], choices=None) if on_all else self.rows[index]


class SftState(BaseModel):
    """What `Sft` carries from update to update besides arrays."""

    model_config = ConfigDict(strict=True)

    best: float | None
    worse: int = Field(ge=0)


class Sft:
    """The SFT phase: `updates` batches over the epochs asked for."""

    name = "sft"
    state_model = SftState
    has_improved = False
    samples: Final = ()

    def __init__(
        self, base: Base, split: Split, config: Config, rows: Sequence[Example], held_out: Sequence[Example],
        plan: MemoryPlan, ranks: Ranks,
    ) -> None:  # fmt: skip
        self.base, self.config, self.plan, self.ranks = base, config, plan, ranks
        self.examples = PackedExamples(base, split, rows, config.name_weight)
        steps = [row.steps for row in rows] if config.curriculum == "steps" else None
        size = config.batch_size * config.grad_accumulation_steps
        self.batches = Batches(self.examples.lengths, size, config.batch_tokens, config.seed, steps)
        self.updates = self.batches.updates(config.epochs) if config.iters is None else config.iters
        self.optimizer = optim.AdamW(config.learning_rate, betas=[0.9, 0.95], weight_decay=config.weight_decay)
        self.learner = Learner(base.network, split, self.optimizer, config.grad_clip, ranks)
        self.activations = self.examples.activation_cache(plan, self.batches, ranks, config.adapter_path)
        self.held_out = HeldOut(base, split, config, held_out, plan, ranks) if held_out else None
        self.best: float | None = None  # loss on the held-out examples
        self.worse = 0  # measurements since then

    def update(self, index: int) -> Metrics:
        """Take one optimizer step on one batch."""
        began = time.perf_counter()
        batch = self.batches[index]
        rate = learning_rate(index, self.updates, self.config.learning_rate, self.config.warmup, self.config.lr_decay)
        self.optimizer.learning_rate = rate
        self.base.network.train()
        on_all = index >= self.updates - self.config.finish_on_all
        targets, weight = self.examples.num_targets(batch, on_all), self.examples.weight(batch, on_all)
        loss, tokens = 0.0, 0
        for chosen in self.examples.micro_batches(batch, self.plan.micro_tokens, self.ranks):
            micro = self.examples.pack(chosen, self.activations, weight, on_all)
            loss += self.learner.add(micro)[0]
            tokens += sum(self.examples.lengths[index] for index in chosen)
        loss, count = self.ranks.total(loss, tokens)
        norm = self.learner.step()
        speed = count / (time.perf_counter() - began)
        self._check_sound(index, loss, norm)
        return {"loss": loss, "learning_rate": rate, "grad_norm": norm, "tokens": int(count), "target_tokens": targets,
                "learn_tokens_per_second": speed, "epoch": self.batches.locate(index)[0],
                **self._check(index)}  # fmt: skip

    def _check_sound(self, index: int, loss: float, norm: float) -> None:
        """Raise UserError if the weights have run away: worse than blind guessing, or so far off that nothing pulls."""
        blind = math.log(self.examples.vocabulary_size)
        if norm == 0 or (index > 0 and loss > _RUNAWAY * blind):
            why = "its gradient is 0" if norm == 0 else f"guessing blindly would give {blind:.3g}"
            raise UserError(f"sft: the run has diverged: the loss of update {index + 1} is {loss:.4g}, and {why}; "
                            f"start anew with a learning_rate below {self.config.learning_rate:g}")  # fmt: skip

    def _check(self, index: int) -> Metrics:
        """Measure the loss on the held-out examples, where it is time."""
        self.has_improved = False
        if self.held_out is None or ((index + 1) % self.config.steps_per_eval and index + 1 < self.updates):
            return {}
        loss = self.held_out.loss(self.learner)
        self.has_improved = self.best is None or loss < self.best
        self.best, self.worse = (loss, 0) if self.has_improved else (self.best, self.worse + 1)
        return {"val_loss": loss}

    @property
    def is_done(self) -> bool:
        """Tell whether the held-out loss has not fallen for as long as the configuration is patient."""
        return self.config.patience is not None and self.worse >= self.config.patience

    def state(self) -> dict[str, Any]:
        """Return the best loss on the held-out examples; batches follow from the index."""
        return {"best": self.best, "worse": self.worse}

    def arrays(self) -> Arrays:
        """There are none besides adapter and optimizer."""
        return {}

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Take up what was measured before."""
        self.best, self.worse = state["best"], state["worse"]


class HeldOut:
    """Examples that nothing is learnt from, to measure the loss on."""

    def __init__(
        self, base: Base, split: Split, config: Config, rows: Sequence[Example], plan: MemoryPlan, ranks: Ranks
    ) -> None:
        self.base, self.ranks = base, ranks
        self.examples = PackedExamples(base, split, rows, config.name_weight)
        self.batches = self.examples.micro_batches(range(len(rows)), plan.micro_tokens, ranks)
        group_of = {index: batch for batch in self.batches for index in batch}.__getitem__
        self.activations = ActivationCache(
            split, rows, self.examples.shared, plan.activation_cache, config.adapter_path, group_of
        )

    def loss(self, learner: Learner) -> float:
        """Return the mean cross-entropy over all target tokens that count, weighed as in training."""
        self.base.network.eval()
        weight = self.examples.weight(range(len(self.examples.rows)))
        losses = (learner.measure(self.examples.pack(batch, self.activations, weight))[0] for batch in self.batches)
        return self.ranks.total(sum(losses))[0]
