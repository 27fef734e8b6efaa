"""A model directory, as mlx-lm saves it, as one GGUF file that llama.cpp loads: weights, tokenizer, chat template.

The inverse of `convert`. What GGUF, or llama.cpp, cannot say exactly is refused by name before anything is written.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model
from numpy.typing import NDArray

from mlx_trace.errors import UserError
from mlx_trace.files import read_json, sync, unreadable
from mlx_trace.folders import plainly_named
from mlx_trace.model.gguf import names
from mlx_trace.model.gguf.architecture import ARCHITECTURES, Sizes
from mlx_trace.model.gguf.describe import describe_tokenizer
from mlx_trace.model.gguf.rope import LLAMA3, llama3_factors

KINDS: Final = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8_0": "Q8_0"}
_FILE_TYPES: Final = {"F32": 0, "F16": 1, "Q8_0": 7, "BF16": 32}  # llama.cpp's numbers
_LARGEST_HALF: Final = 65504.0
_YARN: Final = {"beta_fast": 32, "beta_slow": 1}
_SPARE: Final = 64 << 20

Values = Callable[[], NDArray[np.float32]]


def write_gguf(directory: Path, file: Path, kind: str) -> None:
    """Write a model directory as a GGUF file whose matrices are of a kind: f32, f16, bf16 or q8_0.

    UserError says what of the model llama.cpp would compute or tokenise differently, or what is wrong with the paths.
    """
    if kind not in KINDS:
        raise UserError(f"GGUF files are written as {', '.join(KINDS)}, not {kind!r}")
    if file.is_dir():
        raise UserError(f"{file}: is a directory")
    architecture, network, tokenizer = _read(directory)
    sizes = _sizes(network.args)
    vectors = _vectors(network, sizes, architecture)
    keys = _keys(network.args, sizes, _rows(network)) | _scaling_keys(network.args)
    general = {"general.type": "model", "general.name": _name(directory), "general.file_type": _FILE_TYPES[KINDS[kind]],
               "general.quantization_version": 2}  # fmt: skip
    metadata = general | {f"{architecture}.{key}": value for key, value in keys.items()} | tokenizer
    _write(file, architecture, metadata, vectors, KINDS[kind])


def check_gguf(directory: Path) -> None:
    """Refuse a model directory, whole or with quantised weights, of which `write_gguf` could make no file."""
    _read(directory)


# --- what is written -------------------------------------------------------------------------------------------


def _read(directory: Path) -> tuple[str, Any, dict[str, Any]]:
    """Return the architecture, the network and GGUF's keys of the tokenizer; UserError if a file cannot say them."""
    architecture = _architecture(directory)
    network, config = _load(directory)
    _check(directory, network.args, config, architecture)
    return architecture, network, describe_tokenizer(directory, _rows(network), _ends(config))


def _rows(network: Any) -> int:
    return int(network.model.embed_tokens.weight.shape[0])


