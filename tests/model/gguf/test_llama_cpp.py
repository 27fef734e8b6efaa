"""Held against real llama.cpp: the same ids, the same greedy continuations, the same probabilities."""

import unicodedata
from pathlib import Path

import pytest

from mlx_trace.model.base import Base, load_base
from mlx_trace.model.gguf.patterns import CUTS
from mlx_trace.model.gguf.write import write_gguf
from tests.model.gguf.models import ARCHITECTURES, TEXTS, byte_level, llama_cpp, sentencepiece, write_random
from tests.model.gguf.test_tokenizer import noise
from tests.model.gguf.test_write import tokenizer_for

import mlx.core as mx  # isort: skip

PROMPTS = ["a", "How many eggs", "How many eggs does she have? " * 6]
CLOSE = 2e-3  # of log-probabilities; both compute in float32, one sums in another order
MANY = [*TEXTS, *list(noise())[:300]]
KINDS = {**{cut: lambda cut=cut: byte_level(cut) for cut in CUTS}, "pieces": sentencepiece,
         "pieces without a space before": lambda: sentencepiece(False)}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "cache"))


def likeliest(base: Base, prompt: list[int]) -> mx.array:
    """Return the next token's log-probabilities (V,)."""
    logits = base.network(mx.array([prompt]))[0, -1].astype(mx.float32)
    return logits - mx.logsumexp(logits)


def continued(base: Base, prompt: list[int], num_tokens: int) -> list[int]:
    said: list[int] = []
    for _ in range(num_tokens):
        said.append(int(mx.argmax(likeliest(base, prompt + said)).item()))
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_llama_cpps(kind: str, tmp_path: Path) -> None:
    folder = write_random(tmp_path / "m", "llama", KINDS[kind](), num_hidden_layers=1)
    write_gguf(folder, tmp_path / "m.gguf", "f32")
    back = load_base(str(tmp_path / "m.gguf")).tokenizer
    composed = CUTS[kind].normalizer is not None if kind in CUTS else False  # llama.cpp composes no letters
    with llama_cpp(tmp_path / "m.gguf") as real:
        for text in (unicodedata.normalize("NFC", text) if composed else text for text in MANY):
            assert real.ids(text) == back.encode(text), text


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_networks_compute_what_llama_cpp_computes(architecture: str, tmp_path: Path) -> None:
    folder = write_random(tmp_path / "m", architecture, tokenizer_for(architecture))
    write_gguf(folder, tmp_path / "m.gguf", "f32")
    base = load_base(str(tmp_path / "m.gguf"))
    compared = 0
    with llama_cpp(tmp_path / "m.gguf") as real:
        for text in PROMPTS:
            prompt = base.tokenizer.encode(text)
            assert real.greedy(prompt, 16) == continued(base, prompt, 16)
            ours = likeliest(base, prompt)
            for id_, logprob in real.likeliest(prompt, 5).items():
                assert abs(ours[id_].item() - logprob) < CLOSE
                compared += 1
    assert compared >= 5


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0"])
def test_coarser_types_agree_on_the_likeliest(kind: str, tmp_path: Path) -> None:
    """llama.cpp multiplies rounded activations there, so that probabilities are alike, not equal."""
    folder = write_random(tmp_path / "m", "qwen3", byte_level("qwen2"))
    write_gguf(folder, tmp_path / "m.gguf", kind)
    base = load_base(str(tmp_path / "m.gguf"))
    with llama_cpp(tmp_path / "m.gguf") as real:
        for text in PROMPTS:
            prompt = base.tokenizer.encode(text)
            ours, theirs = likeliest(base, prompt), real.likeliest(prompt, 5)
            assert all(abs(ours[id_].item() - logprob) < 0.25 for id_, logprob in theirs.items())


def test_what_llama_cpp_begins_and_ends_with_is_what_we_do(tmp_path: Path) -> None:
    """Files that say nothing of it: by pre-tokenizer, a text begins with the begin-of-sequence token or does not."""
    for cut in CUTS:
        folder = write_random(tmp_path / cut, "llama", byte_level(cut), num_hidden_layers=1)
        write_gguf(folder, tmp_path / f"{cut}.gguf", "f32")
        silent = without(tmp_path / f"{cut}.gguf", tmp_path / f"{cut}-silent.gguf", "tokenizer.ggml.add_bos_token")
        with llama_cpp(silent) as real:
            assert real.ids("How many") == load_base(str(silent)).tokenizer.encode("How many"), cut


def without(file: Path, into: Path, dropped: str) -> Path:
    from gguf import GGUFReader, GGUFWriter

    reader, writer = GGUFReader(file), GGUFWriter(into, "llama")
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key not in (dropped, "general.architecture"):
            writer.add_key_value(
                key, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None
            )
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return into
