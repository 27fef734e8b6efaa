"""Shared pieces: model directories with random weights, tokenizers of both families, a scripted network."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches the network
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
os.environ.setdefault("MLX_ENABLE_TF32", "0")  # float32 to its last bits on every device

import pytest
from hypothesis import HealthCheck, settings
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import mlx_trace.model  # before MLX: it loads OpenBLAS where that is wanted

import mlx.core as mx  # isort: skip
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes

from mlx_trace.config import Prompt
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.prompts import Prompter
from mlx_trace.resources import tiny_dir

settings.register_profile("mlx-trace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mlx-trace")

# What tests start is not to be deaf where they themselves are: under nohup, or in a shell's background.
for number, handler in {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}.items():
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

assert mlx_trace.model is not None

LLAMA3_TEMPLATE = (
    "<|bos|>{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{% if messages[0]['role'] == 'system' %}<|head|>system: Today Date: {{ date_string }} "
    "{{ messages[0]['content'] }}<|end|>{% set messages = messages[1:] %}{% endif %}"
    "{% for message in messages %}<|head|>{{ message['role'] }}\n\n{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant\n\n{% endif %}"
)
LLAMA2_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
CORPUS = [
    "expert: arithmetic\ntrace:\n- {op: init, var: eggs, value: 16}\n- {op: query, var: result}\n```",
    "How many eggs does she have? assistant user system ```yaml",
] * 8 + ["abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 _./-+,:{}[]"]


def byte_level_tokenizer() -> Any:
    """A small tokenizer of Llama 3's family: byte-level BPE, its template inserting a date."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r" ?\w+| ?[^\s\w]+|\s+"), "isolated"),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<|bos|>", "<|end|>", "<|head|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|bos|>", eos_token="<|end|>",
                                   chat_template=LLAMA3_TEMPLATE, clean_up_tokenization_spaces=False)  # fmt: skip


def sentencepiece_tokenizer() -> Any:
    """A small tokenizer of Llama 2's family: spaces are pieces, one is put before the text, bytes as a fallback."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    words = Regex(r"▁?[A-Za-z0-9_]+|▁?[^A-Za-z0-9_▁]+|▁")  # in training only, as SentencePiece does: no piece spans two
    tokenizer.pre_tokenizer = pre_tokenizers.Split(words, "isolated")
    tokenizer.train_from_iterator([text.replace(" ", "▁").replace("\n", "") for text in CORPUS], trainer)
    content = json.loads(tokenizer.to_str()) | {"pre_tokenizer": None}
    content["added_tokens"] = [token for token in content["added_tokens"] if not token["content"].startswith("<0x")]
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)), bos_token="<s>",
                                   eos_token="</s>", unk_token="<unk>", chat_template=LLAMA2_TEMPLATE,
                                   clean_up_tokenization_spaces=False)  # fmt: skip


def write_model(folder: Path, tokenizer: Any, seed: int = 0, **changes: Any) -> Path:
    """Write a model directory with random weights: a Llama of two layers and width 32, unless changed."""
    config = {
        "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64,
        "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "vocab_size": len(tokenizer),
        "rope_theta": 10_000.0, "tie_word_embeddings": False, "eos_token_id": tokenizer.eos_token_id,
    } | changes  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    mx.random.seed(seed)
    model_class, arguments = _get_classes(config)
    network = model_class(arguments.from_dict(config))
    if quantization := config.get("quantization"):
        nn.quantize(network, **quantization)
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(network.parameters())))
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests convert and fetch out of the user's cache."""
    os.environ["MLX_TRACE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama's directory, with a byte-level tokenizer."""
    return write_model(tmp_path_factory.mktemp("random") / "model", byte_level_tokenizer())


@pytest.fixture
def random_base(random_model: Path) -> Base:
    """The random Llama, loaded afresh."""
    return load_base(str(random_model))


@pytest.fixture
def prompter(random_base: Base) -> Prompter:
    """The prompter of the random Llama."""
    return Prompter(random_base.tokenizer, Prompt())


@pytest.fixture
def tiny() -> Iterator[Path]:
    """The bundled tiny base's directory."""
    yield tiny_dir()


class ScriptedNetwork:
    """A network that replies to each prompt with a queued token sequence, through the real cache of the engine.

    It keeps every row's tokens as the cache's keys, so that it sees what a real network would see. A state is the token
    that comes next, or `NOTHING` where none is queued, which must not be asked for.
    """

    NOTHING = -1

    def __init__(self, replies: dict[tuple[int, ...], list[int]], vocab_size: int = 50) -> None:
        self.replies, self.vocab_size = replies, vocab_size
        self.layers = [object()]
        self.args = SimpleNamespace(tie_word_embeddings=False)
        self.passes: list[tuple[int, int]] = []  # the shape (B, T) of every pass

    def __call__(self, ids: mx.array) -> mx.array:
        """Return finite logits (B, T, V), whatever is read: what a decoder makes sure of first."""
        return mx.zeros((*ids.shape, self.vocab_size))

    def model(self, ids: mx.array, caches: Any) -> mx.array:
        """Return states (B, T, 1), one for every position."""
        self.passes.append((ids.shape[0], ids.shape[1]))
        tokens = ids[:, None, :, None].astype(mx.float32)
        history, _ = caches[0].update_and_fetch(tokens, tokens)
        rows = [tuple(map(int, row)) for row in history[:, 0, :, 0].tolist()]
        lengths = caches[0].offset.tolist()
        return mx.array([
            [[self._next(row[: length + at])] for at in range(1, ids.shape[1] + 1)]
            for row, length in zip(rows, lengths, strict=True)
        ])  # fmt: skip

    def lm_head(self, hidden: mx.array) -> mx.array:
        """Return logits (S, V) for states (S, 1)."""
        assert not (hidden == self.NOTHING).any().item(), "no reply is queued for a prompt"
        return 20.0 * (mx.arange(self.vocab_size) == hidden).astype(mx.float32)

    def _next(self, row: tuple[int, ...]) -> int:
        for prompt, reply in self.replies.items():
            if row[: len(prompt)] == prompt:
                said = len(row) - len(prompt)
                return reply[said] if said < len(reply) else reply[-1]
        return self.NOTHING  # within a prompt, or behind what a row has read


@pytest.fixture
def scripted() -> Callable[..., ScriptedNetwork]:
    """Make a network of queued replies."""
    return ScriptedNetwork
