"""Sample replies in batches: what samples share is read once, forced runs in one pass, rows come and go.

Takes a network and requests (prompt ids, and the numbers its question grounds); returns an `Episode` each. Rows are of
different lengths in one cache. Samples of a request are one row until they draw different tokens. A sample's random
stream belongs to (seed, prompt, sample), not to its batch. Knows nothing of text or rewards, and of the language only
that an automaton says what may come next.
"""

import math
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, Literal

import mlx.core as mx
import numpy as np

from mlx_trace.decode.automaton import Automaton
from mlx_trace.decode.cache import RaggedCache
from mlx_trace.decode.draw import Masks, draw
from mlx_trace.decode.episode import Draw, Episode, Request, Row, Sample
from mlx_trace.decode.forward import Forward, Kept
from mlx_trace.decode.vocabulary import Vocabulary
from mlx_trace.seeds import derive_seed

WIDTH: Final = 64  # samples decoded at once
HEADROOM: Final = 64  # tokens that take about as long as a pass takes by itself: 16 to 256 as timed on CPUs and GPUs
Cap = int | Literal["auto", "probe"]
_SPARSE: Final = 0.75  # free places are dropped once at most this share is still running
_READ: Final = 512  # tokens of a prompt that are read at once
_PACKED: Final = 0.6  # about the share of a token's cost that only tokens have; attention has it for gaps as well
_PROBED: Final = 128  # positions that rows have behind them when passes are timed


class Engine:
    """Decodes with one network. Call `refresh` when its weights have changed.

    `prefix` are the ids that every prompt begins with: they are read once. `cap` is the most tokens a row reads in one
    pass; auto weighs what a pass costs by itself against what its tokens cost, always alike, since passes of other
    widths round differently and a clock would decide what is sampled; probe times that once on this device. With
    `keep`, the states that go into that layer are kept until `refresh`, and episodes know the places of theirs.
    """

    def __init__(
        self, network: Any, stop_ids: Collection[int], vocabulary: Vocabulary | None = None,
        prefix: Sequence[int] = (), cap: Cap = "auto", width: int = WIDTH, keep: int | None = None,
    ) -> None:  # fmt: skip
        self.network, self.stop_ids, self.vocabulary = network, frozenset(stop_ids), vocabulary
        self.prefix, self.cap, self.width, self.keep = list(prefix), cap, width, keep
        self.headroom = None if cap == "probe" else HEADROOM  # tokens that take as long as a pass does by itself
        self.masks = Masks(vocabulary)
        self.passes = self.tokens_read = 0
        self.automaton_seconds = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Forget what was computed with other weights."""
        self.kept = None if self.keep is None else Kept(self.keep)
        self.forward = Forward(self.network, self.kept)
        self.prefix_places: list[int] = []
        self._prefix_cache: RaggedCache | None = None

    def sample(
        self,
        requests: Sequence[Request],
        max_tokens: int,
        num_samples: int = 1,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Episode]:
        """Sample `num_samples` replies to each request, at most `max_tokens` long; greedily at temperature 0.

        Returns the samples of a request beside one another, in the order of the requests.
        """
        batch = _Batch(self, requests, max_tokens, num_samples, temperature, seed)
        for _ in batch.passes():
            pass
        return batch.episodes

    def stream(self, request: Request, max_tokens: int) -> Iterator[Episode]:
        """Decode one reply greedily, yielding the episode whenever it has grown."""
        batch = _Batch(self, [request], max_tokens, 1, 0.0, 0)
        length = 0
        for _ in batch.passes():
            if len(batch.episodes[0].ids) > length:
                length = len(batch.episodes[0].ids)
                yield batch.episodes[0]

    def finished(self, requests: Sequence[Request], max_tokens: int) -> Iterator[Episode]:
        """Decode each request greedily, yielding the episodes as they finish, in whatever order."""
        batch = _Batch(self, requests, max_tokens, 1, 0.0, 0)
        for done in batch.passes():
            yield from done

    # --- reading -----------------------------------------------------------------------------------------------

    def read(self, cache: RaggedCache, runs: Sequence[Sequence[int]]) -> list[list[int]]:
        """Take runs of ids, one a row, into a cache; return the places of their kept states."""
        longest = max(map(len, runs))
        places: list[list[int]] = [[] for _ in runs]
        for start in range(0, longest, _READ):
            parts = [run[start : start + _READ] for run in runs]
            self.forward(parts, cache, [])
            cache.evaluate()
            for own, more in zip(places, self.kept.places if self.kept else (), strict=False):
                own.extend(more)
        return places

    def prompt_cache(self, prompts: Sequence[Sequence[int]]) -> tuple[RaggedCache, list[list[int]]]:
        """Return a cache that has read some prompts, the shared prefix only once, and their kept states' places."""
        shared = self.prefix if all(list(ids[: len(self.prefix)]) == self.prefix for ids in prompts) else []
        cache = RaggedCache(len(self.network.layers), len(prompts))
        if shared:
            if self._prefix_cache is None:
                self._prefix_cache = RaggedCache(len(self.network.layers), 1)
                (self.prefix_places,) = self.read(self._prefix_cache, [shared])
            cache.fill(range(len(prompts)), self._prefix_cache, [0] * len(prompts))
        own = self.read(cache, [ids[len(shared) :] for ids in prompts])
        return cache, [[*self.prefix_places, *places] if shared else places for places in own]

    def pass_width(self, pending: Sequence[int], batch_size: int) -> int:
        """Return how many tokens a row may read in the next pass, given how many wait in each."""
        longest = max(pending)
        if isinstance(self.cap, int):
            return min(self.cap, longest)
        if longest == 1:
            return 1
        if self.headroom is None:
            self.headroom = self.probe(batch_size)
        widths = np.arange(1, longest + 1)
        useful = np.minimum.outer(widths, np.array(pending)).sum(axis=1)
        costs = self.headroom + _PACKED * useful + (1 - _PACKED) * batch_size * widths
        return int(widths[(useful / costs).argmax()])

    def probe(self, batch_size: int) -> int:
        """Time narrow and wide passes; return the tokens that take as long as a pass by itself, a power of two."""
        cache = RaggedCache(len(self.network.layers), batch_size)
        cache.lengths[:] = _PROBED
        seconds: dict[int, float] = {}
        for width in (1, 8, 1, 8, 1, 8):
            began = time.perf_counter()
            mx.eval(self.forward([[0] * width] * batch_size, cache, range(batch_size)))
            cache.lengths[:] = _PROBED
            seconds[width] = min(seconds.get(width, math.inf), time.perf_counter() - began)
        each = max((seconds[8] - seconds[1]) / (7 * batch_size), 1e-9)
        alone = max(seconds[1] / each - batch_size, 1.0)
        return int(2 ** round(math.log2(min(alone, 4096.0))))


