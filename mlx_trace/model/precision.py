"""Which floating type a model is computed in: what the device does fast, the model's own type where it can.

Takes names of types, returns names of types. Imports no MLX; `base` does the casting, `shape` plans for it.
"""

from collections.abc import Mapping
from typing import Any, Final

from mlx_trace.config import Dtype

BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
HALF: Final = "bfloat16"  # what a model has that does not say
DEQUANTISED: Final = "dequantised_from"  # a key of config.json: these float32 weights were a quantised file's


def stored_type(content: Mapping[str, Any]) -> str:
    """Return the type that a model's config.json says its weights have."""
    found = str(content.get("dtype") or content.get("torch_dtype")).removeprefix("torch.")
    return found if found in BYTES else HALF


def own_type(content: Mapping[str, Any], stored: str) -> str:
    """Return the type that a model is best held in, if the device does not care.

    What a quantised file held in 4 to 8 bits was made float32 to lose nothing; it is far coarser than bfloat16, whose
    range, unlike float16's, is that in which such models were trained.
    """
    return HALF if stored == "float32" and content.get(DEQUANTISED) else stored


def computed_type(content: Mapping[str, Any], stored: str, asked: Dtype, on_cpu: bool) -> str:
    """Return the type that a model is computed in: as asked, float32 on a CPU, its own on a GPU."""
    if asked != "auto":
        return asked
    return "float32" if on_cpu else own_type(content, stored)


def written_type(stored: str, computed: str) -> str:
    """Return the type that weights are written in again: their own, unless they were computed in a coarser one."""
    return computed if stored == "float32" else stored


def reason(stored: str, computed: str, asked: Dtype, on_cpu: bool) -> str | None:
    """Return the line that says why weights are computed in another type than theirs; None if they are not."""
    if on_cpu and computed != "float32":
        return f"computing in {computed}, as asked: a CPU is some 40 times slower in half precision than in float32"
    if stored == computed:
        return None
    if asked != "auto":
        return f"{stored} weights computed in {computed}, as asked"
    if on_cpu:
        return f"{stored} weights computed in float32: a CPU is some 40 times slower in half precision"
    return f"a quantised file's weights computed in {computed}, which is finer than they are (dtype: float32 for more)"
