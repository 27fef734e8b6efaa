"""What a run trains on: its mixture of problems, encoded, measured and checked before anything starts.

Takes a configuration and a prompter. Knows nothing of networks.
"""

import gc
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Final

from mlx_trace.config import Config
from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.vocabulary import vocabulary_of
from mlx_trace.errors import UserError
from mlx_trace.evaluate.suites import suite
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.contamination import Overlap, overlaps
from mlx_trace.problems.mixture import Mixture, SourcePart, mix
from mlx_trace.problems.problem import Problem
from mlx_trace.seeds import stream
from mlx_trace.train.examples import AT_ONCE, Example, Watch, examples, unwatched
from mlx_trace.train.rehearse import try_constraint
from mlx_trace.train.validation import validation_problems

_MOST_SEEN: Final = 100_000_000  # examples that a run may see


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
class Material:
    """The examples of SFT and those held out from them, the problems of reinforcement, and what is known of them."""

    rows: list[Example] = field(default_factory=list)
    held_out: list[Example] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    lengths: list[Lengths] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    constraint: str = ""  # how gold traces fare under it
    validation: list[Problem] = field(default_factory=list)  # those that accuracy is measured on

    @cached_property
    def digest(self) -> str:
        """Return a digest of everything that is learnt from, in its order."""
        summary = blake2b(digest_size=16)
        for row in (*self.rows, *self.held_out):
            summary.update(array("i", [*row.prompt, -1, *row.target, -2]).tobytes())
        for problem in (*self.problems, *self.validation):  # what is best depends on the latter
            summary.update(f"{problem.id}\0{problem.question}\0{problem.answer}\n".encode())
        return summary.hexdigest()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let Python look for no cycles while millions of objects are made that are all kept: it would find none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_uncollected()
def gather(config: Config, prompter: Prompter, watch: Watch = unwatched, positions: int | None = None) -> Material:
    """Return what a run trains on; UserError if there is nothing, or if something does not fit.

    `positions` is how many tokens the model was made for, where that is known.
    """
    wants_sft = config.has_sft
    wants_rl = config.reinforce.iters > 0
    if not (wants_sft or wants_rl):
        raise UserError("there is nothing to train: epochs (or iters) and reinforce.iters are all 0")
    needs_gold = wants_sft or (wants_rl and config.reinforce.sft_weight > 0)
    mixture = prompts = Mixture([])
    if needs_gold or config.reinforce.data is None:
        mixture = prompts = mix(config.data, config.seed, config.examples)
    if wants_rl and config.reinforce.data is not None:
        prompts = mix(config.reinforce.data, config.seed, config.reinforce.examples)
    asked = validation_problems(config, prompter, positions)
    if wants_rl or asked:
        check_replies(config, prompter)
    rows, lengths, answered = [], [], []
    sizes: dict[str, int] = {}  # of prompts, in tokens
    if needs_gold:
        held_to = config.decoding if config.loss == "choices" else None
        rows = examples(mixture.problems, prompter, config.max_seq_length, watch, held_to)
        lengths += _example_lengths(mixture.parts, rows)
        _check_size(config, len(rows))
    if wants_rl:
        golds = (problem.question for problem in mixture.problems if problem.trace is not None)
        known = {question: len(row.prompt) for question, row in zip(golds, rows, strict=True)} if rows else {}
        sizes = _prompt_sizes(prompts.problems, prompter, known, watch)
        answered = _answered(prompts.problems, sizes, config)
        if prompts is not mixture or not needs_gold:
            lengths += _prompt_lengths(prompts.parts, sizes)
    _check_positions(config, positions, rows, [sizes[problem.question] for problem in answered])
    training = [*mixture.problems, *(prompts.problems if prompts is not mixture else [])]
    overlapping = _overlaps(config, asked, training, watch)
    kept, held_out = _hold_out(rows, config)
    constraint = try_constraint(mixture.problems, prompter, config.decoding)
    return Material(kept, held_out, answered, lengths, overlapping, constraint, asked)


def _overlaps(config: Config, asked: list[Problem], training: Sequence[Problem], watch: Watch) -> list[Overlap]:
    """Compare what is trained on with the evaluation sets, and with the problems that accuracy is measured on."""
    sets = {name: suite(name) for name in config.contamination}
    if asked:
        sets.setdefault(config.eval_suite, asked)
    return overlaps(sets, _watched(training, watch)) if sets else []


