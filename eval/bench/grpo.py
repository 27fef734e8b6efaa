"""mlx-lm-lora's GRPO trainer, called for one update at a time: for bench/rl.py, which ends here where it is missing.

Takes a network with its adapter and problems; returns what the update took. It decodes as many samples at once as it
is told, at temperature 1 without top-p or top-k, has no reference model, stops where we do, and calls our grader.
"""

import io
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from replay import Ids, Scripted  # before MLX, whose BLAS our packages choose

# isort: split
import mlx.core as mx
import mlx.optimizers as optim
from mlx_lm.generate import GenerationBatch

from mlx_trace.config import Config
from mlx_trace.language.grade import grade
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import CLOSING, Prompter
from mlx_trace.problems.problem import Problem

try:
    from mlx_lm_lora.trainer import grpo_trainer
except ImportError as error:
    print(f"mlx-lm-lora cannot be imported ({error}): pip install --no-deps mlx-lm-lora tqdm", file=sys.stderr)
    raise SystemExit(2) from None


@dataclass(frozen=True)
class Update:
    """What one update took, in seconds, and the tokens of its replies, the forced ones and the stop token included."""

    update: float
    rollout: float
    tokens: float

    @property
    def learn(self) -> float:
        """Return the seconds that followed sampling."""
        return self.update - self.rollout


class Grpo:
    """The trainer of one network, with its optimizer kept from update to update; it decodes `width` samples at once."""

    def __init__(self, base: Base, prompter: Prompter, config: Config, folder: Path, width: int) -> None:
        base.tokenizer.eos_token_ids = prompter.stop_ids  # it stops where we do
        self.base, self.prompter, self.rl, self.width = base, prompter, config.reinforce, width
        self.optimizer = optim.AdamW(self.rl.learning_rate, betas=[0.9, 0.95], weight_decay=0.0)
        self.arguments = grpo_trainer.GRPOTrainingArgs(
            batch_size=self.rl.batch_size, iters=1, steps_per_report=1, steps_per_save=2, group_size=self.rl.group_size,
            max_seq_length=config.max_seq_length, max_completion_length=self.rl.max_tokens,
            temperature=self.rl.temperature, top_p=1.0, top_k=0, beta=0.0, epsilon=0.2, grpo_loss_type="dr_grpo",
            adapter_file=str(folder / "theirs.safetensors"),
        )  # fmt: skip
        self.tokens, self.rollout, self.done = 0, 0.0, 0.0

    def update(self, problems: Sequence[Problem], scripts: Sequence[Ids] = ()) -> Update:
        """Take one update, replaying a script for each sample if there are any; its files are not counted."""
        questions = [problem.question for problem in problems]
        batch = ([self.prompter.ids(q) for q in questions], [[] for _ in problems], questions, questions, problems)
        with ExitStack() as stack:
            stack.enter_context(self._patched())
            if scripts:
                stack.enter_context(replayed_samples(scripts))
            began = time.perf_counter()
            grpo_trainer.train_grpo(
                self.base.network, None, self.base.tokenizer, self.optimizer, [], reward_funcs=[self.reward],
                args=self.arguments, iterate_batches=lambda **_: iter([batch]), training_callback=self,
                end_answer_token=None,
            )  # fmt: skip
        return Update(self.done - began, self.rollout, self.tokens)

    @contextmanager
    def _patched(self) -> Iterator[None]:
        """Let it decode as many samples at once as it is given, time its sampling, and keep its reports to itself."""
        generate, generator = grpo_trainer.generate_grpo, grpo_trainer.BatchGenerator

        def wide(*given: Any, **named: Any) -> Any:
            return generator(*given, **named | {"completion_batch_size": self.width, "prefill_batch_size": self.width})

        def timed(**named: Any) -> Any:
            began = time.perf_counter()
            made = generate(**named)
            mx.eval(made[0])
            self.rollout, self.tokens = time.perf_counter() - began, sum(ids.size for ids in made[0])
            return made

        changed = patch.multiple(grpo_trainer, generate_grpo=timed, BatchGenerator=wide)
        with changed, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield

    def reward(self, completions: Sequence[str], types: Sequence[Problem], **_: Any) -> list[float]:
        """Grade replies as we grade ours; each one's problem comes as its type."""
        rewards = self.rl.rewards
        return [
            float(grade(text.partition(CLOSING)[0], problem.expected, problem.expert, rewards).reward or 0.0)
            for text, problem in zip(completions, types, strict=True)
        ]

    def on_train_loss_report(self, _: dict[str, Any]) -> None:
        """Note that the update is done; its trainer calls this."""
        self.done = time.perf_counter()


@contextmanager
def replayed_samples(scripts: Sequence[Ids]) -> Iterator[None]:
    """Let mlx-lm's generator draw as it does, and then take each sequence's next scripted token."""
    scripted, make = Scripted(scripts), grpo_trainer.make_sampler

    def make_sampler(*given: Any, **named: Any) -> Any:
        draw = make(*given, **named)
        return lambda logprobs: mx.depends([scripted(logprobs)], [draw(logprobs)])[0]

    patched = patch.object(grpo_trainer, "make_sampler", make_sampler)
    with patched, patch.object(GenerationBatch, "_step", scripted.step):
        yield
