"""Adapters for PEFT and from it: a run's folder becomes one that PEFT loads, and PEFT's one that mlx-lm loads.

What mlx-lm's form cannot say is put in its tensors: other ranks are filled up, other scales are folded into B, and
layers without an adapter get one that does nothing. What else a run says of itself stands in a file beside PEFT's.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
from pydantic import ValidationError

from mlx_trace.config import LINEAR
from mlx_trace.errors import UserError, one_line
from mlx_trace.faults import faults_of
from mlx_trace.files import read_json
from mlx_trace.folders import new_folder
from mlx_trace.model.adapter import (
    ADAPTER_WEIGHTS,
    AdapterConfig,
    FineTuneType,
    adapter_weights,
    attach_layers,
    read_adapter_config,
)
from mlx_trace.model.base import Base
from mlx_trace.model.chat_template import CHAT_TEMPLATE
from mlx_trace.model.hub import is_hub_name
from mlx_trace.model.named import TINY, named
from mlx_trace.model.peft import PEFT_WEIGHTS, PICKLED, PeftConfig, as_peft, check_peft, layer_of, parted, peft_config
from mlx_trace.run_files import ADAPTER_CONFIG

ABOUT: Final = "mlx_trace.json"  # beside PEFT's files: what PEFT would not know of
_ABOUT_KEYS: Final = ("prompt", "loss", "base_digest", "base_shape", "base_rest")

Modules = Mapping[str, Mapping[str, mx.array]]


def export_peft(run: Path, folder: Path, base_name: str | None) -> int:
    """Write a run's adapter to a new folder as PEFT loads it; return how many modules it adapts.

    `base_name` is what PEFT finds the base by. UserError for whole weights, which are no adapter.
    """
    adapter = read_adapter_config(run)
    if adapter.fine_tune_type == "full" or adapter.lora_parameters is None:
        raise UserError(f"{run}: fine_tune_type is full: its weights are no adapter; mlx-trace fuse writes a model")
    tensors = as_peft(_read_tensors(run / ADAPTER_WEIGHTS), str(run / ADAPTER_WEIGHTS))
    content = peft_config(adapter.lora_parameters, adapter.fine_tune_type == "dora", tensors, base_name)
    about = {key: value for key, value in read_json(run / ADAPTER_CONFIG).items() if key in _ABOUT_KEYS}
    with new_folder(folder) as temporary:
        mx.save_safetensors(str(temporary / PEFT_WEIGHTS), tensors, {"format": "pt"})
        _write_json(temporary / ADAPTER_CONFIG, content)
        _write_json(temporary / ABOUT, about)
        if (run / CHAT_TEMPLATE).is_file():
            (temporary / CHAT_TEMPLATE).write_bytes((run / CHAT_TEMPLATE).read_bytes())
    return len({name.partition(".lora_")[0] for name in tensors})


def name_for_peft(model: str | None) -> str | None:
    """Return the name by which transformers finds a base: the hub's for one of ours; None for what only we have."""
    entry = named(model or "")
    return entry.hub if entry else None if model == TINY else model


def read_peft(folder: Path) -> tuple[PeftConfig, Modules]:
    """Return what a PEFT adapter's folder says and its tensors by module; UserError if it cannot be taken over."""
    file = folder / ADAPTER_CONFIG
    if not folder.is_dir() or not file.is_file():
        why = f"it has no {file.name}" if folder.is_dir() else "there is no such folder"
        on_hub = f"; from the hub: hf download {folder} --local-dir DIR" * is_hub_name(str(folder))
        raise UserError(f"{folder}: no PEFT adapter: {why}{on_hub}")
    content = read_json(file)
    if isinstance(content, dict) and "fine_tune_type" in content:
        raise UserError(f"{folder}: is in mlx-lm's format already: --adapter-path {folder}")
    config = check_peft(content, str(file))
    if not (folder / PEFT_WEIGHTS).is_file():
        pickled = f"; {PICKLED} is a pickle, which runs code, and is not read: save it again as safetensors"
        raise UserError(f"{folder}: it has no {PEFT_WEIGHTS}" + pickled * (folder / PICKLED).is_file())
    modules = parted(_read_tensors(folder / PEFT_WEIGHTS), str(folder / PEFT_WEIGHTS))
    if config.use_dora != all("m" in own for own in modules.values()):
        raise UserError(f"{file}: use_dora is {config.use_dora}, and its tensors are otherwise")
    return config, modules


