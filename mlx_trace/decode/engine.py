"""Sample replies in batches: prompts read once, forced runs in one pass, rows that come and go.

Takes a network and requests (prompt ids, and the numbers its question grounds); returns an `Episode` each. Rows are of
different lengths in one cache. A sample's random stream belongs to (seed, prompt, sample), not to its batch. Knows
nothing of text or rewards, and of the language only that an automaton says what may come next.
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
from mlx_trace.decode.episode import Episode, Request, Row
from mlx_trace.decode.forward import Forward, Kept
from mlx_trace.decode.vocabulary import Vocabulary
from mlx_trace.seeds import derive_seed

WIDTH: Final = 64  # rows decoded at once
Cap = int | Literal["auto"]
_SPARSE: Final = 0.75  # free places are dropped once at most this share is still running
_READ: Final = 512  # tokens of a prompt that are read at once
_PACKED: Final = 0.6  # about the share of a token's cost that only tokens have; attention has it for gaps as well
_PROBED: Final = 128  # positions that rows have behind them when passes are timed


class Engine:
    """Decodes with one network. Call `refresh` when its weights have changed.

    `prefix` are the ids that every prompt begins with: they are read once. `cap` is the most tokens a row reads in one
    pass; auto weighs what a pass costs by itself against what its tokens cost, as probed once on this device. With
    `keep`, the states that go into that layer are kept until `refresh`, and episodes know the places of theirs.
    """

    def __init__(
        self, network: Any, stop_ids: Collection[int], vocabulary: Vocabulary | None = None,
        prefix: Sequence[int] = (), cap: Cap = "auto", width: int = WIDTH, keep: int | None = None,
    ) -> None:  # fmt: skip
        self.network, self.stop_ids, self.vocabulary = network, frozenset(stop_ids), vocabulary
        self.prefix, self.cap, self.width, self.keep = list(prefix), cap, width, keep
        self.headroom: int | None = None  # tokens that take as long as a pass takes by itself
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
        if self.cap != "auto":
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
    """The rows that are decoded together: a fixed number of places, filled again as episodes finish."""

    def __init__(
        self, engine: Engine, requests: Sequence[Request], max_tokens: int, num_samples: int, temperature: float,
        seed: int,
    ) -> None:  # fmt: skip
        self.engine, self.requests, self.max_tokens, self.temperature = engine, requests, max_tokens, temperature
        self.seed, self.num_samples = seed, num_samples
        self.episodes = [Episode(at, request.ids) for at, request in enumerate(requests) for _ in range(num_samples)]
        by_length = sorted(range(len(requests)), key=lambda at: -len(requests[at].ids))
        self.unread = deque(by_length)  # requests, long ones first
        self.ready: deque[tuple[int, int]] = deque()  # (episode, row of the prompts' cache) that wait for a place
        self.prompts = RaggedCache(0, 0)  # those read ahead
        self.rows: list[Row | None] = [None] * min(engine.width, len(self.episodes))
        self.cache = RaggedCache(len(engine.network.layers), len(self.rows))

    def passes(self) -> Iterator[list[Episode]]:
        """Decode, pass by pass, yielding the episodes that each pass has finished."""
        while self.unread or self.ready or any(row is not None for row in self.rows):
            self._admit()
            yield self._pass()
            self._drop()

    def _admit(self) -> None:
        """Give free places to waiting episodes, reading prompts ahead where none are ready."""
        free = [at for at, row in enumerate(self.rows) if row is None]
        while free and (self.ready or self.unread):
            if not self.ready:
                self._read_ahead()
            taken = [self.ready.popleft() for _ in range(min(len(free), len(self.ready)))]
            places, free = free[: len(taken)], free[len(taken) :]
            self.cache.fill(places, self.prompts, [row for _, row in taken])
            for place, (number, _) in zip(places, taken, strict=True):
                self.rows[place] = self._row(number)

    def _read_ahead(self) -> None:
        count = max(1, -(-len(self.rows) // (2 * self.num_samples)))
        chosen = [self.unread.popleft() for _ in range(min(count, len(self.unread)))]
        self.prompts, places = self.engine.prompt_cache([self.requests[at].ids[:-1] for at in chosen])
        for at, kept in zip(chosen, places, strict=True):
            for n in range(self.num_samples):
                self.episodes[at * self.num_samples + n].prompt_places = kept
        self.ready.extend(
            (at * self.num_samples + n, row) for row, at in enumerate(chosen) for n in range(self.num_samples)
        )

    def _row(self, number: int) -> Row:
        episode = self.episodes[number]
        stream = self.requests[episode.prompt].stream
        key = derive_seed("sample", self.seed, episode.prompt if stream is None else stream, number % self.num_samples)
        vocabulary = self.engine.vocabulary
        automaton = None
        if vocabulary is not None:
            began = time.perf_counter()
            automaton = Automaton(vocabulary, self.requests[episode.prompt].numbers, self.max_tokens)
            self.engine.automaton_seconds += time.perf_counter() - began
        return Row(episode, np.random.Generator(np.random.PCG64(key)), automaton, self.engine.stop_ids, self.max_tokens)

    def _pass(self) -> list[Episode]:
        """Read what waits in every row, up to the cap, and draw where nothing waits any more."""
        engine = self.engine
        waiting = [0 if row is None else len(row.pending) for row in self.rows]
        width = engine.pass_width(waiting, len(self.rows))
        runs: list[list[int]] = [[] if row is None else row.read(width) for row in self.rows]
        drawing = [(at, row) for at, row in enumerate(self.rows) if row is not None and not row.pending]
        states = engine.forward(runs, self.cache, [at for at, _ in drawing])
        for row, kept in zip(self.rows, engine.kept.places if engine.kept else (), strict=False):
            if row is not None:
                row.episode.places.extend(kept)
        engine.passes += 1
        engine.tokens_read += sum(map(len, runs))
        if not drawing:
            self.cache.evaluate()
            return []
        drawn = draw(engine.network, states, [row.choice for _, row in drawing], self.temperature,
                     [row.stream for _, row in drawing], engine.masks)  # fmt: skip
        began = time.perf_counter()
        for (_, row), (token, logprob) in zip(drawing, drawn, strict=True):
            row.take(token, logprob)
        engine.automaton_seconds += time.perf_counter() - began
        done = [(at, row.episode) for at, row in drawing if row.episode.finished]
        for at, _ in done:
            self.rows[at] = None
            self.cache.lengths[at] = 0
        return [episode for _, episode in done]

    def _drop(self) -> None:
        """Leave out free places that nothing waits for, once they are many."""
        running = [at for at, row in enumerate(self.rows) if row is not None]
        if running and not self.ready and not self.unread and len(running) <= _SPARSE * len(self.rows):
            self.cache.keep(running)
            self.rows = [self.rows[at] for at in running]
