"""Small models of every architecture with tokenizers of every kind, and real llama.cpp to hold them against."""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import mlx_trace.model  # before MLX

import mlx.core as mx  # isort: skip
from mlx.utils import tree_flatten, tree_map
from mlx_lm.utils import _get_classes

from mlx_trace.model.gguf.patterns import CUTS
from mlx_trace.model.gguf.pieces import merges_from_scores

assert mlx_trace.model is not None

CORPUS = [
    "expert: arithmetic\ntrace:\n- {op: init, var: eggs, value: 16}\n- {op: query, var: result}\n```",
    "How many eggs does she have? It's 1,234 eggs — she'll sell 56 of them.  assistant user system ```yaml",
    "def double(n):\n    return n * 2\n\n\nprint(double(21))  # 42\t\t'quoted' \"text\" a/b c//d\r\n",
    "Größe, naïve café, 中文字, Русский текст, 日本語, emoji 🙂🙂, ١٢٣, ½ ² e\u0301",
    "HTTPServer camelCase SHOUTING Title don't won't I'm THEY'RE we've  x  y   z",
] * 6
TEXTS = [
    "", " ", "  ", "\n", "\n\n", "\t", " \n ", "a", " a", "a ", "Hello world", "How many eggs are there in all?",
    "x\n\n\n  y", "1", "12", "123", "1234", "12345.678", "1,234,567", " 007", "3/4 of 100%", "$2,500.00", "a1b22c333",
    "it's we'll THEY'RE I'M 'tis", "naïve café — Größe", "e\u0301 ﬁ ½ ² Ⅳ ١٢٣", "中文字符，日本語です", "🙂🙃👩‍👩‍👧", "\u00a0\u2003x\u200b",
    "def f(x):\n    return x ** 2  # why?\n\tpass\r\n", "{'a': [1, 2], \"b\": null}", "https://a.b/c?d=e&f=%20#g",
    "expert: rate_equation\ntrace:\n- {op: init, var: rate1, value: 40}\n- {op: query, var: result}\n```\n",
    "<|im_end|>", "a<|im_start|>b <|im_end|> c\n<|im_start|>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "aaaaaaaaaaaaaaaa", "---===+++", "...?!;:", "ﷺ\ufffd\ufeff", "tab\there  two   three    four", "trailing   ",
    "MixedCase HTTPServer aB AbC ABc", "a/b//c\\d\n/e", "x" * 300, "\x00\x01\x7f",
]  # fmt: skip
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PIECES_TEMPLATE = TEMPLATE.replace("<|im_start|>", "<s>").replace("<|im_end|>", "</s>")
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "head_dim": 24, "rope_scaling": None},
    "llama-biased": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "llama3": {"model_type": "llama", "rope_theta": 500_000.0, "tie_word_embeddings": True, "head_dim": 32, "rope_scaling": {
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}},
    "llama-linear": {"model_type": "llama", "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "mistral": {"model_type": "mistral", "rope_theta": 1_000_000.0},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": True},
    "qwen2-yarn": {"model_type": "qwen2", "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}},
    "qwen3": {"model_type": "qwen3", "head_dim": 32, "tie_word_embeddings": True},
    "smollm3": {"model_type": "smollm3", "num_hidden_layers": 4, "tie_word_embeddings": True},
}  # fmt: skip


