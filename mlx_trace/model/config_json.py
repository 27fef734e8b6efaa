"""A model's config.json, read and checked before anything is built from its figures.

Takes a directory; returns the object, its RoPE where mlx-lm looks for it. Knows what Llama-shaped networks need; of
other architectures, which run only where their code is trusted, it checks no figures.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mlx_trace.errors import UserError
from mlx_trace.faults import faults_of
from mlx_trace.files import read_json
from mlx_trace.setting import setting

CONFIG_JSON: Final = "config.json"
_GENERATION: Final = "generation_config.json"
ARCHITECTURES: Final = ("llama", "mistral", "qwen2", "qwen3", "smollm3")  # those whose layers are Llama's shape
_FIGURES: Final = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")

_Width = Annotated[int, Field(ge=1, le=1 << 20)]  # far beyond any model there is; what is above is a slip, or meant ill
_Count = Annotated[int, Field(ge=1, le=1 << 24)]


class _Quantization(BaseModel):
    model_config = ConfigDict(strict=True)

    bits: int = Field(ge=1, le=8)
    group_size: _Width


class _Figures(BaseModel):
    """What of a config.json a Llama-shaped network is built from."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    num_hidden_layers: int = Field(ge=1, le=1000)
    hidden_size: _Width
    intermediate_size: _Width
    num_attention_heads: _Width
    num_key_value_heads: _Width | None = None
    head_dim: _Width | None = None
    vocab_size: _Count
    rms_norm_eps: float = Field(1e-6, ge=0)
    rope_theta: float = Field(10_000.0, gt=0)
    rope_scaling: dict[str, Any] | None = None
    max_position_embeddings: int | None = Field(None, ge=1)
    sliding_window: int | None = Field(None, ge=1)
    tie_word_embeddings: bool = True
    attention_bias: bool = False
    mlp_bias: bool = False
    eos_token_id: int | list[int] | None = None
    quantization: _Quantization | None = None

    @model_validator(mode="after")
    def _heads(self) -> "_Figures":
        heads = self.num_attention_heads
        if heads % (self.num_key_value_heads or heads):
            raise ValueError(f"{heads} query heads cannot share {self.num_key_value_heads} key and value heads evenly")
        if self.head_dim is None and self.hidden_size % heads:
            raise ValueError(f"a width of {self.hidden_size} cannot be split into {heads} heads evenly")
        if (self.head_dim or self.hidden_size // heads) % 2:
            raise ValueError("the width of a head must be even, for RoPE turns pairs")
        return self


def read_config_json(path: Path, trust_remote_code: bool = False) -> dict[str, Any]:
    """Return a model's config.json; UserError if it is none, or no network can be what it says."""
    file = path / CONFIG_JSON
    if not file.is_file():
        raise UserError(f"{path}: not a model directory: it has no {CONFIG_JSON}")
    content = read_json(file)
    if not isinstance(content, dict):
        raise UserError(f"{file}: not an object with a model's figures")
    architecture = content.get("model_type")
    if architecture in ARCHITECTURES:
        content = _with_rope({**content, **_ends(path)})
        check_figures(content, str(file))
    elif not trust_remote_code:
        known = ", ".join(ARCHITECTURES)
        raise UserError(f"{path}: a model of type {architecture!r}; mlx-trace trains Llama-shaped ones: {known}")
    if "model_file" in content and not trust_remote_code:
        raise UserError(f"{path}: {content['model_file']!r}, which comes with the model, is code that would be run to "
                        f"build it; {setting('trust_remote_code', True)} allows that")  # fmt: skip
    return {**content, **_ends(path)}


def _ends(path: Path) -> dict[str, Any]:
    """Return the ends of sequence that generation_config.json names, if it does: they count more, as in mlx-lm."""
    file = path / _GENERATION
    content = read_json(file) if file.is_file() else {}
    ends = content.get("eos_token_id") if isinstance(content, dict) else None
    return {"eos_token_id": ends} if ends else {}


def check_figures(content: Mapping[str, Any], where: str) -> None:
    """Refuse figures that no Llama-shaped network can have."""
    if lacking := [key for key in _FIGURES if content.get(key) is None]:
        raise UserError(f"{where}: it has no {', '.join(lacking)}")
    try:
        _Figures.model_validate({key: value for key, value in content.items() if value is not None})
    except ValidationError as error:
        raise UserError(*faults_of(error, where)) from None


def _with_rope(content: dict[str, Any]) -> dict[str, Any]:
    """Return a config.json with its RoPE where mlx-lm looks for it; transformers writes `rope_parameters` since 5."""
    rope = content.get("rope_parameters")
    if not isinstance(rope, dict) or not isinstance(rope.get("rope_theta"), int | float):
        return content
    is_plain = rope.get("rope_type", "default") == "default"
    keys = {"rope_theta": rope["rope_theta"]} | ({} if is_plain else {"rope_scaling": rope})
    return keys | content


def is_known(content: Mapping[str, Any]) -> bool:
    """Tell whether a model is built by mlx-lm as one of the architectures that are known here."""
    return content.get("model_type") in ARCHITECTURES and "model_file" not in content


def positions_of(content: Mapping[str, Any]) -> int | None:
    """Return how many positions a model was made for, as far as its config.json says; scaled RoPE reaches further."""
    positions = content.get("max_position_embeddings")
    if not isinstance(positions, int) or isinstance(positions, bool):
        return None
    scaling = content.get("rope_scaling")
    factor = scaling.get("factor", 1) if isinstance(scaling, Mapping) else 1
    return int(positions * factor) if isinstance(factor, int | float) and 1 < factor < 1e6 else positions
