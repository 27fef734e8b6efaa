"""A pass over rows of different lengths gives what the plain network gives for each row by itself."""

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlx_trace.decode import forward as decoding
from mlx_trace.decode.cache import RaggedCache
from mlx_trace.decode.forward import Forward
from mlx_trace.model import elementwise
from mlx_trace.model import layer as module

import mlx.core as mx  # isort: skip
import mlx.nn as nn  # isort: skip
from mlx.utils import tree_flatten, tree_map  # isort: skip
from mlx_lm.models import llama, qwen2, qwen3  # isort: skip
from mlx_lm.tuner.utils import linear_to_lora_layers  # isort: skip

States = NDArray[np.float32]
VOCAB = 60
SHAPE: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 96, "num_attention_heads": 4,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": VOCAB, "tie_word_embeddings": False,
}  # fmt: skip
SCALED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}  # fmt: skip
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (llama, {}),
    "llama, every head its own keys": (llama, {"num_key_value_heads": 4, "tie_word_embeddings": True}),
    "llama, biases": (llama, {"attention_bias": True, "mlp_bias": True}),
    "llama 3's rope": (llama, {"rope_scaling": SCALED}),
    "llama, sliding": (llama, {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
                               "sliding_window": 5}),
    "llama, the last layer full": (llama, {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
                                           "sliding_window": 3}),
    "mistral": (llama, {"model_type": "mistral", "head_dim": 32, "sliding_window": 4096}),
    "qwen2": (qwen2, {"model_type": "qwen2"}),
    "qwen3": (qwen3, {"model_type": "qwen3", "head_dim": 32, "rope_theta": 1e4, "max_position_embeddings": 512}),
}  # fmt: skip


def make(kind: str = "llama") -> Any:
    """Make a network of a kind, with random weights everywhere, norms and biases too."""
    architecture, changes = KINDS[kind]
    mx.random.seed(len(kind))
    network = architecture.Model(architecture.ModelArgs.from_dict(SHAPE | changes))
    network.update(tree_map(lambda weight: weight + 0.1 * mx.random.normal(weight.shape), network.parameters()))
    return network


NETWORKS = {kind: make(kind) for kind in KINDS}


def with_adapter(network: Any, use_dora: bool = False) -> Any:
    """Put random LoRA, or DoRA, on all linear layers of the top two blocks."""
    keys = [f"self_attn.{name}_proj" for name in "qkvo"] + [f"mlp.{name}_proj" for name in ("gate", "up", "down")]
    linear_to_lora_layers(network, 2, {"rank": 4, "scale": 2.0, "dropout": 0.0, "keys": keys}, use_dora=use_dora)
    for name, layer in network.named_modules():
        if name.endswith("_proj") and "lora_b" in layer:
            layer.lora_b = 0.2 * mx.random.normal(layer.lora_b.shape)
    network.eval()
    return network


def plain(network: Any, ids: list[int]) -> States:
    """Return a row's states (T, D) from one pass of the network itself, without a cache."""
    return np.array(network.model(mx.array([ids]))[0].astype(mx.float32))


def ragged(forward: Forward, passes: list[list[list[int]]]) -> list[dict[int, States]]:
    """Run passes of runs; return each row's states by position, at the end of every run."""
    cache = RaggedCache(len(forward.network.layers), len(passes[0]))
    found: list[dict[int, States]] = [{} for _ in passes[0]]
    for number, runs in enumerate(passes):
        wanted = [at for at, run in enumerate(runs) if run][:: -1 if number % 2 else 1]
        states = np.array(forward(runs, cache, wanted).astype(mx.float32))
        for at, state in zip(wanted, states, strict=True):
            found[at][int(cache.lengths[at]) - 1] = state
    return found


def furthest(found: list[dict[int, States]], expected: list[States]) -> float:
    """Return the largest difference at any position of any row."""
    return max(float(np.abs(state - full[at]).max()) for row, full in zip(found, expected, strict=True)
               for at, state in row.items())  # fmt: skip


def rows_of(passes: list[list[list[int]]]) -> list[list[int]]:
    return [[token for runs in passes for token in runs[at]] for at in range(len(passes[0]))]


