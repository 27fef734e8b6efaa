"""Sampling in batches gives what recomputing everything would, whatever else is in the batch, and stops in time."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlx_trace.decode.engine import Engine, MaxTokensPerPass
from mlx_trace.decode.episode import Episode, Request
from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.vocabulary import Vocabulary
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.decode.params import SamplingParams
from mlx_trace.errors import UserError
from mlx_trace.language.knowledge import grounded_numbers
from mlx_trace.language.solver import Failed, solve
from mlx_trace.language.syntax import NoTrace, parse
from mlx_trace.model.base import Base, load_base
from tests.conftest import ScriptedNetwork, byte_level_tokenizer, sentencepiece_tokenizer, write_model

import mlx.core as mx  # isort: skip
from mlx_lm.models.cache import make_prompt_cache  # isort: skip
from mlx_lm.tuner.utils import linear_to_lora_layers  # isort: skip

NUMBERS = grounded_numbers("Ann had 16 eggs, gave a quarter of them away and bought 3 dozen for $4.50.")
PROMPTS = [[5, 9, 11], [7, 8], [20, 21, 22, 23, 24, 25, 26, 27], [5, 9, 12], [30, 31, 32, 33, 34]]
PLAIN = [Request(ids) for ids in PROMPTS]
GROUNDED = [Request(ids, None if at % 2 else NUMBERS) for at, ids in enumerate(PROMPTS)]
ROOM = 130  # tokens; the shortest traces take 84 of the byte-level tokenizer's, 90 of the other's
TOKENIZERS = {"byte-level": byte_level_tokenizer, "SentencePiece": sentencepiece_tokenizer}
SLIPS = {"division_by_zero", "insufficient_amount", "negative_amount", "too_large"}


@pytest.fixture(scope="module", params=TOKENIZERS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A random Llama, with a tokenizer of each family. Read only."""
    folder = tmp_path_factory.mktemp("engine") / "model"
    return load_base(str(write_model(folder, TOKENIZERS[request.param](), seed=4)))


@pytest.fixture(scope="module")
def vocabulary(base: Base) -> Vocabulary:
    return Vocabulary(base.tokenizer)


def ids_of(episodes: Sequence[Episode]) -> list[list[int]]:
    return [episode.ids for episode in episodes]


def plain(base: Base, **options: Any) -> Engine:
    return Engine(base.network, (), **options)


class Counting:
    """Stands before an engine's passes, and counts their rows and tokens."""

    def __init__(self, engine: Engine) -> None:
        self.forward, self.rows, self.tokens = engine.forward, list[int](), list[int]()
        engine.forward = self  # type: ignore[assignment]

    def __call__(self, runs: Sequence[Sequence[int]], *rest: Any) -> mx.array:
        self.rows.append(len(runs))
        self.tokens.append(sum(map(len, runs)))
        return self.forward(runs, *rest)


# --- without a constraint --------------------------------------------------------------------------------------


def greedy_by_recomputing(network: Any, prompt: Sequence[int], length: int) -> list[int]:
    ids = list(prompt)
    for _ in range(length):
        ids.append(int(network(mx.array([ids]))[0, -1].argmax().item()))
    return ids[len(prompt) :]


def full_logprobs(network: Any, episode: Episode, vocabulary: Vocabulary | None, temperature: float) -> list[float]:
    """Return the log-probability of each drawn token, from one pass over the whole episode, with its masks."""
    ids = [*episode.prompt_ids, *episode.ids]
    logits = np.array(network(mx.array([ids]))[0].astype(mx.float32), dtype=np.float64) / temperature
    drawn = [len(episode.prompt_ids) + at for at, sampled in enumerate(episode.sampled) if sampled]
    found = []
    for at, choice in zip(drawn, episode.choices, strict=True):
        scores = logits[at - 1]
        scores = scores[offered(choice, vocabulary, len(scores))]
        found.append(float(logits[at - 1, ids[at]] - np.log(np.exp(scores).sum())))
    return found


