"""A network that decodes: prompts read once where they agree, one pass after another, a token for each sample.

Takes a network and requests (prompt ids, and the numbers its question grounds); returns an `Episode` each. What runs in
a pass is the scheduler's business. Knows nothing of text or rewards, and of the language only that an automaton says
what may come next.
"""

import math
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, Literal

import mlx.core as mx
import numpy as np

from mlx_trace.config import GPU_SECONDS, OPERATION_FIRST, TraceForm
from mlx_trace.decode.cache import RaggedCache
from mlx_trace.decode.episode import Episode, Request, SampledToken, SharedSequence
from mlx_trace.decode.forward import CachedActivations, Forward
from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.vocabulary import Vocabulary
from mlx_trace.decode.params import SamplingParams
from mlx_trace.decode.sampler import Masks, Sampler
from mlx_trace.decode.scheduler import Scheduler
from mlx_trace.model.bursts import burst_of

MAX_SEQUENCES: Final = 64  # samples decoded at once
HEADROOM: Final = 64  # tokens that take about as long as a pass takes by itself: 16 to 256 as timed on CPUs and GPUs
MaxTokensPerPass = int | Literal["auto", "probe"]
_READ: Final = 512  # tokens of a prompt that are read at once
_PACKED: Final = 0.6  # about the share of a token's cost that only tokens have; attention has it for gaps as well
_PROBED: Final = 128  # positions that rows have behind them when passes are timed


