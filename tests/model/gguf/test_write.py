"""A model directory becomes a file and a directory again, bit by bit, and what GGUF cannot say is refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.errors import UserError
from mlx_trace.model.base import load_base
from mlx_trace.model.gguf import rope, write
from mlx_trace.model.gguf.convert import model_directory
from mlx_trace.model.gguf.header import read_header
from mlx_trace.model.gguf.write import write_gguf
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas
from mlx_trace.resources import tiny_dir
from tests.model.gguf.models import ARCHITECTURES, TEXTS, byte_level, sentencepiece, weights, write_random

import mlx.core as mx  # isort: skip

IDS = mx.array([[5, 6, 7, 8, 9, 10, 11]])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "cache"))


def tokenizer_for(architecture: str) -> Any:
    """The kind of tokenizer that an architecture's models have."""
    if architecture == "mistral":
        return sentencepiece()
    return byte_level("qwen2" if architecture.startswith("qwen") else "llama-bpe" if "3" in architecture else "smollm")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_round_trip_gives_the_model_back(architecture: str, tmp_path: Path) -> None:
    """Weights bit by bit, what the network computes, ids, template, and how it is configured."""
    folder = write_random(tmp_path / "m", architecture, tokenizer_for(architecture))
    write_gguf(folder, tmp_path / "m.gguf", "f32")
    back = model_directory(tmp_path / "m.gguf")
    before, after = weights(folder), weights(back)
    assert before.keys() == after.keys()
    assert all(np.array_equal(values, after[name][0]) for name, (values, _) in before.items())
    one, other = load_base(str(folder)), load_base(str(back))
    assert mx.allclose(one.network(IDS), other.network(IDS), rtol=1e-5, atol=1e-4)
    assert [one.tokenizer.encode(text) for text in TEXTS] == [other.tokenizer.encode(text) for text in TEXTS]
    assert one.tokenizer.chat_template == other.tokenizer.chat_template
    assert one.tokenizer.eos_token_ids == other.tokenizer.eos_token_ids
    said = json.loads((folder / "config.json").read_text())
    found = json.loads((back / "config.json").read_text())
    assert found["model_type"] == ("llama" if architecture == "mistral" else said["model_type"])
    for key in ("rms_norm_eps", "rope_theta", "max_position_embeddings", "tie_word_embeddings", "num_key_value_heads"):
        assert found[key] == said[key]
    for key, value in (said.get("rope_scaling") or {}).items():
        assert found["rope_scaling"][key] == value


@pytest.mark.parametrize("kind", write.KINDS)
def test_a_second_round_changes_nothing(kind: str, tmp_path: Path) -> None:
    """What a type keeps of the weights, it keeps again."""
    folder = write_random(tmp_path / "m", "qwen3", byte_level("qwen2"))
    write_gguf(folder, tmp_path / "one.gguf", kind)
    write_gguf(model_directory(tmp_path / "one.gguf"), tmp_path / "two.gguf", kind)
    one, two = (weights(model_directory(tmp_path / name)) for name in ("one.gguf", "two.gguf"))
    assert all(
        np.allclose(values, two[name][0], rtol=0, atol=0 if kind != "q8_0" else 1e-6)
        for name, (values, _) in one.items()
    )
    largest = max(float(np.abs(values - one[name][0]).max()) for name, (values, _) in weights(folder).items())
    assert largest <= {"f32": 0.0, "f16": 5e-4, "bf16": 5e-3, "q8_0": 8e-3}[kind]


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_that_mlx_quantised_are_written_as_what_they_stand_for(bits: int, tmp_path: Path) -> None:
    folder = write_random(tmp_path / "m", "llama", byte_level("smollm"), intermediate_size=128)
    from mlx_lm.utils import load_model, quantize_model, save_model

    network, config = load_model(folder)
    network, config = quantize_model(network, config, group_size=64, bits=bits)
    mx.eval(network.parameters())
    (folder / "model.safetensors").unlink()
    save_model(folder, network, donate_model=False)
    (folder / "config.json").write_text(json.dumps(config))
    write_gguf(folder, tmp_path / "m.gguf", "f32")
    base, back = load_base(str(folder)), load_base(str(tmp_path / "m.gguf"))
    assert mx.allclose(base.network(IDS), back.network(IDS), rtol=1e-3, atol=1e-3)


def test_vectors_stay_float32_and_crooked_rows_become_half(tmp_path: Path) -> None:
    folder = write_random(tmp_path / "m", "llama", byte_level("smollm"), intermediate_size=80)
    write_gguf(folder, tmp_path / "m.gguf", "q8_0")
    kinds = {name: tensor.kind for name, tensor in read_header(tmp_path / "m.gguf").tensors.items()}
    assert kinds["blk.0.attn_norm.weight"] == "F32"
    assert kinds["blk.0.ffn_up.weight"] == "Q8_0"
    assert kinds["blk.0.ffn_down.weight"] == "F16"  # rows of 80, and blocks of 32


