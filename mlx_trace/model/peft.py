"""PEFT's adapters: what they say of themselves, and their tensors as mlx-lm's adapters have them, and back.

Takes an adapter_config.json's content and tensors by name; knows no base. y = W x + s B A x in both: PEFT has s as
lora_alpha / r (over the root of r: rsLoRA, Kalajdzievski 2023, 2312.03732), and mlx-lm has A and B transposed.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import mlx.core as mx
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mlx_trace.errors import UserError
from mlx_trace.faults import faults_of
from mlx_trace.model.adapter import LoraOfFile

PEFT_WEIGHTS: Final = "adapter_model.safetensors"
PICKLED: Final = "adapter_model.bin"
_PREFIX: Final = "base_model.model."
_TENSOR: Final = re.compile(r"base_model\.model\.(.+)\.(lora_A|lora_B|lora_magnitude_vector)((?:\.default)?\.weight|)")
_MODULE: Final = re.compile(r"model\.layers\.(\d+)\.(.+)")
# What is repeated holds no repetition: a file from elsewhere says it, and it must not take for ever.
_PATTERN: Final = re.compile(r"(?:[\w.|^$-]|\\[.dw]\+?|\.[*+]|\[[\w-]+\]\+?|\((?:\?:)?|\))+")
_LONGEST: Final = 300
_REPEATS: Final = 3  # twelve take for ever already
_OURS: Final = {"lora_A": "lora_a", "lora_B": "lora_b", "lora_magnitude_vector": "m"}
_PLAIN_STARTS: Final = (True, False, "gaussian", "orthogonal", "eva")  # the others change the base's own weights
_HARMLESS: Final = frozenset((  # of which the tensors depend, or which only training or serving regards
    "peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "use_rslora", "init_lora_weights",
    "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "use_dora", "megatron_core", "bias",
    "qalora_group_size", "runtime_config", "ensure_weight_tying", "eva_config",
))  # fmt: skip


class PeftConfig(BaseModel):
    """What of a PEFT adapter_config.json counts; the rest is either harmless or refused by `check_peft`."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    peft_type: str
    base_model_name_or_path: str | None = None
    r: int = Field(ge=1, le=1 << 16)
    lora_alpha: float
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    use_rslora: bool = False
    use_dora: bool = False
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None

    @field_validator("alpha_pattern")
    @classmethod
    def _patterns(cls, pattern: dict[str, float] | None) -> dict[str, float] | None:
        for key in pattern or ():
            if not _is_pattern(key):
                raise ValueError(f"{key!r} is no module's name, nor a plain regular expression of names")
        return pattern

    def scale(self, module: str, rank: int) -> float:
        """Return what a module's B A is multiplied by."""
        alpha = _matched(self.alpha_pattern or {}, module, self.lora_alpha)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)


def _matched(pattern: Mapping[str, float], module: str, default: float) -> float:
    """Return the value of the first key that a module's name ends with, as PEFT chooses it."""
    return next((value for key, value in pattern.items() if re.match(rf"(.*\.)?({key})$", module)), default)


def _is_pattern(key: str) -> bool:
    """Tell whether a key is a regular expression, and one that takes no time: a file from elsewhere has it."""
    try:
        is_quick = len(key) <= _LONGEST and sum(map(key.count, "*+")) <= _REPEATS
        return is_quick and _PATTERN.fullmatch(key) is not None and bool(re.compile(key))
    except re.error:
        return False