class Engine:
    """Decodes with one network. Call `refresh` when its weights have changed.

    `prefix` are the ids that every prompt begins with: they are read once. A sequence reads at most
    `max_tokens_per_pass` in one pass; auto weighs what a pass costs by itself against what its tokens cost, always
    alike, since passes of other widths round differently and a clock would decide what is sampled; probe times that
    once on this device. With `cached_layer`, the activations that go into that layer are kept until `refresh`.
    """

    def __init__(
        self, network: Any, stop_ids: Collection[int], vocabulary: Vocabulary | None = None,
        prefix: Sequence[int] = (), max_tokens_per_pass: MaxTokensPerPass = "auto",
        max_sequences: int = MAX_SEQUENCES, cached_layer: int | None = None, form: TraceForm = OPERATION_FIRST,
        gpu_seconds: float = GPU_SECONDS,
    ) -> None:  # fmt: skip
        self.network, self.stop_ids, self.vocabulary = network, frozenset(stop_ids), vocabulary
        self.prefix, self.max_sequences, self.cached_layer = list(prefix), max_sequences, cached_layer
        self.max_tokens_per_pass, self.form = max_tokens_per_pass, form
        # tokens that take as long as a pass takes by itself
        self.headroom = None if max_tokens_per_pass == "probe" else HEADROOM
        self.masks = Masks(vocabulary)
        self.sampler, self.burst = Sampler(network, self.masks), burst_of(network, gpu_seconds)
        self.passes = self.tokens_read = 0
        self.automaton_seconds = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Forget what was computed with other weights."""
        self.activations = None if self.cached_layer is None else CachedActivations(self.cached_layer)
        self.forward = Forward(self.network, self.activations, self.burst)
        self.prefix_activations: list[int] = []
        self._prefix_cache: RaggedCache | None = None

    def sample(self, requests: Sequence[Request], params: SamplingParams) -> list[Episode]:
        """Sample `params.n` replies to each request, beside one another, in the order of the requests."""
        scheduler = Scheduler.of(self, requests, params)
        for _ in scheduler.passes():
            pass
        return list(scheduler.episodes.values())

    def stream(self, request: Request, params: SamplingParams) -> Iterator[Episode]:
        """Decode one reply, yielding the episode whenever it has grown."""
        scheduler = Scheduler.of(self, [request], params)
        (episode,) = scheduler.episodes.values()
        length = 0
        for _ in scheduler.passes():
            if len(episode.ids) > length:
                length = len(episode.ids)
                yield episode

    def finished(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Episode]:
        """Decode each request, yielding the episodes as they finish, in whatever order, and keeping none of them."""
        scheduler = Scheduler.of(self, requests, params)
        for done in scheduler.passes():
            for episode in done:
                yield scheduler.episodes.pop((episode.prompt, episode.number))

    def open(self) -> Scheduler:
        """Return a scheduler without requests: they come, each with settings of its own, while others are decoded."""
        return Scheduler(self, self.max_sequences)

    # --- what the scheduler asks for ---------------------------------------------------------------------------

    def automaton(self, request: Request, max_tokens: int) -> Automaton | None:
        """Return what says what a reply may hold; None if anything."""
        if self.vocabulary is None:
            return None
        began = time.perf_counter()
        automaton = Automaton(self.vocabulary, request.numbers, max_tokens, request.rules, self.form)
        self.automaton_seconds += time.perf_counter() - began
        return automaton

    def empty_cache(self, num_rows: int) -> RaggedCache:
        """Return a cache of rows that have read nothing."""
        return RaggedCache(len(self.network.layers), num_rows)

    def prompt_cache(self, prompts: Sequence[Sequence[int]]) -> tuple[RaggedCache, list[list[int]]]:
        """Return a cache that has read some prompts, the shared prefix only once, and their activations' indexes."""
        shared = self.prefix if all(list(ids[: len(self.prefix)]) == self.prefix for ids in prompts) else []
        cache = self.empty_cache(len(prompts))
        if shared:
            if self._prefix_cache is None:
                read = self.empty_cache(1)
                (self.prefix_activations,) = self.read(read, [shared])
                self._prefix_cache = read  # once it is whole: Ctrl-C may come in between
            cache.fill(range(len(prompts)), self._prefix_cache, [0] * len(prompts))
        own = self.read(cache, [ids[len(shared) :] for ids in prompts])
        return cache, [[*self.prefix_activations, *indexes] if shared else indexes for indexes in own]

    def read(self, cache: RaggedCache, runs: Sequence[Sequence[int]]) -> list[list[int]]:
        """Take runs of ids, one a row, into a cache; return the indexes of their cached activations."""
        longest = max(map(len, runs))
        indexes: list[list[int]] = [[] for _ in runs]
        for start in range(0, longest, _READ):
            self.forward([run[start : start + _READ] for run in runs], cache, [])
            cache.evaluate()
            for own, more in zip(indexes, self.activations.indexes if self.activations else (), strict=False):
                own.extend(more)
        return indexes

    def read_and_sample(
        self, runs: Sequence[Sequence[int]], cache: RaggedCache, sampling: Sequence[tuple[int, SharedSequence]]
    ) -> list[list[SampledToken]]:  # fmt: skip
        """Read runs of ids, one a row of the cache; return the tokens of the rows at whose ends some are sampled."""
        states = self.forward(runs, cache, [row for row, _ in sampling])
        self.passes += 1
        self.tokens_read += sum(map(len, runs))
        if not sampling:
            cache.evaluate()
            return []
        sequences = [sequence for _, sequence in sampling]
        by_temperature: dict[float, list[int]] = {}
        for index, sequence in enumerate(sequences):
            by_temperature.setdefault(sequence.params.temperature, []).append(index)
        if len(by_temperature) == 1:
            return self._sample(states, sequences)
        tokens: list[list[SampledToken]] = [[] for _ in sequences]
        for indexes in by_temperature.values():
            own = self._sample(states[mx.array(indexes)], [sequences[index] for index in indexes])
            for index, sampled in zip(indexes, own, strict=True):
                tokens[index] = sampled
        return tokens

    def _sample(self, states: mx.array, sequences: Sequence[SharedSequence]) -> list[list[SampledToken]]:
        """Sample the tokens of sequences of one temperature, from their states (S, D)."""
        streams = [[sample.stream for sample in sequence.samples] for sequence in sequences]
        choices = [sequence.choice for sequence in sequences]
        return self.sampler(states, choices, sequences[0].params.temperature, streams)

    def pass_width(self, pending: Sequence[int], batch_size: int) -> int:
        """Return how many tokens a sequence may read in the next pass, given how many wait in each."""
        longest = max(pending)
        if isinstance(self.max_tokens_per_pass, int):
            return min(self.max_tokens_per_pass, longest)
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
        cache = self.empty_cache(batch_size)
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