RUN = st.integers(0, 6).flatmap(lambda size: st.lists(st.integers(0, VOCAB - 1), min_size=size, max_size=size))
PASSES = st.integers(1, 4).flatmap(
    lambda rows: st.lists(st.lists(RUN, min_size=rows, max_size=rows).filter(any), min_size=1, max_size=6)
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(passes=PASSES)
def test_rows_of_any_lengths_equal_the_plain_network(kind: str, passes: list[list[list[int]]]) -> None:
    network = NETWORKS[kind]
    expected = [plain(network, ids) if ids else np.zeros((0, 0), np.float32) for ids in rows_of(passes)]
    assert furthest(ragged(Forward(network), passes), expected) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_what_numpy_computes_gives_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "_WORTH", 1)
    passes = [[[1, 2, 3, 4, 5, 6, 7], [8, 9]], [[10], [11, 12, 13]], [[14, 15], []]]
    assert (
        furthest(ragged(Forward(NETWORKS[kind]), passes), [plain(NETWORKS[kind], ids) for ids in rows_of(passes)])
        < 1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_token_by_token_past_the_cache_s_first_room(kind: str) -> None:
    network, rng = NETWORKS[kind], np.random.default_rng(1)
    start = [rng.integers(0, VOCAB, size).tolist() for size in (55, 3)]
    passes = [start, *([[int(token)] for token in rng.integers(0, VOCAB, 2)] for _ in range(20))]
    expected = [plain(network, ids) for ids in rows_of(passes)]
    assert furthest(ragged(Forward(network), passes), expected) < 1e-4


@pytest.mark.parametrize("kind", ["llama", "llama, sliding", "qwen3"])
@settings(max_examples=20)
@given(passes=PASSES)
def test_an_unknown_architecture_gives_the_same(kind: str, passes: list[list[list[int]]]) -> None:
    unknown = copy.copy(NETWORKS[kind])
    unknown.model_type = "unheard-of"
    other = Forward(unknown)
    assert not other.layers
    known = ragged(Forward(NETWORKS[kind]), passes)
    for found, row in zip(ragged(other, passes), known, strict=True):
        assert found.keys() == row.keys()
        assert all(np.abs(found[at] - row[at]).max() < 1e-4 for at in row)


def test_only_the_wanted_rows_states_are_returned_in_their_order() -> None:
    network, cache = NETWORKS["llama"], RaggedCache(3, 4)
    runs = [[5, 6, 7], [], [8], [9, 10]]
    states = np.array(Forward(network)(runs, cache, [3, 0]))
    assert np.abs(states - [plain(network, runs[at])[-1] for at in (3, 0)]).max() < 1e-4
    assert cache.lengths.tolist() == [3, 0, 1, 2]


@pytest.mark.parametrize("model_type", ["llama", "unheard-of"])
def test_a_pass_that_wants_nothing_still_reads(model_type: str) -> None:
    network, cache = copy.copy(NETWORKS["llama"]), RaggedCache(3, 2)
    network.model_type = model_type
    forward = Forward(network)
    forward([[5, 6, 7], [8]], cache, [])
    cache.evaluate()
    states = np.array(forward([[1], [2]], cache, [0, 1]))
    assert np.abs(states - [plain(network, ids)[-1] for ids in ([5, 6, 7, 1], [8, 2])]).max() < 1e-4


# --- to the byte -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_what_a_cpu_shares_and_leaves_out_changes_no_bit(
    kind: str, dtype: mx.Dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = copy.deepcopy(NETWORKS[kind])
    network.set_dtype(dtype)
    passes: list[list[list[int]]] = [[[1, 2, 3, 4, 5, 6, 7], [5, 6], []], [[7], [], [9, 1, 2]], [[8, 9], [10], [3]]]
    shared = ragged(Forward(network), passes)
    monkeypatch.setattr(decoding, "_is_cpu", lambda: False)
    plainly = ragged(Forward(network), passes)
    for row, same in zip(shared, plainly, strict=True):
        assert row.keys() == same.keys()
        assert all(np.array_equal(row[position], same[position]) for position in row)


# --- adapters --------------------------------------------------------------------------------------------------

RUNS: list[list[list[int]]] = [[[1, 2, 3, 4], [5, 6]], [[7], []], [[8, 9], [10, 11, 12]]]


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])  # without biases, and with
def test_adapters_on_fp32_are_folded_into_the_same_states(
    kind: str, use_dora: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = with_adapter(make(kind), use_dora)
    folded = Forward(network)
    assert all(type(linear) is nn.Linear for layer in folded.layers for linear in layer.linear.values())
    monkeypatch.setattr(module, "_merged", lambda linear: linear)
    unfolded = Forward(network)
    assert unfolded.layers[-1].linear["q_proj"] is network.layers[-1].self_attn.q_proj
    for one, other in zip(ragged(folded, RUNS), ragged(unfolded, RUNS), strict=True):
        assert all(np.abs(one[at] - other[at]).max() < 1e-5 for at in one)
    assert furthest(ragged(folded, RUNS), [plain(network, ids) for ids in rows_of(RUNS)]) < 1e-4


def test_folding_leaves_the_network_as_it_was() -> None:
    network = with_adapter(make())
    before = dict(tree_flatten(network.parameters()))
    modules = dict(network.named_modules())
    ragged(Forward(network), RUNS)
    assert all(layer is modules[name] for name, layer in network.named_modules())
    after = dict(tree_flatten(network.parameters()))
    assert before.keys() == after.keys()
    assert all(mx.array_equal(before[name], after[name]).item() for name in before)


@pytest.mark.parametrize("coarse", ["quantised", "bfloat16"])
def test_adapters_on_coarse_weights_are_not_folded(coarse: str) -> None:
    network = make()
    if coarse == "quantised":
        nn.quantize(network, group_size=32, bits=4)
    else:
        network.set_dtype(mx.bfloat16)
    network = with_adapter(network)
    forward = Forward(network)
    for own, layer in zip(forward.layers, network.layers, strict=True):
        assert own.linear["q_proj"] is layer.self_attn.q_proj
        assert own.linear["down_proj"] is layer.mlp.down_proj
    found = ragged(forward, RUNS)
    expected = [plain(network, ids) for ids in rows_of(RUNS)]
    assert furthest(found, expected) < (1e-4 if coarse == "quantised" else 0.25)  # bfloat16 keeps 8 bits
