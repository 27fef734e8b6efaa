"""Which floating type a model is computed in: what the device does fast, the model's own type where it can.

Takes names of types, returns names of types. Imports no MLX; `weights` does the casting, `shape` plans for it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mlx_trace.config import Dtype
from mlx_trace.errors import UserError
from mlx_trace.files import read_json

BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
_HALF: Final = "bfloat16"  # what a model has whose configuration does not say
_PROVENANCE: Final = "gguf.json"  # beside what was converted from a GGUF file


def stored_type(content: Mapping[str, Any]) -> str:
    """Return the type that a model's config.json says its weights have."""
    name = str(content.get("dtype") or content.get("torch_dtype")).removeprefix("torch.")
    return name if name in BYTES else _HALF


def provenance(folder: Path) -> dict[str, Any]:
    """Return what is said of the GGUF file that a directory was converted from; nothing if it was not."""
    try:
        content = read_json(folder / _PROVENANCE) if (folder / _PROVENANCE).is_file() else {}
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


def is_dequantised(folder: Path) -> bool:
    """Tell whether a model's weights were a quantised file's, made wider to lose nothing."""
    kinds = provenance(folder).get("tensors")
    return isinstance(kinds, dict) and not set(kinds) <= {"F32", "F16", "BF16"}


def computed_type(stored: str, asked: Dtype, on_cpu: bool, dequantised: bool = False) -> str:
    """Return the type that a model is computed in: as asked, float32 on a CPU, its own on a GPU.

    Dequantised weights are float32 and far coarser than bfloat16, in whose range, unlike float16's, models are trained.
    """
    if asked != "auto":
        return asked
    if on_cpu:
        return "float32"
    return _HALF if dequantised and stored == "float32" else stored


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
    return f"weights of a quantised file computed in {computed}, which is finer than they were; dtype: float32 is exact"