@lru_cache
def byte_level(cut: str, vocab_size: int = 480) -> Any:
    """A small byte-level tokenizer that cuts as GGUF's name says, trained on CORPUS."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    content = json.loads(tokenizer.to_str()) | {
        "pre_tokenizer": CUTS[cut].pre_tokenizer,
        "normalizer": CUTS[cut].normalizer,
    }
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
    tokenizer.train_from_iterator(CORPUS, trainer)
    content = json.loads(tokenizer.to_str())
    content["model"]["ignore_merges"] = CUTS[cut].ignore_merges
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)), bos_token="<|im_start|>", eos_token="<|im_end|>",
        pad_token="<|pad|>", chat_template=TEMPLATE, clean_up_tokenization_spaces=False,
    )  # fmt: skip


@lru_cache
def sentencepiece(prefix: bool = True) -> Any:
    """A small tokenizer of SentencePiece's kind: every way to make a piece is a merge, as scores have it."""
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for text in CORPUS for word in text.replace("\n", " ").split(" ") if word.isascii()})
    pieces = {
        piece: id_ for id_, piece in enumerate(["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))])
    }
    found = {"▁"} | {char for word in words for char in word}
    for word in ("▁" + word for word in words):
        found |= {word[start : start + size] for size in (2, 3, 4) for start in range(0, len(word) - size + 1, 2)}
    for piece in sorted(found, key=lambda piece: (len(piece) == 1, len(piece), piece)):
        pieces.setdefault(piece, len(pieces))
    merges = merges_from_scores(pieces, [-float(id_) for id_ in range(len(pieces))])
    tokenizer = Tokenizer(models.BPE(vocab=pieces, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁")] * prefix + [normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] * prefix
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                   chat_template=PIECES_TEMPLATE, clean_up_tokenization_spaces=False)  # fmt: skip


def write_random(folder: Path, architecture: str, tokenizer: Any, dtype: mx.Dtype = mx.float32, **changes: Any) -> Path:
    """Write a model directory whose every number is random, biases and norms too."""
    config: dict[str, Any] = {
        "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "num_attention_heads": 4,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": len(tokenizer), "rope_theta": 10_000.0,
        "max_position_embeddings": 256, "tie_word_embeddings": False, "eos_token_id": tokenizer.eos_token_id,
        "torch_dtype": str(dtype).removeprefix("mlx.core."),
    } | ARCHITECTURES[architecture] | changes  # fmt: skip
    if config["model_type"] == "qwen3":
        config.setdefault("head_dim", 16)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    model_class, arguments = _get_classes(config)
    network = model_class(arguments.from_dict(config))
    mx.random.seed(7)

    def fill(values: mx.array) -> mx.array:
        around = 1.0 if values.ndim == 1 else 0.0
        scale = 0.3 if values.ndim == 1 else 2.0 * values.shape[-1] ** -0.5
        return (around + scale * mx.random.normal(values.shape)).astype(dtype)

    network.update(tree_map(fill, network.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(network.parameters())))
    tokenizer.save_pretrained(folder)
    return folder


def weights(folder: Path) -> dict[str, Any]:
    """Return a folder's weights by name, as NumPy's float32 and the name of their type."""
    found: dict[str, mx.array] = {}
    for file in folder.glob("model*.safetensors"):
        found |= mx.load(str(file))
    return {name: (np.array(value.astype(mx.float32)), str(value.dtype)) for name, value in found.items()}


class LlamaCpp:
    """A GGUF file in real llama.cpp, on one thread, spoken to on the loopback interface."""

    def __init__(self, address: str) -> None:
        self._address = address

    def _ask(self, path: str, said: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"{self._address}/{path}", json.dumps(said).encode(),
                                         {"Content-Type": "application/json"})  # fmt: skip
        with urllib.request.urlopen(request, timeout=600) as reply:
            return json.load(reply)

    def ids(self, text: str, special: bool = True) -> list[int]:
        """Return the token ids of a text, with what the file says begins it; special tokens are found in it."""
        return list(self._ask("tokenize", {"content": text, "add_special": special, "parse_special": True})["tokens"])

    def greedy(self, prompt: Sequence[int], num_tokens: int) -> list[int]:
        """Return the ids of the greedy continuation."""
        return list(self._complete(prompt, num_tokens, 0)["tokens"])

    def likeliest(self, prompt: Sequence[int], num_shown: int) -> dict[int, float]:
        """Return the likeliest next tokens with their log-probabilities; none where the likeliest is half a character."""
        shown = self._complete(prompt, 1, num_shown).get("completion_probabilities")
        return {entry["id"]: entry["logprob"] for entry in shown[0]["top_logprobs"]} if shown else {}

    def _complete(self, prompt: Sequence[int], num_tokens: int, num_shown: int) -> Any:
        return self._ask("completion", {
            "prompt": list(prompt), "n_predict": num_tokens, "temperature": 0.0, "samplers": ["temperature"],
            "n_probs": num_shown, "return_tokens": True, "ignore_eos": True, "cache_prompt": False})  # fmt: skip


@contextmanager
def llama_cpp(file: Path, context: int = 512) -> Iterator[LlamaCpp]:
    """Load a file in llama.cpp, computing in float32 throughout; skips by name where the package is absent."""
    package = pytest.importorskip("xllamacpp", reason="real llama.cpp is absent: pip install xllamacpp")
    parameters = package.CommonParams()
    parameters.model.path = str(file)
    parameters.n_ctx, parameters.n_parallel, parameters.warmup, parameters.verbosity = context, 1, False, 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.cache_type_k = parameters.cache_type_v = package.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = package.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it rounds to half
    parameters.fit_params = False
    server = package.Server(parameters)
    yield LlamaCpp(server.listening_address)
    del server
