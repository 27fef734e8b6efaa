"""Who runs next: sequences come into the batch as there is room, are forked where samples differ, and leave.

Sequences are of different lengths in one cache. Samples of a request are one sequence until they differ.
A sample's random stream belongs to (seed, prompt, sample), not to its batch. Knows nothing of networks.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from mlx_trace.decode.cache import RaggedCache
from mlx_trace.decode.episode import Episode, Request, Sample, SampledToken, SharedSequence
from mlx_trace.decode.forward import CachedActivations
from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.params import SamplingParams
from mlx_trace.seeds import derive_seed

_SPARSE: Final = 0.75  # free rows are dropped once at most this share is still running


class Passes(Protocol):
    """What a scheduler asks of an engine: how much fits, and one pass."""

    stop_ids: frozenset[int]
    max_sequences: int
    activations: CachedActivations | None
    automaton_seconds: float

    def empty_cache(self, num_rows: int) -> RaggedCache: ...

    def prompt_cache(self, prompts: Sequence[Sequence[int]]) -> tuple[RaggedCache, list[list[int]]]: ...

    def automaton(self, request: Request, max_tokens: int) -> Automaton | None: ...

    def pass_width(self, pending: Sequence[int], batch_size: int) -> int: ...

    def read_and_sample(
        self, runs: Sequence[Sequence[int]], cache: RaggedCache, sampling: Sequence[tuple[int, SharedSequence]]
    ) -> list[list[SampledToken]]: ...  # fmt: skip


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits: its number, and how it is replied to."""

    index: int
    request: Request
    params: SamplingParams


@dataclass(frozen=True, slots=True)
class Group:
    """Samples of a request that begin as one sequence; their prompt was read into a row of the prompts' cache."""

    waiting: Waiting
    numbers: range
    row: int