class _Batch:
    """The rows that are decoded together, of at most `width` samples; others come in as these finish."""

    def __init__(
        self, engine: Engine, requests: Sequence[Request], max_tokens: int, num_samples: int, temperature: float,
        seed: int,
    ) -> None:  # fmt: skip
        self.engine, self.requests, self.max_tokens, self.temperature = engine, requests, max_tokens, temperature
        self.seed, self.num_samples = seed, num_samples
        self.episodes = [Episode(at, request.ids) for at, request in enumerate(requests) for _ in range(num_samples)]
        by_length = sorted(range(len(requests)), key=lambda at: -len(requests[at].ids))
        self.unread = deque(by_length)  # requests, long ones first
        self.ready: deque[tuple[range, int]] = deque()  # (episodes, row of the prompts' cache) that wait for room
        self.prompts = RaggedCache(0, 0)  # those read ahead
        self.width = min(engine.width, len(self.episodes))
        self.group = min(num_samples, self.width)  # samples that begin as one row
        self.rows: list[Row | None] = [None] * (self.width // max(self.group, 1))
        self.cache = RaggedCache(len(engine.network.layers), len(self.rows))

    def passes(self) -> Iterator[list[Episode]]:
        """Decode, pass by pass, yielding the episodes that each pass has finished."""
        while self.unread or self.ready or any(row is not None for row in self.rows):
            self._admit()
            if sum(row is not None for row in self.rows) <= _SPARSE * len(self.rows):
                self._rearrange([])
            yield self._pass()

    def _admit(self) -> None:
        """Begin waiting groups that there is room for, reading prompts ahead where none are ready."""
        room = self.width - sum(len(row.samples) for row in self.rows if row is not None)
        while room >= self.group and (self.ready or self.unread):
            if not self.ready:
                self._read_ahead()
            taken: list[tuple[range, int]] = []
            while self.ready and len(self.ready[0][0]) <= room:
                taken.append(self.ready.popleft())
                room -= len(taken[-1][0])
            self._begin(taken)

    def _begin(self, taken: Sequence[tuple[range, int]]) -> None:
        """Give each group a row."""
        places = [at for at, row in enumerate(self.rows) if row is None][: len(taken)]
        if missing := len(taken) - len(places):
            places += range(len(self.rows), len(self.rows) + missing)
            self.rows += [None] * missing
            self.cache.grow(missing)
        self.cache.fill(places, self.prompts, [row for _, row in taken])
        for place, (numbers, _) in zip(places, taken, strict=True):
            self.rows[place] = self._row(numbers)

    def _read_ahead(self) -> None:
        count = max(1, -(-self.width // (2 * self.num_samples)))
        chosen = [self.unread.popleft() for _ in range(min(count, len(self.unread)))]
        self.prompts, places = self.engine.prompt_cache([self.requests[at].ids[:-1] for at in chosen])
        for row, (at, kept) in enumerate(zip(chosen, places, strict=True)):
            numbers = range(at * self.num_samples, (at + 1) * self.num_samples)
            for number in numbers:
                self.episodes[number].prompt_places = kept
            self.ready.extend((numbers[n : n + self.group], row) for n in range(0, self.num_samples, self.group))

    def _row(self, numbers: Sequence[int]) -> Row:
        """Return some samples of a request as one row."""
        at = self.episodes[numbers[0]].prompt
        request, vocabulary = self.requests[at], self.engine.vocabulary
        samples = [Sample(self.episodes[number], self._stream(at, number % self.num_samples)) for number in numbers]
        automaton = None
        if vocabulary is not None:
            began = time.perf_counter()
            automaton = Automaton(vocabulary, request.numbers, self.max_tokens)
            self.engine.automaton_seconds += time.perf_counter() - began
        return Row(samples, automaton, self.engine.stop_ids, self.max_tokens)

    def _stream(self, at: int, sample: int) -> np.random.Generator:
        named = self.requests[at].stream
        key = derive_seed("sample", self.seed, at if named is None else named, sample)
        return np.random.Generator(np.random.PCG64(key))

    def _pass(self) -> list[Episode]:
        """Read what waits in every row, up to the cap, and draw where nothing waits any more."""
        engine = self.engine
        waiting = [0 if row is None else len(row.pending) for row in self.rows]
        width = engine.pass_width(waiting, len(self.rows))
        runs: list[list[int]] = [[] if row is None else row.read(width) for row in self.rows]
        drawing = [(at, row) for at, row in enumerate(self.rows) if row is not None and not row.pending]
        states = engine.forward(runs, self.cache, [at for at, _ in drawing])
        for row, kept in zip(self.rows, engine.kept.places if engine.kept else (), strict=False):
            for one in () if row is None else row.samples:
                one.episode.places.extend(kept)
        engine.passes += 1
        engine.tokens_read += sum(map(len, runs))
        if not drawing:
            self.cache.evaluate()
            return []
        drawn = draw(engine.network, states, [row.choice for _, row in drawing], self.temperature,
                     [[one.stream for one in row.samples] for _, row in drawing], engine.masks)  # fmt: skip
        return self._take(drawing, drawn)

    def _take(self, drawing: Sequence[tuple[int, Row]], drawn: Sequence[Sequence[Draw]]) -> list[Episode]:
        """Note what was drawn: samples that drew different tokens part, and others finish, which are returned."""
        began = time.perf_counter()
        done: list[Episode] = []
        parted: list[tuple[int, Row]] = []
        for (at, row), draws in zip(drawing, drawn, strict=True):
            rows = row.take(draws)
            done += [sample.episode for one in rows if one.finished for sample in one.samples]
            running = [one for one in rows if not one.finished]
            parted += [(at, one) for one in running[1:]]
            self.rows[at] = running[0] if running else None
            if not running:
                self.cache.lengths[at] = 0
        self.engine.automaton_seconds += time.perf_counter() - began
        if parted:
            self._rearrange(parted)
        return done

    def _rearrange(self, parted: Sequence[tuple[int, Row]]) -> None:
        """Leave out free places, and give those that have parted a row of their own, a copy of the one at a place."""
        running = [(at, row) for at, row in enumerate(self.rows) if row is not None]
        self.rows = [row for _, row in [*running, *parted]]
        self.cache.keep([at for at, _ in [*running, *parted]])
