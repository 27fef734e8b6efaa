"""Assemble a run from its configuration: model, prompts, problems, adapter, phases; then train, or go on training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.evaluate.suites import suite
from mlx_trace.model.base import Base, attach_adapter, load_base, recompute_layers, start_from
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.contamination import Overlap, overlaps
from mlx_trace.problems.mixture import Mixture, Part, mix
from mlx_trace.problems.problem import Problem
from mlx_trace.train import checkpoint
from mlx_trace.train.loop import Phase, Report, Run, check_new, open_run
from mlx_trace.train.reinforce import Reinforce
from mlx_trace.train.sft import Example, Sft, examples


@dataclass(frozen=True)
class Lengths:
    """What a source gives, and how long it is in tokens: prompts, traces (0 without any), and both together."""

    source: str
    phase: str
    problems: int
    prompt: float  # mean
    trace: float  # mean
    median: int
    most: int  # of 95%
    longest: int
    note: str


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start: everything loaded and checked, nothing written yet."""

    config: Config
    base: Base
    phases: list[Phase]
    notes: list[str]  # what each phase will do, for people
    lengths: list[Lengths] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)


def plan(config: Config) -> Plan:
    """Load and check all that a run needs; UserError if it cannot start."""
    base = load_base(config.model, config.trust_remote_code)
    prompter = Prompter(base.tokenizer, config.prompt)
    planned = Plan(config, base, [], [])
    wants_sft = config.epochs > 0 if config.iters is None else config.iters > 0
    wants_rl = config.reinforce.iters > 0
    if not (wants_sft or wants_rl):
        raise UserError("there is nothing to train: epochs (or iters) and reinforce.iters are all 0")
    mixture = prompts = Mixture([])
    if wants_sft or config.reinforce.data is None:
        mixture = prompts = mix(config.data, config.seed, config.examples)
    if wants_rl and config.reinforce.data is not None:
        prompts = mix(config.reinforce.data, config.seed, config.reinforce.examples)
    if wants_sft:
        rows = examples(mixture.problems, prompter, config.max_seq_length)
        planned.lengths.extend(_example_lengths(mixture.parts, rows))
    if wants_rl:
        answered = _answered(prompts.problems, prompter, config)
        if prompts is not mixture or not wants_sft:
            planned.lengths.extend(_prompt_lengths(prompts.parts, prompter))
    sets = {name: suite(name) for name in config.contamination}
    training = [*mixture.problems, *(prompts.problems if prompts is not mixture else [])]
    planned.overlaps.extend(overlaps(sets, training) if sets else [])
    _attach(base, config)
    if wants_sft:
        planned.phases.append(Sft(base, config, rows))
        planned.notes.append(f"sft: {planned.phases[-1].updates:,} updates on {len(rows):,} examples")
    if wants_rl:
        planned.phases.append(Reinforce(base, prompter, config, answered))
        planned.notes.append(f"rl: {planned.phases[-1].updates:,} updates on {len(answered):,} prompts")
    return planned


def _attach(base: Base, config: Config) -> None:
    attach_adapter(base, config)
    if config.resume_adapter_file is not None:
        start_from(base, config.resume_adapter_file)
    if config.grad_checkpoint:
        recompute_layers(base.network)


def _example_lengths(parts: Sequence[Part], rows: Sequence[Example]) -> list[Lengths]:
    """Describe each source's examples; `rows` are those of all problems with a trace, in order."""
    found = []
    start = 0
    for part in parts:
        count = sum(problem.trace is not None for problem in part.problems)
        mine = rows[start : start + count]
        start += count
        note = part.note if count == len(part.problems) else f"{len(part.problems) - count:,} without a trace"
        found.append(
            _lengths(part.name, "sft", [len(row.prompt) for row in mine], [len(row.target) for row in mine], note)
        )
    return found


def _prompt_lengths(parts: Sequence[Part], prompter: Prompter) -> list[Lengths]:
    return [_lengths(part.name, "rl", prompts := [len(prompter.ids(problem.question)) for problem in part.problems],
                     [0] * len(prompts), part.note) for part in parts]  # fmt: skip


def _lengths(source: str, phase: str, prompts: list[int], traces: list[int], note: str) -> Lengths:
    whole = sorted(prompt + trace for prompt, trace in zip(prompts, traces, strict=True)) or [0]
    count = len(prompts)
    return Lengths(source, phase, count, sum(prompts) / max(1, count), sum(traces) / max(1, count),
                   whole[len(whole) // 2], whole[int(0.95 * (len(whole) - 1))], whole[-1], note)  # fmt: skip


def _answered(problems: list[Problem], prompter: Prompter, config: Config) -> list[Problem]:
    """Check that every prompt of the RL phase fits with its reply; none is cut or left out."""
    room = config.max_seq_length - config.reinforce.max_tokens
    lengths = {problem.id: len(prompter.ids(problem.question)) for problem in problems}
    long = [problem.id for problem in problems if lengths[problem.id] > room]
    if long:
        raise UserError(
            f"{len(long)} of {len(problems)} prompts leave no room for reinforce.max_tokens "
            f"({config.reinforce.max_tokens}) within max_seq_length ({config.max_seq_length}):",
            *(f"  {lengths[name]} tokens: {name}" for name in long),
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
