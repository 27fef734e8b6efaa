"""What gold traces cost a model: −log p of each choice that writing them takes, by what is chosen there.

Takes a loaded base (with its adapter in it), and problems. A teacher-forced pass tells two models apart by far fewer
problems than their answers do, and in a tenth of the time; it says nothing of where a model goes once it errs.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import mlx.optimizers as optim
import numpy as np

from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.errors import UserError
from mlx_trace.evaluate.losses import SPELLED, deciding
from mlx_trace.model.base import Base
from mlx_trace.model.layers import Split
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.train.activation_cache import ActivationCache
from mlx_trace.train.examples import examples
from mlx_trace.train.learner import Learner
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.sft import PackedExamples

_KEY: Final = re.compile(r"([a-z_]+): ?\[?[^:\[\]{}]*\Z")
_LONGEST: Final = 1 << 20  # tokens of an example: what is measured is never too long


@dataclass(frozen=True, slots=True)
class GoldLoss:
    """The losses on one problem's gold trace, in nats, by kind: `compute_op`, `args`, …, `var: spelled`."""

    problem: Problem
    kinds: Mapping[str, Sequence[float]]

    @property
    def deciding(self) -> list[float]:
        """Return the losses of the choices among what is there."""
        return deciding(self.kinds)

    def as_json(self) -> str:
        """Return the problem and its losses as one line of JSON."""
        losses = {kind: [round(loss, 4) for loss in own] for kind, own in self.kinds.items()}
        return json.dumps({**self.problem.model_dump(), "losses": losses}, ensure_ascii=False)


def gold_losses(
    base: Base, prompter: Prompter, problems: Sequence[Problem], decoding: Decoding,
    report: Callable[[int], None] = lambda done: None,
) -> Iterator[GoldLoss]:  # fmt: skip
    """Yield the losses of every problem with a gold trace that the constraint can write; UserError if none has one."""
    if decoding.constraint == "none":
        raise UserError("the loss on choices needs a constraint, which offers them: --constraint scope")
    known = [problem for problem in problems if problem.trace is not None]
    if not known:
        raise UserError("none of the problems has a gold trace to measure the loss on (mlx-trace compile makes them)")
    rows = examples(known, prompter, _LONGEST, held_to=decoding)
    split = Split(base.network, 1)
    packed = PackedExamples(base, split, rows, 1.0)
    cache = ActivationCache(split, rows, packed.shared, "off", base.path, lambda index: [index])
    learner = Learner(base.network, split, optim.SGD(0.0), 0.0, Ranks())
    base.network.eval()
    for index, (problem, row) in enumerate(zip(known, rows, strict=True), start=1):
        if row.choices is not None:
            batch = packed.pack([index - 1], cache, 1.0)
            measured = learner.measure(batch)[1]["loss"]
            losses = np.zeros(len(measured))
            losses[np.arange(len(measured)) if batch.order is None else np.array(batch.order)] = measured
            kinds: dict[str, list[float]] = {}
            for place, choice, loss in zip(row.choices.indexes, row.choices.offered(), losses, strict=True):
                kind = _kind(choice, prompter.tokenizer.decode(list(row.target[:place])))
                kinds.setdefault(kind, []).append(float(loss))
            yield GoldLoss(problem, kinds)
        report(index)


def _kind(choice: Choice, before: str) -> str:
    """Return what is chosen after a text: the letters of a word, or what belongs to a key."""
    key = _KEY.search(before.rpartition("\n")[2])
    name = key.group(1) if key else "next step or end"
    return name + (SPELLED if choice.mask is not None and choice.mask.is_word else "")
