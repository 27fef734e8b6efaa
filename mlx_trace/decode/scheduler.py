"""Who runs next: sequences come into the batch as there is room, are forked where samples differ, and leave.

Sequences are of different lengths in one cache. Samples of a request are one sequence until they draw different tokens.
A sample's random stream belongs to (seed, prompt, sample), not to its batch. Knows nothing of networks.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np

from mlx_trace.decode.cache import RaggedCache
from mlx_trace.decode.episode import Draw, Episode, Request, Sample, SharedSequence
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

    def read_and_draw(
        self, runs: Sequence[Sequence[int]], cache: RaggedCache, drawing: Sequence[tuple[int, SharedSequence]],
        temperature: float,
    ) -> list[list[Draw]]: ...  # fmt: skip


class Scheduler:
    """The sequences that are decoded together, of at most `max_sequences` samples; others come in as these end."""

    def __init__(self, engine: Passes, requests: Sequence[Request], params: SamplingParams) -> None:
        self.engine, self.requests, self.params = engine, requests, params
        self.episodes = {index * params.n + number: Episode(index, request.ids, number=number)
                         for index, request in enumerate(requests) for number in range(params.n)}  # fmt: skip
        by_length = sorted(range(len(requests)), key=lambda index: -len(requests[index].ids))
        self.unread = deque(by_length)  # requests, long ones first
        self.ready: deque[tuple[range, int]] = deque()  # (episodes, row of the prompts' cache) that wait for room
        self.prompts = RaggedCache(0, 0)  # those read ahead
        self.width = min(engine.max_sequences, len(self.episodes))
        self.group = min(params.n, self.width)  # samples that begin as one sequence
        self.rows: list[SharedSequence | None] = [None] * (self.width // max(self.group, 1))
        self.cache = engine.empty_cache(len(self.rows))

    def passes(self) -> Iterator[list[Episode]]:
        """Decode, pass by pass, yielding the episodes that each pass has finished."""
        while self.unread or self.ready or any(sequence is not None for sequence in self.rows):
            self._admit()
            if sum(sequence is not None for sequence in self.rows) <= _SPARSE * len(self.rows):
                self._rearrange([])
            yield self._pass()

    # --- coming in ---------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Begin waiting groups that there is room for, reading prompts ahead where none are ready."""
        room = self.width - sum(len(sequence.samples) for sequence in self.rows if sequence is not None)
        while room >= self.group and (self.ready or self.unread):
            if not self.ready:
                self._read_ahead()
            admitted: list[tuple[range, int]] = []
            while self.ready and len(self.ready[0][0]) <= room:
                admitted.append(self.ready.popleft())
                room -= len(admitted[-1][0])
            self._begin(admitted)

    def _begin(self, admitted: Sequence[tuple[range, int]]) -> None:
        """Give each group a row."""
        free = [row for row, sequence in enumerate(self.rows) if sequence is None][: len(admitted)]
        if missing := len(admitted) - len(free):
            free += range(len(self.rows), len(self.rows) + missing)
            self.rows += [None] * missing
            self.cache.grow(missing)
        self.cache.fill(free, self.prompts, [row for _, row in admitted])
        for row, (numbers, _) in zip(free, admitted, strict=True):
            self.rows[row] = self._sequence(numbers)

    def _read_ahead(self) -> None:
        count = max(1, -(-self.width // (2 * self.params.n)))
        chosen = [self.unread.popleft() for _ in range(min(count, len(self.unread)))]
        self.prompts, activations = self.engine.prompt_cache([self.requests[index].ids[:-1] for index in chosen])
        for row, (index, own) in enumerate(zip(chosen, activations, strict=True)):
            numbers = range(index * self.params.n, (index + 1) * self.params.n)
            for number in numbers:
                self.episodes[number].prompt_activations = own
            self.ready.extend((numbers[n : n + self.group], row) for n in range(0, self.params.n, self.group))

    def _sequence(self, numbers: Sequence[int]) -> SharedSequence:
        """Return some samples of a request as one sequence."""
        index = self.episodes[numbers[0]].prompt
        samples = [Sample(self.episodes[number], self._stream(index, number % self.params.n)) for number in numbers]
        automaton = self.engine.automaton(self.requests[index], self.params.max_tokens)
        return SharedSequence(samples, automaton, self.engine.stop_ids, self.params.max_tokens)

    def _stream(self, index: int, sample: int) -> np.random.Generator:
        named = self.requests[index].stream
        key = derive_seed("sample", self.params.seed, index if named is None else named, sample)
        return np.random.Generator(np.random.PCG64(key))

    # --- going on ----------------------------------------------------------------------------------------------

    def _pass(self) -> list[Episode]:
        """Read what waits in every sequence, as far as a pass goes, and draw where nothing waits any more."""
        engine = self.engine
        pending = [0 if sequence is None else len(sequence.pending) for sequence in self.rows]
        width = engine.pass_width(pending, len(self.rows))
        runs: list[list[int]] = [[] if sequence is None else sequence.read(width) for sequence in self.rows]
        drawing = [(row, own) for row, own in enumerate(self.rows) if own is not None and not own.pending]
        draws = engine.read_and_draw(runs, self.cache, drawing, self.params.temperature)
        for sequence, indexes in zip(self.rows, engine.activations.indexes if engine.activations else (), strict=False):
            for sample in () if sequence is None else sequence.samples:
                sample.episode.activations.extend(indexes)
        return self._take(drawing, draws)

    def _take(self, drawing: Sequence[tuple[int, SharedSequence]], draws: Sequence[Sequence[Draw]]) -> list[Episode]:
        """Note what was drawn: samples that drew different tokens are forked, and others finish, which are returned."""
        began = time.perf_counter()
        finished: list[Episode] = []
        forked: list[tuple[int, SharedSequence]] = []
        for (row, drawer), own in zip(drawing, draws, strict=True):
            sequences = drawer.take(own)
            finished += [sample.episode for sequence in sequences if sequence.finished for sample in sequence.samples]
            running = [sequence for sequence in sequences if not sequence.finished]
            forked += [(row, sequence) for sequence in running[1:]]
            self.rows[row] = running[0] if running else None
            if not running:
                self.cache.lengths[row] = 0
        self.engine.automaton_seconds += time.perf_counter() - began
        if forked:
            self._rearrange(forked)
        return finished

    def _rearrange(self, forked: Sequence[tuple[int, SharedSequence]]) -> None:
        """Leave out free rows, and give each forked sequence a row of its own, a copy of the one it comes from."""
        running = [(row, sequence) for row, sequence in enumerate(self.rows) if sequence is not None]
        self.rows = [sequence for _, sequence in [*running, *forked]]
        self.cache.keep([row for row, _ in [*running, *forked]])
