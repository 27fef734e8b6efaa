"""How positions are scaled: GGUF's metadata and factors to mlx-lm's `rope_scaling`, and back.

A scaling that mlx-lm cannot express exactly is refused by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mlx_trace.errors import UserError

LLAMA3: Final = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
_CONTEXTS: Final = tuple(1 << power for power in range(10, 19))  # a llama3 scaling's original context lengths
_CLOSE: Final = 1e-5  # of a factor: they are computed in float32
# what llama.cpp's YaRN takes when the file says nothing; mlx-lm has no other
_YARN_FIXED: Final = {"attn_factor": 1.0, "yarn_ext_factor": 1.0, "yarn_attn_factor": 1.0, "yarn_log_multiplier": 0.0}


def scaling_from(
    keys: Mapping[str, Any], factors: Sequence[float] | None, base: float, head_dim: int, context: int, where: str
) -> dict[str, Any] | None:
    """Return mlx-lm's rope_scaling for `rope.scaling.*` (short keys) and the factors of `rope_freqs.weight`."""
    kind = keys.get("type", "linear" if keys.get("factor") else "none")
    factor = shortest(keys.get("factor") or 1.0)
    has_factors = factors is not None and any(value != 1 for value in factors)
    if kind not in ("none", "linear", "yarn"):
        raise UserError(f"{where}: rope scaling of type {kind!r} is not supported; none, linear, yarn and llama3 are")
    if has_factors and kind != "none" and factor != 1:
        raise UserError(f"{where}: rope_freqs.weight and {kind} rope scaling together are not supported")
    if has_factors:
        return _llama3_from(np.array(factors, dtype=np.float32), base, head_dim, where)
    if kind == "none" or factor == 1:
        return None
    return {"rope_type": "linear", "factor": factor} if kind == "linear" else _yarn_from(keys, factor, context, where)


def shortest(value: float) -> float:
    """Return a float32 as the float that is written with the fewest digits: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _yarn_from(keys: Mapping[str, Any], factor: float, context: int, where: str) -> dict[str, Any]:
    for key, usual in _YARN_FIXED.items():
        if keys.get(key, usual) != usual:
            raise UserError(f"{where}: rope.scaling.{key} is {keys[key]}; only {usual} is supported")
    return {
        "rope_type": "yarn", "factor": factor,
        "original_max_position_embeddings": keys.get("original_context_length", context),
        "beta_fast": shortest(keys.get("yarn_beta_fast", 32.0)), "beta_slow": shortest(keys.get("yarn_beta_slow", 1.0)),
    }  # fmt: skip


def _llama3_from(factors: NDArray[np.float32], base: float, head_dim: int, where: str) -> dict[str, Any]:
    if len(factors) != head_dim // 2:
        raise UserError(f"{where}: rope_freqs.weight has {len(factors)} factors for {head_dim // 2} frequencies")
    for context in sorted(_CONTEXTS, key=lambda length: abs(length - 8192)):
        scaling = {"rope_type": "llama3", "factor": shortest(float(factors.max())), **LLAMA3,
                   "original_max_position_embeddings": context}  # fmt: skip
        if np.allclose(llama3_factors(scaling, base, head_dim), factors, rtol=_CLOSE, atol=0):
            return scaling
    raise UserError(f"{where}: rope_freqs.weight does not hold the factors of a llama3 rope scaling; no other is known")


def llama3_factors(scaling: Mapping[str, Any], base: float, head_dim: int) -> NDArray[np.float32]:
    """Return what each frequency (head_dim / 2,) is divided by, as Llama 3.1 was trained."""
    waves = 2 * np.pi * base ** (np.arange(0, head_dim, 2) / head_dim)
    factor, context = float(scaling["factor"]), float(scaling["original_max_position_embeddings"])
    low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    smooth = np.clip((context / waves - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
