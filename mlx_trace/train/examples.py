"""What SFT learns from: examples as token ids, every one whole, none dropped, and the order they come in.

Takes problems with gold traces. Knows nothing of networks.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.grammar.vocabulary import Vocabulary, usable_vocabulary
from mlx_trace.errors import UserError
from mlx_trace.model.prompts import CLOSING, Prompter
from mlx_trace.problems.forms import in_form
from mlx_trace.problems.problem import Problem
from mlx_trace.seeds import derive_seed
from mlx_trace.train.choices import Choices, choices_of

AT_ONCE: Final = 1000  # questions that are encoded together
_POOL: Final = 16  # batches that are sorted by length together
_JITTER: Final = 0.1  # how much longer an example may count when they are sorted
_SHOWN: Final = 10  # of the examples that are too long


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and its target, as ids; the target ends in the end of sequence. `steps` are those of the trace.

    With `choices` only those of its tokens count in the loss.
    """

    prompt: Sequence[int]
    target: Sequence[int]
    steps: int = 0
    choices: Choices | None = None

    def __len__(self) -> int:
        return len(self.prompt) + len(self.target)

    @property
    def counted(self) -> Sequence[int]:
        """Return the indexes of the target tokens that count in the loss."""
        return range(len(self.target)) if self.choices is None else self.choices.indexes


Watch = Callable[[str, int, int], None]  # (what is being done, how far it is, of how many)


def unwatched(what: str, done: int, total: int) -> None:
    """Watch nothing."""


def examples(
    problems: Sequence[Problem], prompter: Prompter, max_length: int, watch: Watch = unwatched,
    held_to: Decoding | None = None,
) -> list[Example]:  # fmt: skip
    """Encode the problems that have a gold trace; UserError lists the longest if any does not fit `max_length`.

    With `held_to`, only what is a choice under that constraint counts in the loss.
    """
    vocabulary = usable_vocabulary(prompter.tokenizer)
    form = prompter.prompt.trace_form
    golds = [(problem.question, trace) for problem in problems if (trace := in_form(problem, form)) is not None]
    made: list[Example] = []
    for start in range(0, len(golds), AT_ONCE):
        made += _encoded(golds[start : start + AT_ONCE], prompter, vocabulary, held_to)
        watch("encoding examples", len(made), len(golds))
    if not made:
        raise UserError("data: none of the problems has a gold trace; SFT needs them (or set iters: 0 to leave it out)")
    if long := sorted((-len(example), index) for index, example in enumerate(made) if len(example) > max_length):
        with_traces = [problem for problem in problems if problem.trace is not None]
        raise UserError(
            f"{len(long)} of {len(made)} examples are longer than max_seq_length ({max_length} tokens); "
            "none is cut or left out, so raise it or change the data. The longest:",
            *(f"  {-length} tokens: {with_traces[index].id}" for length, index in long[:_SHOWN]),
        )
    return made


def _encoded(
    golds: Sequence[tuple[str, str]], prompter: Prompter, vocabulary: Vocabulary | None, held_to: Decoding | None
) -> Iterator[Example]:
    """Yield as `example` does, in arrays, which take a tenth of what lists of integers do."""
    if vocabulary is None:
        made = (prompter.example(question, trace) for question, trace in golds)
    else:
        prompts = prompter.many_ids([question for question, _ in golds])
        made = ((ids, _target(trace, prompter, vocabulary)) for ids, (_, trace) in zip(prompts, golds, strict=True))
    for (question, trace), (prompt, target) in zip(golds, made, strict=True):
        choices = None
        if held_to is not None and vocabulary is not None:
            choices = choices_of(question, target[:-1], vocabulary, held_to, prompter.prompt.trace_form)
        yield Example(array("i", prompt), array("i", target), _steps(trace), choices)


def example(question: str, trace: str, prompter: Prompter, vocabulary: Vocabulary | None) -> Example:
    """Encode a question and its trace: in the tokens that the constraint offers, which decoding writes, too.

    Without a vocabulary (a tokenizer that the constraint cannot hold), as the tokenizer itself does.
    """
    if vocabulary is None:
        return Example(*prompter.example(question, trace), _steps(trace))
    return Example(prompter.ids(question), _target(trace, prompter, vocabulary), _steps(trace))