class Scheduler:
    """The sequences that are decoded together, of at most `width` samples; others come in as these end.

    Requests may come and be cancelled between two passes. Its cache begins with so many rows, and grows.
    """

    def __init__(self, engine: Passes, width: int, num_rows: int = 0) -> None:
        self.engine, self.width = engine, width
        self.episodes: dict[tuple[int, int], Episode] = {}  # by request and sample
        self.unread: deque[Waiting] = deque()
        self.ready: deque[Group] = deque()  # wait for room
        self.prompts = RaggedCache(0, 0)  # those read ahead
        self.rows: list[SharedSequence | None] = [None] * num_rows
        self.cache = engine.empty_cache(num_rows)

    @classmethod
    def of(cls, engine: Passes, requests: Sequence[Request], params: SamplingParams) -> "Scheduler":
        """Return one that replies to some requests, all alike, long ones first."""
        width = min(engine.max_sequences, len(requests) * params.n)
        scheduler = cls(engine, width, width // max(min(params.n, width), 1))
        for index, request in enumerate(requests):
            scheduler.add(index, request, params)
        scheduler.unread = deque(sorted(scheduler.unread, key=lambda waiting: -len(waiting.request.ids)))
        return scheduler

    def add(self, index: int, request: Request, params: SamplingParams) -> None:
        """Let a request wait, under a number that no other one has."""
        self.unread.append(Waiting(index, request, params))
        for number in range(params.n):
            self.episodes[index, number] = Episode(index, request.ids, number=number)

    def cancel(self, index: int) -> None:
        """Forget a request, wherever it is."""
        self.unread = deque(waiting for waiting in self.unread if waiting.index != index)
        self.ready = deque(group for group in self.ready if group.waiting.index != index)
        for row, sequence in enumerate(self.rows):
            if sequence is not None and sequence.samples[0].episode.prompt == index:
                self._free(row)
        for key in [key for key in self.episodes if key[0] == index]:
            del self.episodes[key]

    @property
    def is_busy(self) -> bool:
        """Tell whether there is something to decode."""
        return bool(self.unread or self.ready or any(sequence is not None for sequence in self.rows))

    def passes(self) -> Iterator[list[Episode]]:
        """Decode, pass by pass, yielding the episodes that each pass has finished."""
        while self.is_busy:
            yield self.advance()

    def advance(self) -> list[Episode]:
        """Decode one pass of what there is; return the episodes that it has finished."""
        self._admit()
        if sum(sequence is not None for sequence in self.rows) <= _SPARSE * len(self.rows):
            self._rearrange([])
        return self._pass()

    # --- coming in ---------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Begin waiting groups that there is room for, reading prompts ahead where none are ready."""
        room = self.width - sum(len(sequence.samples) for sequence in self.rows if sequence is not None)
        while (self.ready or self.unread) and self._size_of_next() <= room:
            if not self.ready:
                self._read_ahead()
            admitted: list[Group] = []
            while self.ready and len(self.ready[0].numbers) <= room:
                admitted.append(self.ready.popleft())
                room -= len(admitted[-1].numbers)
            self._begin(admitted)

    def _size_of_next(self) -> int:
        return len(self.ready[0].numbers) if self.ready else min(self.unread[0].params.n, self.width)

    def _begin(self, admitted: Sequence[Group]) -> None:
        """Give each group a row."""
        free = [row for row, sequence in enumerate(self.rows) if sequence is None][: len(admitted)]
        if missing := len(admitted) - len(free):
            free += range(len(self.rows), len(self.rows) + missing)
            self.rows += [None] * missing
            self.cache.grow(missing)
        self.cache.fill(free, self.prompts, [group.row for group in admitted])
        for row, group in zip(free, admitted, strict=True):
            self.rows[row] = self._sequence(group.waiting, group.numbers)

    def _read_ahead(self) -> None:
        """Read the prompts of as many requests as fill half of the room."""
        chosen: list[Waiting] = []
        while self.unread and 2 * sum(waiting.params.n for waiting in chosen) < self.width:
            chosen.append(self.unread.popleft())
        self.prompts, activations = self.engine.prompt_cache([waiting.request.ids[:-1] for waiting in chosen])
        for row, (waiting, own) in enumerate(zip(chosen, activations, strict=True)):
            n, numbers = min(waiting.params.n, self.width), range(waiting.params.n)
            for number in numbers:
                self.episodes[waiting.index, number].prompt_activations = own
            self.ready.extend(Group(waiting, numbers[start : start + n], row) for start in numbers[::n])

    def _sequence(self, waiting: Waiting, numbers: Sequence[int]) -> SharedSequence:
        """Return some samples of a request as one sequence."""
        params = waiting.params
        samples = [Sample(self.episodes[waiting.index, number], _stream(waiting, number)) for number in numbers]
        automaton = self.engine.automaton(waiting.request, params.max_tokens)
        return SharedSequence(samples, automaton, self.engine.stop_ids, params)

    # --- going on ----------------------------------------------------------------------------------------------

    def _pass(self) -> list[Episode]:
        """Read what waits in every sequence, as far as a pass goes, and sample where nothing waits any more."""
        engine = self.engine
        pending = [0 if sequence is None else len(sequence.pending) for sequence in self.rows]
        width = engine.pass_width(pending, len(self.rows))
        runs: list[list[int]] = [[] if sequence is None else sequence.read(width) for sequence in self.rows]
        sampling = [(row, own) for row, own in enumerate(self.rows) if own is not None and not own.pending]
        tokens = engine.read_and_sample(runs, self.cache, sampling)
        for sequence, indexes in zip(self.rows, engine.activations.indexes if engine.activations else (), strict=False):
            for sample in () if sequence is None else sequence.samples:
                sample.episode.activations.extend(indexes)
        return self._take(sampling, tokens)

    def _take(
        self, sampling: Sequence[tuple[int, SharedSequence]], tokens: Sequence[Sequence[SampledToken]]
    ) -> list[Episode]:
        """Note what was sampled: samples of different tokens are forked, and others finish, which are returned."""
        began = time.perf_counter()
        finished: list[Episode] = []
        forked: list[tuple[int, SharedSequence]] = []
        for (row, sequence), own in zip(sampling, tokens, strict=True):
            sequences = sequence.take(own)
            finished += [sample.episode for sequence in sequences if sequence.finished for sample in sequence.samples]
            running = [sequence for sequence in sequences if not sequence.finished]
            forked += [(row, sequence) for sequence in running[1:]]
            self.rows[row] = running[0] if running else None
            if not running:
                self._free(row)
        self.engine.automaton_seconds += time.perf_counter() - began
        if forked:
            self._rearrange(forked)
        return finished

    def _free(self, row: int) -> None:
        self.rows[row] = None
        self.cache.lengths[row] = 0

    def _rearrange(self, forked: Sequence[tuple[int, SharedSequence]]) -> None:
        """Leave out free rows, and give each forked sequence a row of its own, a copy of the one it comes from."""
        running = [(row, sequence) for row, sequence in enumerate(self.rows) if sequence is not None]
        self.rows = [sequence for _, sequence in [*running, *forked]]
        self.cache.keep([row for row, _ in [*running, *forked]])


def _stream(waiting: Waiting, sample: int) -> np.random.Generator:
    named = waiting.request.stream
    key = derive_seed("sample", waiting.params.seed, waiting.index if named is None else named, sample)
    return np.random.Generator(np.random.PCG64(key))