def import_peft(folder: Path, config: PeftConfig, modules: Modules, base: Base, run: Path) -> None:
    """Write a PEFT adapter, as `read_peft` returned it, to a new folder in mlx-lm's format, for a base."""
    misfit = f"{folder}: this adapter does not fit {base.name}"
    lora = _lora_parameters(config, modules)
    lowest, highest = (pick(layer_of(name)[0] for name in modules) for pick in (min, max))
    if highest >= base.num_layers:
        raise UserError(f"{misfit}: it adapts layer {highest}, and there are {base.num_layers}, counted from 0")
    if beyond := sorted(set(lora["keys"]) - set(LINEAR)):
        raise UserError(f"{misfit}: it adapts {', '.join(beyond)}, and adapters here are of {', '.join(LINEAR)}")
    kind: FineTuneType = "dora" if config.use_dora else "lora"
    mx.random.seed(0)  # what is filled up is the same at every import
    try:
        attach_layers(base, kind, base.num_layers - lowest, lora)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{misfit}: {one_line(error)}") from None
    tensors = _filled(dict(adapter_weights(base.network)), modules, config, lora, misfit)
    content = {"model": base.name, "fine_tune_type": kind, "num_layers": base.num_layers - lowest,
               "lora_parameters": lora} | _read_about(folder)  # fmt: skip
    _check_content(content, folder)
    with new_folder(run) as temporary:
        mx.save_safetensors(str(temporary / ADAPTER_WEIGHTS), tensors)
        _write_json(temporary / ADAPTER_CONFIG, content)
        if (folder / CHAT_TEMPLATE).is_file():
            (temporary / CHAT_TEMPLATE).write_bytes((folder / CHAT_TEMPLATE).read_bytes())


def _lora_parameters(config: PeftConfig, modules: Modules) -> dict[str, Any]:
    """Return the rank and the scale that all modules get: the highest rank, and the scale of most."""
    ranks = {name: own["lora_a"].shape[1] for name, own in modules.items()}
    scales = Counter(config.scale(name, rank) for name, rank in ranks.items())
    keys = sorted({layer_of(name)[1] for name in modules})
    scale = next((scale for scale, _ in scales.most_common() if scale), 1.0)
    return {"rank": max(ranks.values()), "scale": scale, "dropout": config.lora_dropout, "keys": keys}


def _filled(
    own: Mapping[str, mx.array], modules: Modules, config: PeftConfig, lora: Mapping[str, Any], misfit: str
) -> dict[str, mx.array]:  # fmt: skip
    """Return the tensors of all that is adapted: PEFT's where it has some, and where not such as change nothing."""
    kind = next(iter(modules.values()))["lora_a"].dtype
    filled = {name: value.astype(kind) for name, value in own.items()}
    faults = []
    for module, theirs in modules.items():
        rank = theirs["lora_a"].shape[1]
        factor = config.scale(module, rank) / lora["scale"]
        for part, value in theirs.items():
            name = f"{module}.{part}"
            fault = _fault(name, value, own, rank)
            if fault:
                faults.append(fault)
            elif part == "lora_a":
                filled[name] = mx.concatenate([value, filled[name][:, rank:].astype(value.dtype)], axis=1)
            elif part == "lora_b":
                scaled = value if factor == 1 else value.astype(mx.float32) * factor
                filled[name] = mx.pad(scaled, ((0, lora["rank"] - rank), (0, 0)))
            else:
                filled[name] = value
    if faults:
        raise UserError(misfit + ":", *faults)
    return filled


def _fault(name: str, value: mx.array, own: Mapping[str, mx.array], rank: int) -> str:
    """Return what is wrong with a tensor of a module whose rank may be below the others'; nothing if it fits."""
    if name not in own:
        return f"{name}: not in the network as it is adapted"
    first, last = own[name].shape[0], own[name].shape[-1]
    expected = {"lora_a": (first, rank), "lora_b": (rank, last), "m": (first,)}[name.rpartition(".")[2]]
    if tuple(value.shape) != expected:
        return f"{name}: {tuple(value.shape)} in the file, {expected} in the network"
    return "" if mx.isfinite(value).all().item() else f"{name}: has values that are no finite numbers"


def _read_about(folder: Path) -> dict[str, Any]:
    """Return what `export_peft` put beside PEFT's files, as far as it is what adapters say."""
    content = read_json(folder / ABOUT) if (folder / ABOUT).is_file() else {}
    return {key: content[key] for key in _ABOUT_KEYS if key in content} if isinstance(content, dict) else {}


def _check_content(content: dict[str, Any], folder: Path) -> None:
    try:
        AdapterConfig.model_validate(content)
    except ValidationError as error:
        raise UserError(*faults_of(error, str(folder / ABOUT))) from None


def _read_tensors(file: Path) -> dict[str, mx.array]:
    try:
        tensors = mx.load(str(file), format="safetensors")
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{file}: {one_line(error)}") from None
    if wrong := [name for name, value in tensors.items() if not mx.issubdtype(value.dtype, mx.floating)]:
        raise UserError(*(f"{file}: {name}: whole numbers, where weights are fractions" for name in wrong))
    return dict(tensors)


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