def _target(trace: str, prompter: Prompter, vocabulary: Vocabulary) -> list[int]:
    return [*vocabulary.word(trace + CLOSING), prompter.tokenizer.eos_token_id]


def _steps(trace: str) -> int:
    return trace.count("{op:")


class Batches:
    """The batches of a run, each a list of indexes: a function of the seed and the update's number alone.

    In an epoch every example comes once: shuffled, sorted by length within pools of batches, and the batches shuffled.
    A batch has `size` examples, or as many as fit `tokens` once padded. With `steps`, a number an example, the first
    epoch goes from few steps to many, and is shuffled among equals only.
    """

    def __init__(
        self, lengths: Sequence[int], size: int, tokens: int | None, seed: int, steps: Sequence[int] | None = None
    ) -> None:
        self.lengths, self.size, self.tokens, self.seed, self.steps = lengths, size, tokens, seed, steps
        self._order: tuple[int, list[list[int]]] = (-1, [])
        self._starts = [0]  # the update that each epoch begins with, as far as they were counted

    def __getitem__(self, update: int) -> list[int]:
        epoch, place = self.locate(update)
        return self.epoch(epoch)[place]

    def locate(self, update: int) -> tuple[int, int]:
        """Return an update's epoch, and its place there."""
        if self.tokens is None:
            return divmod(update, self.updates(1))
        while self._starts[-1] <= update:
            self.updates(len(self._starts))
        epoch = int(np.searchsorted(self._starts, update, side="right")) - 1
        return epoch, update - self._starts[epoch]

    def updates(self, epochs: int) -> int:
        """Return how many updates so many epochs take."""
        if self.tokens is None:
            return epochs * -(-len(self.lengths) // self.size)
        while len(self._starts) <= epochs:
            epoch = len(self._starts) - 1
            self._starts.append(self._starts[-1] + len(self.epoch(epoch)))
        return self._starts[epochs]

    def first_epoch(self) -> list[list[int]]:
        """Return the first epoch's batches."""
        return self._make(0)

    def epoch(self, epoch: int) -> list[list[int]]:
        """Return an epoch's batches."""
        if self._order[0] != epoch:
            self._order = epoch, self._make(epoch)
        return self._order[1]

    def _make(self, epoch: int) -> list[list[int]]:
        rng = np.random.default_rng(derive_seed("epoch", self.seed, epoch))
        order = rng.permutation(len(self.lengths)).tolist()
        if self.steps is not None and epoch == 0:
            return list(self._cut(sorted(order, key=self.steps.__getitem__)))
        pool = self._pool()
        near = np.array(self.lengths, dtype=float)
        if len(order) <= pool:  # or such small data would have the same batches in every epoch
            near *= 1 + _JITTER * rng.random(len(order))
        pools = [sorted(order[start : start + pool], key=near.__getitem__) for start in range(0, len(order), pool)]
        batches = [batch for chunk in pools for batch in self._cut(chunk)]
        rng.shuffle(batches)
        return batches

    def _pool(self) -> int:
        if self.tokens is None:
            return self.size * _POOL
        return max(1, int(self.tokens * len(self.lengths) / sum(self.lengths))) * _POOL

    def _cut(self, order: list[int]) -> Iterator[list[int]]:
        if self.tokens is None:
            yield from (order[start : start + self.size] for start in range(0, len(order), self.size))
        else:
            yield from by_budget(order, self.lengths, self.tokens)


def by_budget(order: Sequence[int], lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Cut an order into batches that hold at most so many tokens once padded; one that exceeds them stands alone."""
    batch: list[int] = []
    longest = 0
    for index in order:
        longest = max(longest, lengths[index])
        if batch and (len(batch) + 1) * longest > tokens:
            yield batch
            batch, longest = [], lengths[index]
        batch.append(index)
    if batch:
        yield batch
