"""Supervised fine-tuning: masked cross-entropy on gold traces, every example whole, none dropped.

Takes token ids of prompts and targets; the loss counts target tokens only, and the head runs at those alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.model.base import Base, head, hidden_states
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.seeds import derive_seed
from mlx_trace.train.loop import Metrics, learning_rate

_PAD_TO: Final = 16  # sequence lengths and target counts are padded to multiples of these, so that few shapes occur
_TARGETS_TO: Final = 128
_POOL: Final = 16  # batches that are sorted by length together


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and its target, as ids; the target ends in the end of sequence. `steps` are those of the trace."""

    prompt: list[int]
    target: list[int]
    steps: int = 0

    def __len__(self) -> int:
        return len(self.prompt) + len(self.target)


def examples(problems: Sequence[Problem], prompter: Prompter, max_length: int) -> list[Example]:
    """Encode the problems that have a gold trace; UserError lists the longest if any does not fit `max_length`."""
    made = [Example(*prompter.example(p.question, p.trace), p.trace.count("{op:"))
            for p in problems if p.trace is not None]  # fmt: skip
    if not made:
        raise UserError("data: none of the problems has a gold trace; SFT needs them (or set epochs: 0 to skip it)")
    if long := sorted((-len(example), at) for at, example in enumerate(made) if len(example) > max_length):
        with_traces = [problem for problem in problems if problem.trace is not None]
        raise UserError(
            f"{len(long)} of {len(made)} examples are longer than max_seq_length ({max_length} tokens); "
            "none is cut or left out, so raise it or change the data. The longest:",
            *(f"  {-length} tokens: {with_traces[at].id}" for length, at in long),
        )
    return made


@dataclass(frozen=True, slots=True)
class Batch:
    """ids (B, T), right-padded; the flat positions (K,) whose next token is a target, those tokens, their weights."""

    ids: mx.array
    positions: mx.array
    targets: mx.array
    weights: mx.array
    num_targets: int


def make_batch(rows: Sequence[Example], counted: Sequence[Sequence[bool]] | None = None) -> Batch:
    """Lay out examples side by side; `counted` says which target tokens are targets, by default all."""
    length = round_up(max(len(row) for row in rows) - 1, _PAD_TO)
    ids = np.zeros((len(rows), length), dtype=np.int32)
    positions: list[int] = []
    targets: list[int] = []
    for at, row in enumerate(rows):
        whole = row.prompt + row.target
        ids[at, : len(whole) - 1] = whole[:-1]
        first = at * length + len(row.prompt) - 1
        chosen = [n for n in range(len(row.target)) if counted is None or counted[at][n]]
        positions += [first + n for n in chosen]
        targets += [row.target[n] for n in chosen]
    padding = round_up(len(targets), _TARGETS_TO) - len(targets)
    weights = [1.0] * len(targets) + [0.0] * padding
    return Batch(
        mx.array(ids), mx.array(positions + [0] * padding), mx.array(targets + [0] * padding),
        mx.array(weights), len(targets),
    )  # fmt: skip


def round_up(number: int, multiple: int) -> int:
    """Return the next multiple from `number` on."""
    return -(-number // multiple) * multiple


def batch_order(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int, steps: Sequence[int] | None = None
) -> list[list[int]]:
    """Return an epoch's batches as indexes: shuffled, sorted by length within pools of batches, shuffled again.

    With `steps`, a number an example, the epoch goes from few steps to many, and is shuffled among equals only.
    """
    rng = np.random.default_rng(derive_seed("epoch", seed, epoch))
    order = rng.permutation(len(lengths)).tolist()
    if steps is not None:
        order.sort(key=steps.__getitem__)
        return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    pool = batch_size * _POOL
    batches = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=lambda at: lengths[at])
        batches += [near[at : at + batch_size] for at in range(0, len(near), batch_size)]
    rng.shuffle(batches)
    return batches


def target_logprobs(network: Any, batch: Batch, temperature: float = 1.0) -> mx.array:
    """Return the log-probabilities (K,) of a batch's target tokens, in fp32."""
    hidden = hidden_states(network, batch.ids)
    chosen = hidden.reshape(-1, hidden.shape[-1])[batch.positions]  # (K, D)
    logits = head(network, chosen).astype(mx.float32) / temperature
    return -nn.losses.cross_entropy(logits, batch.targets)


def sft_loss(network: Any, batch: Batch) -> mx.array:
    """Return the mean cross-entropy over the batch's target tokens."""
    return -(target_logprobs(network, batch) * batch.weights).sum() / batch.num_targets


class Sft:
    """The SFT phase: `updates` batches over the epochs asked for."""

    name = "sft"

    def __init__(self, base: Base, config: Config, rows: Sequence[Example]) -> None:
        self.base, self.config, self.rows = base, config, rows
        self.lengths = [len(row) for row in rows]
        self.steps = [row.steps for row in rows] if config.curriculum == "steps" else None
        self.per_epoch = -(-len(rows) // config.batch_size)
        self.updates = self.per_epoch * config.epochs if config.iters is None else config.iters
        self.optimizer = optim.AdamW(config.learning_rate, betas=[0.9, 0.95], weight_decay=config.weight_decay)
        self._order: tuple[int, list[list[int]]] = (-1, [])
        self._loss_and_grad = nn.value_and_grad(base.network, sft_loss)

    def batch(self, index: int) -> Batch:
        """Return the batch of an update: a function of the seed and the index alone."""
        epoch = index // self.per_epoch
        if self._order[0] != epoch:
            self._order = epoch, batch_order(self.lengths, self.config.batch_size, self.config.seed, epoch,
                                              self.steps if epoch == 0 else None)  # fmt: skip
        return make_batch([self.rows[at] for at in self._order[1][index % self.per_epoch]])

    def update(self, index: int) -> Metrics:
        """Take one optimizer step on one batch."""
        batch = self.batch(index)
        rate = learning_rate(index, self.updates, self.config.learning_rate, self.config.warmup, self.config.lr_decay)
        self.optimizer.learning_rate = rate
        self.base.network.train()
        loss, gradients = self._loss_and_grad(self.base.network, batch)
        norm = step(self.base, self.optimizer, gradients, self.config.grad_clip)
        mx.eval(loss, norm, self.base.network.trainable_parameters(), self.optimizer.state)
        return {
            "loss": loss.item(), "learning_rate": rate, "grad_norm": norm.item(),
            "tokens": int(batch.ids.size), "target_tokens": batch.num_targets,
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Nothing but adapter and optimizer is carried over: batches follow from the index."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """There is nothing to take up."""


def step(base: Base, optimizer: optim.Optimizer, gradients: Any, clip: float) -> mx.array:
    """Clip the gradients to a norm (0 = not) and take one optimizer step; return the norm before clipping."""
    gradients, norm = optim.clip_grad_norm(gradients, clip or float("inf"))
    optimizer.update(base.network, gradients)
    return norm
