"""The pieces of a network that others run by themselves: its layers without the head, and the head where it is needed.

Takes an mlx-lm network. Shapes: B sequences, T tokens, D the width of a state, V the head's outputs.
"""

from typing import Any

import mlx.core as mx


def hidden_states(network: Any, ids: mx.array, caches: Any = None) -> mx.array:
    """Return the last layer's normed states (B, T, D) for ids (B, T)."""
    return network.model(ids, caches)


def head(network: Any, hidden: mx.array) -> mx.array:
    """Return logits (…, V) for states (…, D): the language-model head by itself, to run where it is needed."""
    if network.args.tie_word_embeddings:
        return network.model.embed_tokens.as_linear(hidden)
    return network.lm_head(hidden)


def relative_difference(values: mx.array, expected: mx.array) -> float:
    """Return the largest difference of two arrays of a shape, as a share of the largest size of what is expected."""
    values, expected = values.astype(mx.float32), expected.astype(mx.float32)
    return float((mx.abs(values - expected).max() / mx.maximum(mx.abs(expected).max(), 1e-6)).item())


def is_exact(network: Any) -> bool:
    """Tell whether products are float32's to its last bits: GPUs may take them in TF32 (MLX_ENABLE_TF32)."""
    return bool(network.model.norm.weight.dtype == mx.float32 and mx.default_device().type == mx.cpu)


def head_module(network: Any) -> Any:
    """Return the module whose rows are the head's outputs."""
    return network.model.embed_tokens if network.args.tie_word_embeddings else network.lm_head


def head_size(network: Any) -> int:
    """Return V, the number of the head's outputs."""
    return int(head_module(network).weight.shape[0])


def listed_logits(network: Any, states: mx.array, ids: mx.array) -> mx.array:
    """Return the head's logits (S, A) for states (S, D), of the tokens (S, A) alone."""
    module = head_module(network)
    if "scales" in module:
        biases = module.biases[ids] if module.get("biases") is not None else None
        rows = mx.dequantize(module.weight[ids], module.scales[ids], biases, group_size=module.group_size,
                             bits=module.bits, mode=module.mode)  # fmt: skip
    else:
        rows = module.weight[ids]
    logits = (rows.astype(states.dtype) @ states[:, :, None])[:, :, 0]
    return logits + module.bias[ids] if "bias" in module else logits