def _load(directory: Path) -> tuple[Any, dict[str, Any]]:
    try:
        with plainly_named(directory) as plain:  # what is lazy keeps its files open
            return load_model(plain, lazy=True)  # type: ignore[no-any-return]
    except (ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{directory}: the model cannot be loaded: {reason}") from error


def _name(directory: Path) -> str:
    return directory.resolve().name


def _architecture(directory: Path) -> str:
    if not (directory / "config.json").is_file():
        raise UserError(f"{directory}: not a model directory: it has no config.json")
    content = read_json(directory / "config.json")
    name = content.get("model_type") if isinstance(content, dict) else None
    name = "llama" if name == "mistral" else name
    if name not in ARCHITECTURES:
        raise UserError(f"{directory}: a model of type {name!r}; GGUF files are written of mistral, "
                        f"{', '.join(ARCHITECTURES)}")  # fmt: skip
    return str(name)


def _ends(config: Mapping[str, Any]) -> list[int]:
    ends = config.get("eos_token_id")
    return list(ends) if isinstance(ends, list) else [ends] if isinstance(ends, int) else []


def _check(directory: Path, args: Any, config: Mapping[str, Any], architecture: str) -> None:
    """Refuse what llama.cpp computes otherwise for this architecture."""
    faults = []
    if config.get("hidden_act", "silu") != "silu":
        faults.append(f"hidden_act is {config['hidden_act']!r}, and llama.cpp computes silu")
    if getattr(args, "rope_traditional", False):
        faults.append("rope_traditional is true")
    if any(kind != "full_attention" for kind in getattr(args, "layer_types", None) or []):
        faults.append("layer_types has windows")
    if architecture == "smollm3" and args.no_rope_layers != [
        int((i + 1) % 4 != 0) for i in range(args.num_hidden_layers)
    ]:
        faults.append("no_rope_layers is not every fourth layer")
    if config.get("partial_rotary_factor", 1) != 1:
        faults.append(f"partial_rotary_factor is {config['partial_rotary_factor']}")
    scaling = _scaling(args)
    if scaling["rope_type"] not in ("default", "linear", "yarn", "llama3"):
        faults.append(f"rope_scaling is of type {scaling['rope_type']!r}")
    if scaling["rope_type"] == "yarn" and (scaling.get("mscale", 1), scaling.get("mscale_all_dim", 0)) != (1, 0):
        faults.append("rope_scaling has an mscale of its own")
    if faults:
        raise UserError(*(f"{directory}: cannot be written as GGUF: {fault}" for fault in faults))


def _scaling(args: Any) -> dict[str, Any]:
    scaling = dict(getattr(args, "rope_scaling", None) or {})
    return scaling | {"rope_type": scaling.get("type") or scaling.get("rope_type", "default")}


def _sizes(args: Any) -> Sizes:
    heads = args.num_attention_heads
    head_dim = getattr(args, "head_dim", None) or args.hidden_size // heads
    return Sizes(args.num_hidden_layers, args.hidden_size, args.intermediate_size, heads, args.num_key_value_heads,
                 head_dim)  # fmt: skip


def _keys(args: Any, sizes: Sizes, rows: int) -> dict[str, Any]:
    return {
        "vocab_size": rows,
        "context_length": args.max_position_embeddings or 2048,
        "embedding_length": sizes.hidden,
        "block_count": sizes.layers,
        "feed_forward_length": sizes.intermediate,
        "attention.head_count": sizes.heads,
        "attention.head_count_kv": sizes.kv_heads,
        "attention.key_length": sizes.head_dim,
        "attention.value_length": sizes.head_dim,
        "attention.layer_norm_rms_epsilon": float(args.rms_norm_eps),
        "rope.freq_base": float(args.rope_theta),
        "rope.dimension_count": sizes.head_dim,
    }


def _scaling_keys(args: Any) -> dict[str, Any]:
    scaling = _scaling(args)
    if scaling["rope_type"] not in ("linear", "yarn"):
        return {}  # llama3's are a tensor
    keys = {"type": scaling["rope_type"], "factor": float(scaling["factor"])}
    if scaling["rope_type"] == "yarn":
        keys["original_context_length"] = scaling.get("original_max_position_embeddings", 4096)
        keys |= {f"yarn_{key}": float(scaling.get(key, usual)) for key, usual in _YARN.items()}
    return {f"rope.scaling.{key}": value for key, value in keys.items()}


def _vectors(network: Any, sizes: Sizes, architecture: str) -> dict[str, tuple[tuple[int, ...], Values]]:
    """Return shape and values, read when they are asked for, of every tensor by its GGUF name."""
    modules = dict(network.named_modules())
    parameters = dict(tree_flatten(network.parameters()))
    biased = [part for part in names.LINEAR if f"model.layers.0.{names.LINEAR[part]}.bias" in parameters]
    wanted = names.shapes(sizes, architecture, biased)
    rows = _rows(network)
    top = {names.EMBEDDING: (rows, sizes.hidden), names.NORM: (sizes.hidden,)}
    if not network.args.tie_word_embeddings:
        top[names.HEAD] = (rows, sizes.hidden)
    vectors: dict[str, tuple[tuple[int, ...], Values]] = {}
    if (scaling := _scaling(network.args))["rope_type"] == "llama3":
        usual = {**LLAMA3, "original_max_position_embeddings": 8192} | scaling
        factors = llama3_factors(usual, float(network.args.rope_theta), sizes.head_dim)
        vectors[names.FREQUENCIES] = factors.shape, lambda: factors
    for name, shape in (top | wanted).items():
        own = names.network_name(name)
        heads = names.permuted_heads(name, architecture, sizes)
        vectors[name] = shape, _reader(own, modules, parameters, heads)
    return vectors


def _reader(name: str, modules: Mapping[str, Any], parameters: Mapping[str, Any], heads: int) -> Values:
    def read() -> NDArray[np.float32]:
        module = modules[name.rpartition(".")[0]]
        if name.endswith(".weight") and "scales" in module:
            biases = module.biases.astype(mx.float32) if module.get("biases") is not None else None
            scales = module.scales if module.scales.dtype == mx.uint8 else module.scales.astype(mx.float32)
            values = mx.dequantize(module.weight, scales, biases, module.group_size, module.bits, module.mode)
        else:
            values = parameters[name]
        array = np.array(values.astype(mx.float32))
        return names.to_pairs(array, heads) if heads else array

    return read


# --- writing ---------------------------------------------------------------------------------------------------


def _write(file: Path, architecture: str, metadata: Mapping[str, Any], vectors: Mapping[str, Any], kind: str) -> None:
    """Write the file beside its place, and rename it when it is whole and on the disk."""
    temporary = file.parent / f".{file.name}.{os.getpid()}.part"
    stored = {name: _stored_kind(shape, kind) for name, (shape, _) in vectors.items()}
    needed = sum(_num_bytes(shape, stored[name]) for name, (shape, _) in vectors.items()) + _SPARE
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(file.parent).free
        if needed > free:
            raise UserError(f"{file}: it takes {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} are free")
        _write_to(temporary, architecture, metadata, vectors, stored)
        temporary.replace(file)
    except OSError as error:
        raise unreadable(file, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _stored_kind(shape: tuple[int, ...], kind: str) -> str:
    """Return the type that a tensor gets: vectors stay F32, and rows that are no whole blocks of Q8_0 become F16."""
    if len(shape) == 1:
        return "F32"
    return "F16" if kind == "Q8_0" and shape[-1] % 32 else kind


def _num_bytes(shape: tuple[int, ...], kind: str) -> int:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return int(np.prod(shape, dtype=np.int64)) // block * size


def _write_to(path: Path, architecture: str, metadata: Mapping[str, Any], vectors: Mapping[str, Any],
              stored: Mapping[str, str]) -> None:  # fmt: skip
    from gguf import GGUFWriter
    from gguf.constants import GGMLQuantizationType

    writer = GGUFWriter(None, architecture)
    for key, value in metadata.items():
        _add(writer, key, value)
    for name, (shape, _) in vectors.items():
        kind = stored[name]
        writer.add_tensor_info(name, shape, np.dtype(np.float32), _num_bytes(shape, kind), GGMLQuantizationType[kind])
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for content in _contents(vectors, stored):
            writer.write_tensor_data(content)
        writer.flush()
    finally:
        writer.close()
    sync(path)


def _contents(vectors: Mapping[str, Any], stored: Mapping[str, str]) -> Iterator[NDArray[Any]]:
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import quantize

    for name, (_, read) in vectors.items():
        values = read()
        if not np.isfinite(values).all():
            raise UserError(f"{name} holds numbers that are not finite")
        if stored[name] == "F16" and np.abs(values).max() > _LARGEST_HALF:
            raise UserError(f"{name} holds numbers that f16 cannot: write bf16 or f32")
        yield quantize(values.reshape(-1, values.shape[-1]), GGMLQuantizationType[stored[name]])


def _add(writer: Any, key: str, value: Any) -> None:
    """Add a key with the type that llama.cpp asks for: 32 bits for numbers."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
