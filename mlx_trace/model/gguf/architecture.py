"""What a GGUF file's metadata says of the network, as the config.json that mlx-lm reads.

Takes a Header. Whatever would make the network compute something else than the file's author meant is refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlx_trace.errors import UserError
from mlx_trace.model.gguf.header import Header
from mlx_trace.model.gguf.rope import scaling_from, shortest

# GGUF's name: the class that transformers builds. Mistral's files say llama.
ARCHITECTURES: Final = {
    "llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
}  # fmt: skip
PERMUTED: Final = ("llama", "smollm3")  # whose q and k rows GGUF keeps in another order
_HEAD_IS_A_SHARE: Final = ("qwen2",)  # mlx-lm knows no head_dim of its own there
_READ: Final = frozenset(
    "block_count context_length embedding_length feed_forward_length vocab_size rope.dimension_count rope.freq_base "
    "attention.head_count attention.head_count_kv attention.layer_norm_rms_epsilon attention.key_length "
    "attention.value_length attention.sliding_window rope.scale_linear rope.scaling.finetuned "
    "tensor_data_layout".split()
)
_SCALING: Final = "rope.scaling."


class _Keys:
    """An architecture's own keys, each read with its type and its limits."""

    def __init__(self, header: Header, architecture: str) -> None:
        self._path = header.path
        self._prefix = f"{architecture}."
        self.short = {key.removeprefix(self._prefix): value for key, value in header.metadata.items()
                      if key.startswith(self._prefix)}  # fmt: skip

    def count(self, key: str, default: int | None = None, most: int = 1 << 24) -> int:
        value = self.short.get(key, default)
        if isinstance(value, list) and value and len(set(value)) == 1:
            value = value[0]  # given layer by layer, and the same for all
        if value is None:
            raise UserError(f"{self._path}: its metadata has no {self._prefix}{key}")
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise UserError(f"{self._path}: {self._prefix}{key} is {_shown(value)}; it is a number from 1 to {most:,}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.short.get(key, default)
        if value is None:
            raise UserError(f"{self._path}: its metadata has no {self._prefix}{key}")
        if not isinstance(value, float | int) or isinstance(value, bool) or value <= 0:
            raise UserError(f"{self._path}: {self._prefix}{key} is {_shown(value)}; it is a number above 0")
        return shortest(value)

    def refuse_unknown(self) -> None:
        """Refuse keys that nobody reads here and that are set: they may change what the network computes."""
        unknown = [key for key, value in self.short.items()
                   if key not in _READ and not key.startswith(_SCALING) and value not in (0, False, "")]  # fmt: skip
        if unknown:
            said = ", ".join(f"{self._prefix}{key} = {_shown(self.short[key])}" for key in unknown[:3])
            raise UserError(f"{self._path}: {said}: mlx-trace does not know what that changes")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:40]}…"


def architecture_of(header: Header) -> str:
    """Return the architecture's name in GGUF; UserError if it is none that mlx-trace trains."""
    name = header.metadata.get("general.architecture")
    if name in ARCHITECTURES:
        return str(name)
    if header.metadata.get("general.type", "model") != "model":
        raise UserError(f"{header.path}: holds {_shown(header.metadata['general.type'])}, not a model")
    raise UserError(f"{header.path}: a model of architecture {_shown(name)}; GGUF files are read of llama (Mistral's "
                    "too), qwen2, qwen3 and smollm3")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sizes:
    """What shapes of tensors follow from."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int


def sizes_of(header: Header, architecture: str) -> Sizes:
    """Return the network's dimensions; UserError where they are missing, absurd or do not fit each other."""
    keys = _Keys(header, architecture)
    hidden, heads = keys.count("embedding_length"), keys.count("attention.head_count", most=1 << 16)
    kv_heads = keys.count("attention.head_count_kv", heads)
    head_dim = keys.count("attention.key_length", max(hidden // heads, 1))
    where = f"{header.path}: "
    if heads % kv_heads:
        raise UserError(f"{where}{heads} query heads are not a multiple of {kv_heads} key heads")
    if head_dim % 2 or ("attention.key_length" not in keys.short and hidden % heads):
        raise UserError(f"{where}{heads} heads do not share a width of {hidden} in even parts")
    if keys.count("attention.value_length", head_dim) != head_dim:
        raise UserError(f"{where}keys and values of different sizes are not supported")
    if keys.count("rope.dimension_count", head_dim) != head_dim:
        raise UserError(
            f"{where}rotating {keys.short['rope.dimension_count']} of {head_dim} dimensions is not supported"
        )
    if architecture in _HEAD_IS_A_SHARE and head_dim * heads != hidden:
        raise UserError(
            f"{where}{heads} heads of {head_dim} in a width of {hidden} are not supported for {architecture}"
        )
    return Sizes(keys.count("block_count", most=1 << 12), hidden, keys.count("feed_forward_length"), heads, kv_heads,
                 head_dim)  # fmt: skip


def config_from(header: Header, architecture: str, sizes: Sizes, factors: list[float] | None) -> dict[str, Any]:
    """Return config.json's content but for what the tensors decide: vocab_size, ties, biases, the type of weights."""
    keys = _Keys(header, architecture)
    keys.refuse_unknown()
    base = keys.number("rope.freq_base", 10000.0)
    context = keys.count("context_length", most=1 << 30)
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[architecture]],
        "model_type": architecture,
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "intermediate_size": sizes.intermediate,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": base,
        # within its window, attention over a window is attention over everything
        "max_position_embeddings": min(context, keys.short.get("attention.sliding_window") or context),
        "hidden_act": "silu",
    }
    scaling = scaling_from(_scaling_keys(keys.short), factors, base, sizes.head_dim, context, str(header.path))
    if scaling:
        config["rope_scaling"] = scaling
    if architecture == "smollm3":  # as llama.cpp has it: every fourth layer does without positions
        config |= {"no_rope_layer_interval": 4,
                   "no_rope_layers": [int((layer + 1) % 4 != 0) for layer in range(sizes.layers)]}  # fmt: skip
    return config


def _scaling_keys(short: Mapping[str, Any]) -> dict[str, Any]:
    scaling = {key.removeprefix(_SCALING): value for key, value in short.items() if key.startswith(_SCALING)}
    if "rope.scale_linear" in short and "factor" not in scaling:
        scaling["factor"] = short["rope.scale_linear"]  # what files said before 2024
    return scaling
