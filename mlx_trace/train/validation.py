"""An adapter's accuracy while it trains: problems that it replies to greedily, decoded as the configuration says.

Takes a loaded base and problems with answers. Training is as it would be without: nothing random is drawn here, and the
weights are only read.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from mlx_trace.config import Config
from mlx_trace.decode.decoder import Decoder
from mlx_trace.errors import UserError
from mlx_trace.evaluate.evaluate import evaluate
from mlx_trace.evaluate.suites import suite
from mlx_trace.memory.plan import PlannedRun
from mlx_trace.memory.predict import MemoryPlan, Rollouts, Work, predict
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.train.metrics import Metrics
from mlx_trace.train.ranks import Ranks

_WIDTHS: Final = (64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2)
_SHOWN: Final = 3  # problems without an answer that are named


def validation_problems(config: Config, prompter: Prompter, positions: int | None = None) -> list[Problem]:
    """Return the problems that accuracy is measured on, none if it is not; UserError if one cannot be asked or judged.

    `positions` is how many tokens the model was made for, where that is known.
    """
    if config.eval_every is None:
        return []
    problems = suite(config.eval_suite, config.eval_n)
    if open_ones := [problem.id for problem in problems if problem.expected is None]:
        raise UserError(f"eval_suite: {config.eval_suite}: {len(open_ones)} of {len(problems)} problems have no answer "
                        f"to be right by: {', '.join(open_ones[:_SHOWN])}")  # fmt: skip
    sizes = [len(ids) for ids in prompter.many_ids([problem.question for problem in problems])]
    if positions is not None and max(sizes) >= positions:
        raise UserError(f"eval_suite: {config.eval_suite}: {problems[sizes.index(max(sizes))].id} makes a prompt of "
                        f"{max(sizes):,} tokens, and {config.model} was made for {positions:,}")  # fmt: skip
    return problems


def replies_at_once(
    config: Config, needs: PlannedRun, plan: MemoryPlan, prompter: Prompter, problems: Sequence[Problem]
) -> int:
    """Return how many replies are decoded at once: as many as rollouts are, or where there are none as memory allows.

    An optimizer's state is counted twice, so that it is rather too few.
    """
    if needs.work.rollouts is not None or not problems:
        return plan.max_sequences
    longest = max(map(len, prompter.many_ids([problem.question for problem in problems])))

    def fits(width: int) -> bool:
        asked = Rollouts(longest, len(prompter.prefix), config.reinforce.max_tokens, min(width, len(problems)), 1,
                         config.decoding.constraint == "scope")  # fmt: skip
        work = Work(needs.work.examples, asked, needs.work.is_fused)
        return predict(needs.shape, work, replace(plan, max_sequences=width)).rollout <= needs.budget

    return next((width for width in _WIDTHS if width <= plan.max_sequences and fits(width)), 1)


class Validation:
    """Problems on which accuracy is measured every so many updates, and the best that was measured so far."""

    def __init__(
        self, base: Base, prompter: Prompter, config: Config, problems: Sequence[Problem], max_sequences: int,
        ranks: Ranks,
    ) -> None:  # fmt: skip
        self.base, self.prompter, self.problems, self.ranks = base, prompter, problems, ranks
        self.every, self.suite = config.eval_every or 0, config.eval_suite
        self.max_tokens, self.max_sequences = config.reinforce.max_tokens, max_sequences
        is_timed = config.decoding.max_tokens_per_pass == "probe"  # what a clock says would come into the figures
        self.decoding = config.decoding.model_copy(update={"max_tokens_per_pass": "auto"} if is_timed else {})
        Decoder(base, prompter, self.decoding, max_sequences).check(self.max_tokens)
        self.best: float | None = None

    def is_due(self, update: int, is_last: bool) -> bool:
        """Tell whether accuracy is measured after an update, counted from 1: on schedule, and at a phase's end."""
        return is_last or update % self.every == 0

    def times(self, updates: Sequence[int]) -> int:
        """Return how often it is measured in phases of so many updates, before them once, too."""
        return 1 + sum(-(-count // self.every) for count in updates)

    def measure(self) -> Metrics:
        """Measure the accuracy, and note whether it is better than any before; the first of equals stays the best."""
        began = time.perf_counter()
        accuracy = self._accuracy()
        is_best = self.best is None or accuracy > self.best
        self.best = accuracy if self.best is None else max(accuracy, self.best)
        return {"val_accuracy": accuracy, "val_n": len(self.problems), "val_best": self.best,
                "is_best": is_best, "val_seconds": round(time.perf_counter() - began, 4)}  # fmt: skip

    def _accuracy(self) -> float:
        """Return the share of problems that the network solves as it is now, over all ranks."""
        self.base.network.eval()
        mine = [self.problems[index] for index in self.ranks.share(len(self.problems))]
        records = evaluate(self.base, self.prompter, mine, self.max_tokens, self.decoding, self.max_sequences)
        correct, count = self.ranks.total(sum(record.correct for record in records), len(mine))
        return correct / count