def check_peft(content: Any, where: str) -> PeftConfig:
    """Return a PEFT configuration; UserError names all that is no plain LoRA or DoRA of a network's linear layers."""
    if not isinstance(content, dict):
        raise UserError(f"{where}: not an object with an adapter's settings")
    kind = content.get("peft_type")
    if kind is None:
        raise UserError(f"{where}: no PEFT adapter's: it has no peft_type")
    if kind != "LORA":
        raise UserError(f"{where}: peft_type is {kind!r}; LORA, with or without use_dora, can be taken over")
    faults = [f"{where}: {key}: {_shown(content[key])} is not what mlx-lm's adapters can hold"
              for key in content if key not in _HARMLESS and content[key]]  # fmt: skip
    if content.get("bias", "none") != "none":
        faults.append(f"{where}: bias: {_shown(content['bias'])} has biases of its own; only none can be taken over")
    start = content.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        faults.append(f"{where}: init_lora_weights: {_shown(start)} changes the base's weights, too; PEFT's "
                      "path_initial_model_for_weight_conversion saves it as plain LoRA")  # fmt: skip
    if faults:
        raise UserError(*faults)
    try:
        return PeftConfig.model_validate(content)
    except ValidationError as error:
        raise UserError(*faults_of(error, where)) from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def parted(tensors: Mapping[str, mx.array], where: str) -> dict[str, dict[str, mx.array]]:
    """Return PEFT's tensors by module of the network, then by the name that mlx-lm has: lora_a, lora_b, m.

    Shapes: lora_a (in, rank), lora_b (rank, out), m (out). UserError for all that does not belong to a layer's module.
    """
    modules: dict[str, dict[str, mx.array]] = {}
    faults = []
    for name, value in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None or _MODULE.fullmatch(match[1]) is None:
            faults.append(f"{where}: {name}: is no LoRA of a layer's linear module")
        elif value.ndim != (1 if match[2] == "lora_magnitude_vector" else 2):
            faults.append(f"{where}: {name}: has the shape {tuple(value.shape)}")
        else:
            modules.setdefault(match[1], {})[_OURS[match[2]]] = value.T if value.ndim == 2 else value
    for module, own in modules.items():
        if not {"lora_a", "lora_b"} <= own.keys() or own["lora_a"].shape[1] != own["lora_b"].shape[0]:
            faults.append(f"{where}: {module}: its lora_A and lora_B do not belong together")
    if faults or not modules:
        raise UserError(*(faults or [f"{where}: holds no tensors"]))
    return modules


def layer_of(module: str) -> tuple[int, str]:
    """Return the layer's number of a module's name, and its name within the layer."""
    match = _MODULE.fullmatch(module)
    if match is None:
        raise ValueError(f"{module}: not a layer's")
    return int(match[1]), match[2]


# --- ours to PEFT's --------------------------------------------------------------------------------------------


def as_peft(tensors: Mapping[str, mx.array], where: str) -> dict[str, mx.array]:
    """Return an mlx-lm adapter's tensors as PEFT names and turns them; UserError for what PEFT could not place."""
    renamed, faults = {}, []
    theirs = {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight", "m": "lora_magnitude_vector"}
    for name, value in tensors.items():
        module, _, kind = name.rpartition(".")
        if kind not in theirs or not _MODULE.fullmatch(module) or value.ndim != (1 if kind == "m" else 2):
            faults.append(f"{where}: {name}: is no LoRA of a layer's linear module, and PEFT has no place for it")
        else:
            renamed[f"{_PREFIX}{module}.{theirs[kind]}"] = mx.contiguous(value.T) if value.ndim == 2 else value
    if faults:
        raise UserError(*faults)
    parted(renamed, where)
    return renamed


def peft_config(
    lora: LoraOfFile, is_dora: bool, tensors: Mapping[str, mx.array], base_name: str | None
) -> dict[str, Any]:
    """Return the adapter_config.json with which PEFT reads the tensors that `as_peft` returned."""
    alpha = lora.scale * lora.rank
    places = [layer_of(name[len(_PREFIX) :].partition(".lora_")[0]) for name in tensors]
    return {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base_name, "inference_mode": True,
        "r": lora.rank, "lora_alpha": int(alpha) if alpha == int(alpha) else alpha, "lora_dropout": lora.dropout,
        "use_rslora": False, "use_dora": is_dora, "bias": "none", "fan_in_fan_out": False, "modules_to_save": None,
        "target_modules": sorted({name.rpartition(".")[2] for _, name in places}), "layers_pattern": "layers",
        "layers_to_transform": sorted({number for number, _ in places}), "rank_pattern": {}, "alpha_pattern": {},
        "init_lora_weights": True,
    }  # fmt: skip