def test_all_that_ends_a_reply_survives(tmp_path: Path) -> None:
    tokenizer = byte_level("smollm")
    folder = write_random(tmp_path / "m", "llama", tokenizer, eos_token_id=[1, 2, 0])
    write_gguf(folder, tmp_path / "m.gguf", "f32")
    assert load_base(str(tmp_path / "m.gguf")).tokenizer.eos_token_ids == {0, 1, 2}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another type": ({"model_type": "gemma"}, "of type 'gemma'"),
    "activation": ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    "rope": ({"rope_traditional": True}, "rope_traditional"),
    "windows": (
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 8},
        "layer_types has windows",
    ),
    "scaling": ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic'"),
    "mscale": ({"rope_scaling": {"type": "yarn", "factor": 2.0, "mscale": 0.7}}, "mscale"),
    "positions": ({"model_type": "smollm3", "no_rope_layers": [0, 1]}, "no_rope_layers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_llama_cpp_would_compute_otherwise_is_refused(case: str, tmp_path: Path) -> None:
    changes, said = REFUSED[case]
    folder = write_random(
        tmp_path / "m", "llama", byte_level("smollm"), **(changes if case not in ("another type",) else {})
    )
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        write_gguf(folder, tmp_path / "m.gguf", "f32")
    assert not list(tmp_path.glob("*m.gguf*"))


def changed_tokenizer(folder: Path, edit: Any) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    edit(content)
    (folder / "tokenizer.json").write_text(json.dumps(content))


TOKENIZERS: dict[str, tuple[Any, str]] = {
    "pattern": (lambda t: t["pre_tokenizer"]["pretokenizers"][0].update(individual_digits=False), "no name for how"),
    "normalizer": (lambda t: t.update(normalizer={"type": "Lowercase"}), "no name for how"),
    "stripped": (lambda t: t["added_tokens"][0].update(lstrip=True), "takes the space beside it"),
    "suffix": (lambda t: t["model"].update(end_of_word_suffix="</w>"), "the end of words"),
    "merged": (lambda t: t["model"].update(ignore_merges=True, merges=t["model"]["merges"][:5]), "cannot be merged"),
}


@pytest.mark.parametrize("case", TOKENIZERS)
def test_what_llama_cpp_would_tokenise_otherwise_is_refused(case: str, tmp_path: Path) -> None:
    edit, said = TOKENIZERS[case]
    folder = write_random(tmp_path / "m", "llama", byte_level("smollm"))
    changed_tokenizer(folder, edit)
    with pytest.raises(UserError, match=said):
        write_gguf(folder, tmp_path / "m.gguf", "f32")


@pytest.mark.parametrize(("cut", "said"), [
    ({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}, "the first word only"),
    ({"type": "Whitespace"}, "a way of its own"),
])  # fmt: skip
def test_pieces_with_spaces_of_their_own_are_refused(cut: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = write_random(tmp_path / "m", "llama", sentencepiece())
    changed_tokenizer(folder, lambda t: t.update(pre_tokenizer=cut, normalizer=None))
    with pytest.raises(UserError, match=said):
        write_gguf(folder, tmp_path / "m.gguf", "f32")


def test_pieces_that_lack_merges_are_refused(tmp_path: Path) -> None:
    folder = write_random(tmp_path / "m", "llama", sentencepiece())
    changed_tokenizer(folder, lambda t: t["model"]["merges"].pop(7))
    with pytest.raises(UserError, match="not those of SentencePiece's scores"):
        write_gguf(folder, tmp_path / "m.gguf", "f32")


def test_faults_of_paths_and_types_are_told(tmp_path: Path) -> None:
    folder = write_random(tmp_path / "m", "llama", byte_level("smollm"))
    with pytest.raises(UserError, match="f32, f16, bf16, q8_0, not 'q4_k'"):
        write_gguf(folder, tmp_path / "m.gguf", "q4_k")
    with pytest.raises(UserError, match="is a directory"):
        write_gguf(folder, tmp_path, "f32")
    with pytest.raises(UserError, match="not a model directory"):
        write_gguf(tmp_path / "nothing", tmp_path / "m.gguf", "f32")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        write_gguf(folder, tmp_path / "m.gguf", "f32")


def test_numbers_too_large_for_half_are_told(tmp_path: Path) -> None:
    folder = write_random(tmp_path / "m", "llama", byte_level("smollm"))
    whole = mx.load(str(folder / "model.safetensors"))
    whole["model.layers.0.mlp.up_proj.weight"] *= 1e6
    mx.save_safetensors(str(folder / "model.safetensors"), whole)
    with pytest.raises(UserError, match="f16 cannot"):
        write_gguf(folder, tmp_path / "m.gguf", "f16")
    assert not list(tmp_path.glob("*m.gguf*"))
    write_gguf(folder, tmp_path / "m.gguf", "bf16")


# --- positions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [8.0, 32.0])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_llama3_factors_are_mlx_lms(factor: float, head_dim: int) -> None:
    from mlx_lm.models.rope_utils import Llama3RoPE

    scaling = {"rope_type": "llama3", "factor": factor, **rope.LLAMA3, "original_max_position_embeddings": 8192}
    factors = rope.llama3_factors(scaling, 500_000.0, head_dim)
    plain = 500_000.0 ** (np.arange(0, head_dim, 2) / head_dim)
    there = np.array(Llama3RoPE(head_dim, base=500_000.0, scaling_config=scaling)._freqs) / plain
    assert np.allclose(there, factors, rtol=1e-4)
    assert rope.scaling_from({}, factors.tolist(), 500_000.0, head_dim, 131_072, "x") == scaling
    assert rope.scaling_from({}, [1.0] * (head_dim // 2), 500_000.0, head_dim, 131_072, "x") is None


def test_the_tiny_base_read_back_cuts_traces_as_it_was_taught(tmp_path: Path) -> None:
    write_gguf(tiny_dir(), tmp_path / "tiny.gguf", "f32")
    own, read = load_base("tiny").tokenizer, load_base(str(tmp_path / "tiny.gguf")).tokenizer
    for problem in generate_balanced(list(load_schemas().values()), 60, seed=5):
        for text in (problem.question, f"```yaml\n{problem.trace}\n```", "two  spaces", "<|user|>x<|end|>"):
            assert read.encode(text) == own.encode(text)
