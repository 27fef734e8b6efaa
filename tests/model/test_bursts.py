"""Where a display waits the GPU is given work in short pieces, which changes nothing of what comes out; elsewhere not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.config import GPU_SECONDS, Config
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.params import SamplingParams
from mlx_trace.memory.macs import chip
from mlx_trace.memory.predict import MemoryPlan
from mlx_trace.memory.shape import shape_of
from mlx_trace.model import bursts
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.bursts import burst_ends, burst_of, display_speed, watchdog_advice
from mlx_trace.model.layers import Level, PrefixTree, Split
from mlx_trace.model.prompts import Prompter
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rl.reinforce import Reinforce
from mlx_trace.train.rl.reward import make_scorer

import mlx.core as mx  # isort: skip
import itertools

M1_PRO = {"device_name": "Apple M1 Pro", "memory_size": 32 << 30, "max_recommended_working_set_size": 22 << 30}


@pytest.fixture
def on_mac(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A Mac as MLX tells of one, and the wired limits that were set."""
    limits: list[int] = []

    def set_limit(limit: int) -> int:
        limits.append(limit)
        return limits[-2] if len(limits) > 1 else 0

    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(mx, "device_info", lambda *_: M1_PRO)
    monkeypatch.setattr(mx, "set_wired_limit", set_limit)
    monkeypatch.setattr(bursts, "on_metal", lambda: True)
    return limits


def test_where_no_display_waits_there_is_no_bound(random_base: Base) -> None:
    if not mx.metal.is_available():
        assert display_speed() == 0 and burst_of(random_base.network, 2.0) is None


def test_a_burst_is_a_layers_flops_at_the_chips_speed(random_base: Base, on_mac: list[int]) -> None:
    pro = chip("M1 Pro")
    assert pro is not None and display_speed() == pro.speed
    numbers = shape_of(random_base.config, Config.model_validate({"num_layers": 1})).layer_numbers
    assert burst_of(random_base.network, 2.0) == int(2 * pro.speed / (2 * numbers))
    assert burst_of(random_base.network, 0.0) is None


@given(st.integers(1, 10**6), st.integers(1, 10**4))
def test_no_burst_is_longer_than_allowed_but_one_layer(burst: int, tokens: int) -> None:
    ends = [0, *sorted(end for end in burst_ends(burst, tokens) if end <= 100)]
    longest = max([after - before for before, after in itertools.pairwise(ends)] + [100 - ends[-1]])
    assert longest * tokens <= burst or longest == 1
    assert burst_ends(None, tokens) == frozenset()


def test_states_are_the_same_in_short_pieces(random_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, tree = [mx.array([[5, 6, 7, 8]])], PrefixTree([Level(np.array([4]), np.array([0]))])
    random_base.network.layers[:] = random_base.network.layers * 3
    plain = Split(random_base.network, 1).frozen(ids, tree)[0]
    evaluated: list[Any] = []
    whole = mx.eval
    monkeypatch.setattr("mlx_trace.model.layers.mx.eval", lambda *arrays: (evaluated.append(arrays), whole(*arrays)))
    pieces = Split(random_base.network, 1, burst=8).frozen(ids, tree)[0]
    monkeypatch.undo()
    assert len(evaluated) == 2, "five frozen layers of four tokens, two at a time"
    assert mx.array_equal(plain, pieces).item()


def test_replies_are_the_same_in_short_pieces(random_model: Path, on_mac: list[int]) -> None:
    replies = []
    for seconds in (0.0, 1e-12):
        base = load_base(str(random_model))
        prompter = Prompter(base.tokenizer, Config().prompt)
        decoder = Decoder(base, prompter, Decoding(constraint="none"), gpu_seconds=seconds)
        assert decoder.engine.forward.burst == burst_of(base.network, seconds) != burst_of(base.network, GPU_SECONDS)
        replies.append([episode.ids for episode in decoder.sample(["How many?"], SamplingParams(8, 1.0, 2, 0))])
    assert replies[0] == replies[1]


def test_rollouts_keep_to_the_seconds_that_the_configuration_says(
    random_base: Base, tmp_path: Path, on_mac: list[int]
) -> None:
    for seconds in (0.0, 0.5):
        config = Config(num_layers=1, adapter_path=tmp_path, gpu_seconds=seconds)
        prompter, scorer = Prompter(random_base.tokenizer, config.prompt), make_scorer(config.reinforce)
        phase = Reinforce(random_base, Split(random_base.network, 1), prompter, config, [], [], MemoryPlan(8192), Ranks(),
                          scorer)  # fmt: skip
        assert phase.decoder.engine.forward.burst == burst_of(random_base.network, seconds)


def test_the_wired_limit_is_raised_while_a_model_replies_and_then_what_it_was(
    random_base: Base, on_mac: list[int]
) -> None:
    decoder = Decoder(random_base, Prompter(random_base.tokenizer, Config().prompt), Decoding(constraint="none"))
    params, most = SamplingParams(3), M1_PRO["max_recommended_working_set_size"]
    decoder.sample(["How many?"], params)
    assert on_mac == [most, 0]
    stream = decoder.stream("How many?", params)
    next(stream)
    assert on_mac == [most, 0, most], "as long as somebody listens"
    stream.close()
    assert on_mac[-1] == 0
    list(decoder.finished(["How many?"], params))
    assert on_mac[-2:] == [most, 0]


def test_of_a_model_that_hardly_fits_it_is_told_beside_what_a_program_reads(
    random_base: Base, on_mac: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(M1_PRO, "max_recommended_working_set_size", 1 << 10)
    decoder = Decoder(random_base, Prompter(random_base.tokenizer, Config().prompt), Decoding(constraint="none"))
    decoder.sample(["How many?"], SamplingParams(3))
    told = capsys.readouterr()
    assert (told.out, told.err.count("close to the maximum")) == ("", 1)


def test_what_macos_ended_is_told_with_what_to_do() -> None:
    ended = RuntimeError("[METAL] Command buffer execution failed: Impacting Interactivity (0000000e:…)")
    assert "display" in str(watchdog_advice(ended))
    assert watchdog_advice(RuntimeError("this is a bug")) is None
