"""Assemble a run from its configuration: model, prompts, problems, adapter, phases; then train, or go on training."""

from collections.abc import Callable
from dataclasses import dataclass

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.model.base import Base, attach_adapter, load_base, recompute_layers, start_from
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.mixture import gather
from mlx_trace.problems.problem import Problem
from mlx_trace.train import checkpoint
from mlx_trace.train.loop import Phase, Report, Run, check_new, open_run
from mlx_trace.train.reinforce import Reinforce
from mlx_trace.train.sft import Sft, examples


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start: everything loaded and checked, nothing written yet."""

    config: Config
    base: Base
    phases: list[Phase]
    notes: list[str]  # what each phase will do, for people


def plan(config: Config) -> Plan:
    """Load and check all that a run needs; UserError if it cannot start."""
    base = load_base(config.model, config.trust_remote_code)
    prompter = Prompter(base.tokenizer, config.prompt)
    phases: list[Phase] = []
    notes: list[str] = []
    wants_sft = config.epochs > 0 if config.iters is None else config.iters > 0
    problems = gather(config.data, config.seed) if wants_sft or config.reinforce.data is None else []
    if wants_sft:
        rows = examples(problems, prompter, config.max_seq_length)
    attach_adapter(base, config)
    if config.resume_adapter_file is not None:
        start_from(base, config.resume_adapter_file)
    if config.grad_checkpoint:
        recompute_layers(base.network)
    if wants_sft:
        phases.append(Sft(base, config, rows))
        longest = max(map(len, rows))
        notes.append(f"sft: {phases[-1].updates} updates on {len(rows)} examples, the longest {longest} tokens")
    if config.reinforce.iters > 0:
        prompts = problems if config.reinforce.data is None else gather(config.reinforce.data, config.seed)
        phases.append(Reinforce(base, prompter, config, _answered(prompts, prompter, config)))
        notes.append(f"rl: {phases[-1].updates} updates on {len(prompts)} prompts")
    if not phases:
        raise UserError("there is nothing to train: epochs (or iters) and reinforce.iters are all 0")
    return Plan(config, base, phases, notes)


def _answered(problems: list[Problem], prompter: Prompter, config: Config) -> list[Problem]:
    """Check that every prompt of the RL phase fits with its reply; none is cut or left out."""
    room = config.max_seq_length - config.reinforce.max_tokens
    long = [problem for problem in problems if len(prompter.ids(problem.question)) > room]
    if long:
        raise UserError(
            f"{len(long)} of {len(problems)} prompts leave no room for reinforce.max_tokens "
            f"({config.reinforce.max_tokens}) within max_seq_length ({config.max_seq_length}):",
            *(f"  {len(prompter.ids(problem.question))} tokens: {problem.id}" for problem in long),
        )
    return problems


def train(
    planned: Plan,
    report: Report,
    resume: bool = False,
    overwrite: bool = False,
    after_phase: Callable[[str], None] = lambda _: None,
) -> None:
    """Run what was planned in its directory. Raises `Interrupted` after Ctrl-C, once everything is saved."""
    path = planned.config.adapter_path
    if not resume:
        check_new(path, overwrite)
    with checkpoint.locked(path):
        saved = checkpoint.load(path) if resume else None
        if saved is None:
            open_run(planned.base, planned.config)
        Run(planned.config, planned.base, report, after_phase).train(planned.phases, saved)