def offered(choice: Choice | None, vocabulary: Vocabulary | None, size: int) -> NDArray[np.int64]:
    """Return the ids that a choice offers."""
    if choice is None or vocabulary is None:
        return np.arange(size)
    masked = [] if choice.mask is None else np.flatnonzero(vocabulary.mask(choice.mask)).tolist()
    return np.array(sorted({*masked, *choice.ids}))


def test_greedy_equals_recomputing_every_token(base: Base) -> None:
    for prompt, episode in zip(PROMPTS, plain(base).sample(PLAIN, SamplingParams(12)), strict=True):
        assert episode.prompt_ids == prompt
        assert episode.ids == greedy_by_recomputing(base.network, prompt, 12)
        assert episode.logprobs == [0.0] * 12
        assert episode.sampled == [True] * 12
        assert episode.choices == [None] * 12


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
def test_logprobs_equal_one_full_pass(base: Base, temperature: float) -> None:
    for episode in plain(base).sample(PLAIN, SamplingParams(15, temperature=temperature, n=2, seed=3)):
        full = full_logprobs(base.network, episode, None, temperature)
        assert np.abs(np.array(full) - episode.logprobs).max() < 1e-4


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_a_sample_belongs_to_its_prompt_and_number_not_to_its_batch(base: Base, temperature: float) -> None:
    def drawn(requests: list[Request], num_samples: int, **options: Any) -> list[list[int]]:
        return ids_of(
            plain(base, **options).sample(requests, SamplingParams(10, temperature=temperature, n=num_samples, seed=8))
        )

    together = drawn(PLAIN, 3)
    for options in (
        {"max_sequences": 1},
        {"max_sequences": 4},
        {"max_tokens_per_pass": 1},
        {"max_tokens_per_pass": 2, "max_sequences": 7},
        {"max_tokens_per_pass": 5},
    ):
        assert drawn(PLAIN, 3, **options) == together, options
    assert drawn(PLAIN[:2], 3) == together[:6], "without the other requests"
    assert drawn(PLAIN, 1) == together[::3], "without the other samples"
    assert len({tuple(ids) for ids in together[:3]}) > 1, "samples of one prompt differ"


def test_the_order_of_requests_does_not_change_greedy_replies(base: Base) -> None:
    assert (
        ids_of(plain(base, max_sequences=3).sample(PLAIN[::-1], SamplingParams(10)))
        == ids_of(plain(base).sample(PLAIN, SamplingParams(10)))[::-1]
    )


