"""One Llama-shaped layer: what it computes before attention, and after it. Training and decoding both run this one.

Takes a layer of an mlx-lm network. Knows nothing of how tokens are packed, of caches, or of which keys are seen.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.activations import swiglu as stock_swiglu
from mlx_lm.tuner.dora import DoRALinear
from mlx_lm.tuner.lora import LoRALinear

from mlx_trace.model.elementwise import attention, swiglu

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")
_NORMS = {"q_proj": "q_norm", "k_proj": "k_norm"}  # qwen3's


class Layer:
    """A layer as Llama has it (Touvron et al. 2023): RMSNorm (Zhang & Sennrich 2019), RoPE, SwiGLU (Shazeer 2020).

    `merged` merges adapters into fp32 weights; `has_gradient` says that its passes are differentiated; `window` is how
    many positions back it sees, None for all.
    """

    def __init__(self, layer: Any, network: Any, merged: bool = False, has_gradient: bool = False) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.layer, self.attention, self.has_gradient = layer, attention, has_gradient
        self.num_heads, self.num_kv_heads = attention.n_heads, attention.n_kv_heads
        own = _merged if merged else lambda module: module
        self.linear = {name: own(attention[name]) for name in _ATTENTION} | {name: own(mlp[name]) for name in _MLP}
        self.window: int | None = network.model.sliding_window if getattr(layer, "use_sliding", False) else None

    def normed(self, states: mx.array) -> mx.array:
        """Return states (…, D) as attention takes them."""
        return self.layer.input_layernorm(states)

    def queries(self, normed: mx.array) -> mx.array:
        """Return the queries (…, H, d) of normed states (…, D), not yet rotated."""
        return self._heads("q_proj", normed, self.num_heads)

    def keys(self, normed: mx.array) -> mx.array:
        """Return the keys (…, K, d) of normed states (…, D), not yet rotated."""
        return self._heads("k_proj", normed, self.num_kv_heads)

    def values(self, normed: mx.array) -> mx.array:
        """Return the values (…, K, d) of normed states (…, D)."""
        return self._heads("v_proj", normed, self.num_kv_heads)

    def rotated(self, heads: mx.array, offset: mx.array) -> mx.array:
        """Return queries or keys (B, H, T, d) rotated by their positions, which begin at each row's offset (B,).

        RoPE (Su et al. 2021, 2104.09864), scaled as the model's config.json says.
        """
        return self.attention.rope(heads, offset=offset)

    def attend(self, queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array) -> mx.array:
        """Return what queries (B, H, T, d) see of keys and values (B, K, S, d) where a mask (B, 1, T, S) lets them."""
        if self.has_gradient:
            return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=self.attention.scale, mask=mask)
        return attention(queries, keys, values, self.attention.scale, mask)

    def after(self, states: mx.array, seen: mx.array) -> mx.array:
        """Return the states (…, D) after this layer, from those before it and what attention saw (…, H·d)."""
        states = states + self.linear["o_proj"](seen)
        normed = self.layer.post_attention_layernorm(states)
        gate, up = self.linear["gate_proj"](normed), self.linear["up_proj"](normed)
        return states + self.linear["down_proj"](stock_swiglu(gate, up) if self.has_gradient else swiglu(gate, up))

    def _heads(self, name: str, normed: mx.array, num_heads: int) -> mx.array:
        heads = self.linear[name](normed).reshape(*normed.shape[:-1], num_heads, -1)
        norm = _NORMS.get(name, "")
        return self.attention[norm](heads) if norm in self.attention else heads


def _merged(module: Any) -> Any:
    """Return an adapted fp32 layer as one linear layer; others as they are, since rounding would change them."""
    is_adapted = isinstance(module, LoRALinear | DoRALinear) and type(module.linear) is nn.Linear
    return module.fuse() if is_adapted and module.linear.weight.dtype == mx.float32 else module