def _check_positions(config: Config, positions: int | None, rows: Sequence[Example], prompts: Sequence[int]) -> None:
    """Refuse sequences that go beyond the model's positions, which neither it nor anyone after it can tell apart."""
    if positions is None or config.max_seq_length <= positions:
        return  # none can
    replies = config.reinforce.max_tokens if prompts else 0
    prompt = max(prompts, default=0)
    faults = []
    if (longest := max(map(len, rows), default=0)) > positions:
        faults.append(f"the longest example has {longest:,}")
    if prompt + replies > positions:
        faults.append(f"the longest prompt with reinforce.max_tokens ({replies:,}) makes {prompt + replies:,}")
    if faults:
        raise UserError(f"{config.model} was made for sequences of {positions:,} tokens, and {'; '.join(faults)}; "
                        f"max_seq_length: {positions} names those that are longer")  # fmt: skip


def _hold_out(rows: list[Example], config: Config) -> tuple[list[Example], list[Example]]:
    """Set `val_examples` aside, whatever they are."""
    if config.val_examples == 0:
        return rows, []
    if config.val_examples >= len(rows):
        raise UserError(f"val_examples is {config.val_examples}, and there are {len(rows)} examples in all")
    chosen = set(stream("held out", config.seed).sample(range(len(rows)), config.val_examples))
    return [row for index, row in enumerate(rows) if index not in chosen], [rows[index] for index in sorted(chosen)]


def _example_lengths(parts: Sequence[SourcePart], rows: Sequence[Example]) -> list[Lengths]:
    """Describe each source's examples; `rows` are those of all problems with a trace, in order."""
    measured = []
    start = 0
    for part in parts:
        count = sum(problem.trace is not None for problem in part.problems)
        mine = rows[start : start + count]
        start += count
        note = part.note if count == len(part.problems) else f"{len(part.problems) - count:,} without a trace"
        measured.append(
            _lengths(part.name, "sft", [len(row.prompt) for row in mine], [len(row.target) for row in mine], note)
        )
    return measured


def _prompt_sizes(
    problems: Sequence[Problem], prompter: Prompter, known: dict[str, int], watch: Watch
) -> dict[str, int]:
    """Return how many tokens each question's prompt has; `known` are those that were counted already."""
    sizes = dict(known)
    new = [problem.question for problem in problems if problem.question not in sizes]
    for start in range(0, len(new), AT_ONCE):
        chosen = new[start : start + AT_ONCE]
        sizes |= {question: len(ids) for question, ids in zip(chosen, prompter.many_ids(chosen), strict=True)}
        watch("encoding prompts", start + len(chosen), len(new))
    return sizes


def _watched(problems: Sequence[Problem], watch: Watch) -> Iterator[Problem]:
    for done, problem in enumerate(problems, start=1):
        yield problem
        if done % AT_ONCE == 0 or done == len(problems):
            watch("comparing with evaluation sets", done, len(problems))


def _prompt_lengths(parts: Sequence[SourcePart], sizes: dict[str, int]) -> list[Lengths]:
    return [_lengths(part.name, "rl", prompts := [sizes[problem.question] for problem in part.problems],
                     [0] * len(prompts), part.note) for part in parts]  # fmt: skip


def _lengths(source: str, phase: str, prompts: list[int], traces: list[int], note: str) -> Lengths:
    whole = sorted(prompt + trace for prompt, trace in zip(prompts, traces, strict=True)) or [0]
    count = len(prompts)
    return Lengths(source, phase, count, sum(prompts) / max(1, count), sum(traces) / max(1, count),
                   whole[len(whole) // 2], whole[int(0.95 * (len(whole) - 1))], whole[-1], note)  # fmt: skip


def _answered(problems: list[Problem], sizes: dict[str, int], config: Config) -> list[Problem]:
    """Check that every prompt of the RL phase fits with its reply; none is cut or left out."""
    room = config.max_seq_length - config.reinforce.max_tokens
    long = [problem for problem in problems if sizes[problem.question] > room]
    if long:
        raise UserError(
            f"{len(long)} of {len(problems)} prompts leave no room for reinforce.max_tokens "
            f"({config.reinforce.max_tokens}) within max_seq_length ({config.max_seq_length}):",
            *(f"  {sizes[problem.question]} tokens: {problem.id}" for problem in long),
        )
    return problems


def check_replies(config: Config, prompter: Prompter) -> None:
    """Refuse replies of so few tokens that they hold no trace."""
    if config.decoding.constraint == "scope":
        try:
            Automaton(
                vocabulary_of(prompter.tokenizer), None, config.reinforce.max_tokens, form=config.prompt.trace_form
            )
        except UserError as error:
            raise UserError(*(f"reinforce.max_tokens: {fault}" for fault in error.faults)) from None


def _check_size(config: Config, count: int) -> None:
    """Refuse more epochs than could ever be laid out."""
    if config.iters is None and config.epochs * count > _MOST_SEEN:
        raise UserError(f"epochs: {config.epochs:,} of {count:,} examples are more than {_MOST_SEEN:,} in all")