def test_seeds_decide(base: Base) -> None:
    one, same, other = (
        ids_of(plain(base).sample(PLAIN, SamplingParams(8, temperature=1.0, seed=seed))) for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_samples_follow_the_distribution() -> None:
    class Biased(ScriptedNetwork):
        def lm_head(self, hidden: mx.array) -> mx.array:
            return hidden * 0 + mx.log(mx.array([0.6, 0.3, 0.1]))

    found = Engine(Biased({(0, 1): [0]}), (), max_sequences=3000).sample(
        [Request([0, 1])], SamplingParams(1, temperature=1.0, n=3000)
    )
    shares = np.bincount([episode.ids[0] for episode in found], minlength=3) / 3000
    assert np.abs(shares - [0.6, 0.3, 0.1]).max() < 0.03


def test_a_prompt_may_be_a_single_token(base: Base) -> None:
    (alone,) = plain(base).sample([Request([7])], SamplingParams(6))
    assert alone.ids == greedy_by_recomputing(base.network, [7], 6)


# --- under the constraint --------------------------------------------------------------------------------------


def greedy_by_single_tokens(base: Base, vocabulary: Vocabulary, request: Request, max_tokens: int) -> list[int]:
    """Decode with the plain network, one token a pass, and an automaton: no batch, no forced runs, no cache of ours."""
    automaton, caches, read = Automaton(vocabulary, request.numbers, max_tokens), make_prompt_cache(base.network), 0
    while (choice := automaton.choice) is not None:
        ids = [*request.ids, *automaton.ids]
        for token in ids[read:]:
            logits = np.array(base.network(mx.array([[token]]), cache=caches)[0, -1])
        read = len(ids)
        automaton.take(int(max(offered(choice, vocabulary, len(logits)), key=lambda token: logits[token])))
    return automaton.ids


@pytest.fixture(scope="module")
def by_single_tokens(base: Base, vocabulary: Vocabulary) -> list[list[int]]:
    return [greedy_by_single_tokens(base, vocabulary, request, ROOM) for request in GROUNDED]


@pytest.mark.parametrize("cap", [1, 2, 5, 1000, "auto"])
def test_forced_runs_do_not_change_greedy_traces(
    base: Base, vocabulary: Vocabulary, by_single_tokens: list[list[int]], cap: MaxTokensPerPass
) -> None:
    assert (
        ids_of(Engine(base.network, (), vocabulary, max_tokens_per_pass=cap).sample(GROUNDED, SamplingParams(ROOM)))
        == by_single_tokens
    )


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
def test_constrained_logprobs_equal_one_full_pass_with_the_same_masks(
    base: Base, vocabulary: Vocabulary, temperature: float
) -> None:
    episodes = Engine(base.network, (), vocabulary).sample(
        GROUNDED, SamplingParams(ROOM, temperature=temperature, n=2, seed=3)
    )
    for episode in episodes:
        assert len(episode.sampled) == len(episode.ids)
        assert len(episode.logprobs) == len(episode.choices) == sum(episode.sampled) < len(episode.ids)
        full = full_logprobs(base.network, episode, vocabulary, temperature)
        assert np.abs(np.array(full) - episode.logprobs).max() < 1e-4


def test_only_what_the_automaton_forces_is_not_sampled(base: Base, vocabulary: Vocabulary) -> None:
    for episode in Engine(base.network, (), vocabulary).sample(GROUNDED, SamplingParams(ROOM, temperature=1.0)):
        automaton = Automaton(vocabulary, GROUNDED[episode.prompt].numbers, ROOM)
        for at, sampled in enumerate(episode.sampled):
            assert sampled == (at >= len(automaton.ids))
            if sampled:
                automaton.take(episode.ids[at])
        assert (automaton.ids, automaton.choice) == (episode.ids, None)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_a_constrained_sample_belongs_to_its_prompt_and_number_not_to_its_batch(
    base: Base, vocabulary: Vocabulary, temperature: float
) -> None:
    def drawn(requests: list[Request], num_samples: int, **options: Any) -> list[list[int]]:
        engine = Engine(base.network, (), vocabulary, **options)
        return ids_of(engine.sample(requests, SamplingParams(ROOM, temperature=temperature, n=num_samples, seed=8)))

    together = drawn(GROUNDED, 3)
    for options in (
        {"max_sequences": 1, "max_tokens_per_pass": 1000},
        {"max_sequences": 4},
        {"max_tokens_per_pass": 1},
        {"max_tokens_per_pass": 2, "max_sequences": 7},
        {"max_tokens_per_pass": 5},
    ):
        assert drawn(GROUNDED, 3, **options) == together, options
    assert drawn(GROUNDED[:2], 3) == together[:6], "without the other requests"
    assert drawn(GROUNDED, 1) == together[::3], "without the other samples"
    assert len({tuple(ids) for ids in together[:3]}) == 3, "samples of one prompt differ"


@pytest.mark.parametrize("numbers", [None, NUMBERS], ids=["any number", "grounded"])
def test_rollouts_parse_end_in_time_and_execute(
    base: Base, vocabulary: Vocabulary, numbers: tuple[str, ...] | None
) -> None:
    requests = [Request(list(range(5, 15 + at)), numbers) for at in range(5)]
    engine = Engine(base.network, (), vocabulary)
    for room in (95, 260):  # hardly any, and plenty
        for episode in engine.sample(requests, SamplingParams(room, temperature=1.0, n=5, seed=room)):
            text = base.tokenizer.decode(episode.ids)
            assert episode.finished and not episode.truncated and len(episode.ids) <= room
            assert text.endswith("\n```")
            trace = parse(text.removesuffix("```"))
            assert not isinstance(trace, NoTrace), text
            outcome = solve(trace)
            assert not isinstance(outcome, Failed) or outcome.kind in SLIPS, text


def test_too_little_room_for_any_trace_is_the_user_s_mistake(base: Base, vocabulary: Vocabulary) -> None:
    with pytest.raises(UserError, match="max_tokens is 40, and the shortest trace takes"):
        Engine(base.network, (), vocabulary).sample(GROUNDED, SamplingParams(40))


# --- what is read once -----------------------------------------------------------------------------------------

SHARED = [40, 41, 42, 43, 44, 45]
TOGETHER = [Request(SHARED + ids, NUMBERS) for ids in PROMPTS]
OTHER = Request(list(range(60, 90)), NUMBERS)  # the longest: read beside others


@pytest.mark.parametrize("requests", [TOGETHER, [*TOGETHER, OTHER], GROUNDED, [Request([*SHARED, 1]), TOGETHER[0]]],
                         ids=["all share it", "some do", "none do", "all of one"])  # fmt: skip
def test_a_prefix_changes_nothing(base: Base, vocabulary: Vocabulary, requests: list[Request]) -> None:
    with_prefix, without = (
        Engine(base.network, (), vocabulary, prefix).sample(
            requests, SamplingParams(ROOM, temperature=1.0, n=2, seed=5)
        )
        for prefix in (SHARED, [])
    )
    assert ids_of(with_prefix) == ids_of(without)
    logprobs = [np.concatenate([episode.logprobs for episode in one]) for one in (with_prefix, without)]
    assert np.abs(logprobs[0] - logprobs[1]).max() < 1e-4


def test_a_prefix_is_read_once_and_again_after_a_refresh(base: Base) -> None:
    engine = plain(base, prefix=SHARED)
    each = sum(map(len, PROMPTS))  # and the last of a prompt is read with its reply
    for expected in (each + len(SHARED), each, each):
        counting = Counting(engine)
        engine.sample(TOGETHER, SamplingParams(1))
        assert sum(counting.tokens) == expected
        engine.forward = counting.forward
    engine.refresh()
    counting = Counting(engine)
    engine.sample(TOGETHER, SamplingParams(1))
    assert sum(counting.tokens) == each + len(SHARED)


def test_samples_of_a_prompt_read_it_once(base: Base) -> None:
    engine = plain(base)
    counting = Counting(engine)
    engine.sample([Request(list(range(5, 55)))], SamplingParams(1, n=8))
    assert sum(counting.tokens) == 50


def beginnings(episode: Episode) -> set[tuple[int, ...]]:
    """Return all that was read for an episode, from its prompt's last token to before its last choice."""
    last = max(at for at, drawn in enumerate(episode.sampled) if drawn)
    ids = [*episode.prompt_ids, *episode.ids]
    return {tuple(ids[: len(episode.prompt_ids) + at]) for at in range(last + 1)}


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens_per_pass": 9},
        {"max_sequences": 4, "max_tokens_per_pass": 1},
        {"max_sequences": 7, "max_tokens_per_pass": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("constrained", [True, False])
def test_samples_read_once_what_they_have_in_common(
    base: Base, vocabulary: Vocabulary, constrained: bool, options: dict[str, Any]
) -> None:
    engine = Engine(base.network, (2,), vocabulary if constrained else None, **options)
    counting = Counting(engine)
    episodes = engine.sample(GROUNDED, SamplingParams(ROOM if constrained else 12, temperature=0.03, n=4, seed=1))
    each = [beginnings(episode) for episode in episodes]
    assert 2 < len({tuple(episode.ids) for episode in episodes}) < len(episodes), "some are the same, others are not"
    once = len(set().union(*each))
    assert once < 0.9 * sum(map(len, each))
    assert sum(counting.tokens) == once + sum(len(ids) - 1 for ids in PROMPTS)
    assert max(counting.rows) <= options.get("width", 64)


@pytest.mark.parametrize("constrained", [True, False])
def test_kept_states_of_samples_are_those_of_their_own_tokens(
    base: Base, vocabulary: Vocabulary, constrained: bool
) -> None:
    engine = Engine(base.network, (2,), vocabulary if constrained else None, [], max_sequences=6, cached_layer=1)
    assert engine.activations is not None
    for episode in engine.sample(GROUNDED, SamplingParams(ROOM if constrained else 12, temperature=0.03, n=3, seed=1)):
        ids = [*episode.prompt_ids, *episode.ids][: len(episode.prompt_activations) + len(episode.activations)]
        assert len(ids) >= max(map(len, beginnings(episode)))
        states = base.network.model.embed_tokens(mx.array([ids]))
        states = base.network.layers[0](states, "causal", None)[0]
        kept = engine.activations.states()[mx.array([*episode.prompt_activations, *episode.activations])]
        assert mx.allclose(kept, states, atol=1e-5)


def test_groups_larger_than_the_batch_are_parted(base: Base) -> None:
    together = plain(base).sample(PLAIN[:2], SamplingParams(10, temperature=0.3, n=7, seed=3))
    for width in (1, 3, 7, 8, 14):
        counting = Counting(engine := plain(base, max_sequences=width))
        assert ids_of(engine.sample(PLAIN[:2], SamplingParams(10, temperature=0.3, n=7, seed=3))) == ids_of(together)
        assert max(counting.rows) <= width


@pytest.mark.parametrize("trained", ["weights", "lora"])
def test_refresh_makes_the_engine_as_good_as_new(base: Base, vocabulary: Vocabulary, trained: str) -> None:
    fresh = load_base(str(base.path))
    layer = fresh.network.layers[0].self_attn
    if trained == "lora":
        parameters = {"rank": 4, "scale": 10.0, "dropout": 0.0, "keys": ["self_attn.v_proj"]}
        linear_to_lora_layers(fresh.network, 2, parameters)
    engine = Engine(fresh.network, (), vocabulary, SHARED)
    before = ids_of(engine.sample(TOGETHER, SamplingParams(ROOM)))
    mx.random.seed(2)
    if trained == "lora":
        layer.v_proj.lora_b = mx.random.normal(layer.v_proj.lora_b.shape)
    else:
        layer.v_proj.weight = layer.v_proj.weight + mx.random.normal(layer.v_proj.weight.shape)
    engine.refresh()
    after = ids_of(engine.sample(TOGETHER, SamplingParams(ROOM)))
    assert after == ids_of(Engine(fresh.network, (), vocabulary).sample(TOGETHER, SamplingParams(ROOM)))
    assert after != before


# --- rows that come and go -------------------------------------------------------------------------------------


def test_many_requests_of_all_lengths_get_what_each_gets_alone(base: Base, vocabulary: Vocabulary) -> None:
    rng = np.random.default_rng(6)
    prompts = [rng.integers(3, 300, size).tolist() for size in rng.integers(2, 120, 30)]
    requests = [Request(ids, NUMBERS[: 2 + at % 5]) for at, ids in enumerate(prompts)]
    together = Engine(base.network, (), vocabulary, max_sequences=4).sample(requests, SamplingParams(ROOM))
    engine = Engine(base.network, (), vocabulary)
    assert ids_of(together) == [engine.sample([request], SamplingParams(ROOM))[0].ids for request in requests]


def queued(count: int) -> dict[tuple[int, ...], list[int]]:
    """Return prompts and replies of all lengths; 2 ends a reply."""
    rng = np.random.default_rng(count)
    return {(at + 3, *rng.integers(3, 50, rng.integers(1, 40)).tolist()): [*rng.integers(3, 50, size).tolist(), 2]
            for at, size in enumerate(rng.integers(0, 60, count).tolist())}  # fmt: skip


@pytest.mark.parametrize("width", [1, 4, 64])
def test_rows_stop_alone_and_others_take_their_places(scripted: Callable[..., Any], width: int) -> None:
    replies = queued(30)
    episodes = Engine(scripted(replies), {2}, max_sequences=width).sample(
        [Request(ids) for ids in replies], SamplingParams(100)
    )
    assert ids_of(episodes) == list(replies.values())
    assert all(episode.finished and not episode.truncated for episode in episodes)


def test_finished_yields_each_episode_once_when_it_is_whole(scripted: Callable[..., Any]) -> None:
    replies = queued(30)
    found = {}
    for episode in Engine(scripted(replies), {2}, max_sequences=4).finished(
        [Request(ids) for ids in replies], SamplingParams(100)
    ):
        assert episode.prompt not in found
        found[episode.prompt] = list(episode.ids)
    assert [found[at] for at in range(30)] == list(replies.values())
    assert list(found) != sorted(found), "short ones come first"


def test_finished_yields_every_sample_with_its_number(base: Base) -> None:
    params = SamplingParams(10, temperature=1.0, n=5, seed=3)
    together = plain(base).sample(PLAIN[:3], params)
    assert [(episode.prompt, episode.number) for episode in together] == [(at, n) for at in range(3) for n in range(5)]
    found = list(plain(base, max_sequences=4).finished(PLAIN[:3], params))
    found.sort(key=lambda episode: (episode.prompt, episode.number))
    assert ids_of(found) == ids_of(together)


def test_a_place_is_never_idle_while_requests_wait(scripted: Callable[..., Any]) -> None:
    replies = {(3 + at, 5): [*range(3, 3 + 8), 2] for at in range(12)}
    engine = Engine(scripted(replies), {2}, max_sequences=4)
    engine.sample([Request(ids) for ids in replies], SamplingParams(100))
    assert engine.passes == 3 * 9


def test_places_that_nothing_waits_for_are_dropped(scripted: Callable[..., Any]) -> None:
    replies = {(3 + at, 5): [3] * (2 * at) + [2] for at in range(8)}
    network = scripted(replies)
    Engine(network, {2}).sample([Request(ids) for ids in replies], SamplingParams(100))
    decoding = [rows for rows, _ in network.passes[-15:]]
    assert decoding == sorted(decoding, reverse=True)
    assert (decoding[0], decoding[-1]) == (8, 1)
    running = [sum(len(reply) > at for reply in replies.values()) for at in range(15)]
    assert all(row <= rows < row / 0.75 + 1 for rows, row in zip(decoding, running, strict=True))


def test_forced_runs_take_few_passes(base: Base, vocabulary: Vocabulary) -> None:
    engine = Engine(base.network, (), vocabulary)
    engine.headroom = 1 << 20
    (episode,) = engine.sample(GROUNDED[:1], SamplingParams(ROOM))
    assert engine.passes == sum(episode.sampled) < len(episode.ids)
    assert engine.tokens_read < 1 + len(episode.ids), "what the last choice forces is not read"


# --- how wide a pass is ----------------------------------------------------------------------------------------

WAITING = st.lists(st.integers(0, 60), min_size=1, max_size=16).filter(any)


@given(WAITING, st.integers(1, 80))
def test_a_cap_bounds_the_width(waiting: list[int], cap: int) -> None:
    width = Engine(ScriptedNetwork({}), (), max_tokens_per_pass=cap).pass_width(waiting, len(waiting))
    assert width == min(cap, max(waiting))


@given(WAITING, st.integers(1, 4096), st.integers(0, 4096))
def test_more_headroom_never_makes_passes_narrower(waiting: list[int], headroom: int, more: int) -> None:
    engine = Engine(ScriptedNetwork({}), ())
    widths = []
    for engine.headroom in (headroom, headroom + more, 1 << 40):
        widths.append(engine.pass_width(waiting, len(waiting)))
    assert 1 <= widths[0] <= widths[1] <= widths[2] == max(waiting)


def test_nothing_is_probed_where_one_token_waits_in_each_row() -> None:
    engine = Engine(ScriptedNetwork({}), (), max_tokens_per_pass="probe")
    assert engine.pass_width([1, 0, 1, 1], 4) == 1
    assert engine.headroom is None


def test_nothing_is_timed_unless_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "probe", lambda *_: pytest.fail("a clock was asked"))
    engine = Engine(ScriptedNetwork({}), ())
    assert 1 <= engine.pass_width([9, 2, 1], 3) <= 9


def test_the_device_is_probed_once(base: Base) -> None:
    engine = plain(base)
    engine.headroom = None
    assert 1 <= engine.pass_width([9, 2, 1], 3) <= 9
    headroom = engine.headroom
    assert headroom is not None and headroom & (headroom - 1) == 0, "a power of two"
    counting = Counting(engine)
    engine.pass_width([5, 3], 2)
    assert (engine.headroom, counting.rows) == (headroom, [])


# --- where replies end -----------------------------------------------------------------------------------------


def test_replies_that_never_stop_are_truncated(scripted: Callable[..., Any]) -> None:
    replies = {(1, 1): [10, 2], (3, 3): [11], (4, 4): [12, 13, 14, 15, 2]}
    ended, endless, just = Engine(scripted(replies), {2}).sample([Request(ids) for ids in replies], SamplingParams(5))
    assert (ended.ids, ended.truncated) == ([10, 2], False)
    assert (endless.ids, endless.truncated) == ([11] * 5, True)
    assert (just.ids, just.truncated) == ([12, 13, 14, 15, 2], False)


def test_any_stop_id_ends_a_reply(scripted: Callable[..., Any]) -> None:
    replies = {(1, 1): [10, 2], (3, 3): [11, 12, 9], (4, 4): [9]}
    episodes = Engine(scripted(replies), {2, 9}).sample([Request(ids) for ids in replies], SamplingParams(20))
    assert ids_of(episodes) == list(replies.values())


def test_a_stream_yields_token_by_token(scripted: Callable[..., Any]) -> None:
    engine = Engine(scripted({(1, 1): [10, 11, 2]}), {2})
    assert [len(episode.ids) for episode in engine.stream(Request([1, 1]), SamplingParams(9))] == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize("cap", [1, 5, 1000])
def test_a_constrained_stream_grows_into_the_whole_trace(
    base: Base, vocabulary: Vocabulary, cap: MaxTokensPerPass
) -> None:
    engine = Engine(base.network, (), vocabulary, max_tokens_per_pass=cap)
    seen = [list(episode.ids) for episode in engine.stream(GROUNDED[0], SamplingParams(ROOM))]
    assert seen[-1] == engine.sample(GROUNDED[:1], SamplingParams(ROOM))[0].ids
    assert all(len(short) < len(long) and long[: len(short)] == short for short, long in pairwise(seen))


def test_no_requests_give_no_episodes(base: Base) -> None:
    engine = plain(base)
    assert engine.sample([], SamplingParams(5)) == []
    assert list(engine.finished([], SamplingParams(5))) == []


def test_requests_come_and_go_while_others_are_decoded(base: Base, vocabulary: Vocabulary) -> None:
    """Each with settings of its own has the reply that it has alone, and what is cancelled leaves nothing behind."""
    engine = Engine(base.network, (), vocabulary, max_sequences=4)
    params = [
        SamplingParams(ROOM),
        SamplingParams(ROOM, 1.3, 6, 7),
        SamplingParams(ROOM - 9, 0.4, 2),
        SamplingParams(ROOM),
    ]
    requests = [Request(ids, NUMBERS, stream=0) for ids in PROMPTS]
    alone = [ids_of(engine.sample([request], own)) for request, own in zip(requests, params, strict=False)]
    scheduler, replies = engine.open(), {}
    coming = {0: [0], 3: [1, 2, 4], 6: [3]}  # by pass; 4 goes again
    for count in range(10_000):
        for index in coming.pop(count, []):
            scheduler.add(index, requests[index], params[index % 4])
        if count == 9:
            scheduler.cancel(4)
        if not scheduler.is_busy and not coming:
            break
        for episode in scheduler.advance() if scheduler.is_busy else []:
            replies[episode.prompt, episode.number] = scheduler.episodes.pop((episode.prompt, episode.number)).ids
        assert sum(len(row.samples) for row in scheduler.rows if row is not None) <= engine.max_sequences
    assert [[replies[index, number] for number in range(own.n)] for index, own in enumerate(params)] == alone
    assert not [key for key in scheduler.episodes if key[0] != 4]
    assert not scheduler.episodes


def test_a_request_is_cancelled_wherever_it_is(base: Base) -> None:
    engine = plain(base, max_sequences=2)
    for passes in range(4):
        scheduler = engine.open()
        for index in range(5):
            scheduler.add(index, PLAIN[index], SamplingParams(9))
        for _ in range(passes):
            scheduler.advance()
        for index in range(5):
            scheduler.cancel(index)
        assert not scheduler.is_busy
        assert not scheduler.episodes
        assert not scheduler.cache.lengths.any()
