"""Tensors of a GGUF file and of mlx-lm's networks: their names, their shapes, and the order of their rows."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mlx_trace.model.gguf.architecture import PERMUTED, Sizes

EMBEDDING, HEAD, NORM, FREQUENCIES = "token_embd.weight", "output.weight", "output_norm.weight", "rope_freqs.weight"
TOP: Final = {EMBEDDING: "model.embed_tokens.weight", NORM: "model.norm.weight", HEAD: "lm_head.weight"}
LINEAR: Final = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip
NORMS: Final = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
HEAD_NORMS: Final = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}  # qwen3's
ATTENTION: Final = ("attn_q", "attn_k", "attn_v", "attn_output")
FEED_FORWARD: Final = ("ffn_gate", "ffn_up", "ffn_down")
IGNORED: Final = ("attn_rot_embd.weight",)  # frequencies that follow from the metadata


def layer_name(layer: int, part: str) -> str:
    """Return the GGUF name of a layer's tensor: `attn_q.weight` becomes `blk.3.attn_q.weight`."""
    return f"blk.{layer}.{part}"


def network_name(name: str) -> str:
    """Return mlx-lm's name of a GGUF tensor that has one."""
    if name in TOP:
        return TOP[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{(LINEAR | NORMS | HEAD_NORMS)[part]}.{kind}"


def shapes(sizes: Sizes, architecture: str, biased: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the layers' tensors by GGUF name, with shapes; `biased` are the parts that have biases."""
    queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    widths = {
        "attn_q": (queries, sizes.hidden), "attn_k": (keys, sizes.hidden), "attn_v": (keys, sizes.hidden),
        "attn_output": (sizes.hidden, queries), "ffn_gate": (sizes.intermediate, sizes.hidden),
        "ffn_up": (sizes.intermediate, sizes.hidden), "ffn_down": (sizes.hidden, sizes.intermediate),
    }  # fmt: skip
    parts: dict[str, tuple[int, ...]] = {f"{part}.weight": shape for part, shape in widths.items()}
    parts |= {f"{part}.bias": widths[part][:1] for part in biased}
    parts |= {f"{part}.weight": (sizes.hidden,) for part in NORMS}
    if architecture == "qwen3":
        parts |= {f"{part}.weight": (sizes.head_dim,) for part in HEAD_NORMS}
    return {layer_name(layer, part): shape for layer in range(sizes.layers) for part, shape in parts.items()}


def permuted_heads(name: str, architecture: str, sizes: Sizes) -> int:
    """Return how many heads' rows stand in another order in GGUF, or 0: llama's q and k rotate pairs that adjoin."""
    part = name.split(".")[-2]
    if architecture not in PERMUTED or part not in ("attn_q", "attn_k"):
        return 0
    return sizes.heads if part == "attn_q" else sizes.kv_heads


def to_halves(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Reorder GGUF's rows (R, …), pair by pair in each head, to mlx-lm's: first all left ones, then all right ones."""
    return np.ascontiguousarray(_exchange(rows, heads, (-1, 2)))


def to_pairs(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Undo `to_halves`."""
    return np.ascontiguousarray(_exchange(rows, heads, (2, -1)))


def _exchange(rows: NDArray[Any], heads: int, parts: tuple[int, int]) -> NDArray[Any]:
    return rows.reshape(heads, *parts, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
