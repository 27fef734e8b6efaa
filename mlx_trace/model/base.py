"""Load a model through mlx-lm, put LoRA on its top layers, and read and write adapters in mlx-lm's format.

Takes a model's name, a directory, a GGUF file or a hub name, and the type to compute in. Reads no weights but
safetensors, and runs no code of a model unless asked to.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import mlx.core as mx
import mlx.nn as nn
from huggingface_hub.errors import StrictDataclassError
from mlx.utils import tree_flatten
from mlx_lm.tokenizer_utils import TokenizerWrapper
from mlx_lm.tokenizer_utils import load as load_tokenizer
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from mlx_lm.utils import load_model

from mlx_trace.blas import suit_threads
from mlx_trace.config import Config, Dtype
from mlx_trace.errors import UserError
from mlx_trace.files import read_json
from mlx_trace.model.gguf.convert import model_directory
from mlx_trace.model.hub import download, is_hub_name, one_line
from mlx_trace.model.named import TINY, canonical, locate_named, named, nearest, other_roads, same_model
from mlx_trace.model.precision import is_dequantised
from mlx_trace.model.shape import ARCHITECTURES
from mlx_trace.model.weights import digest, settle_types, type_name
from mlx_trace.notice import tell
from mlx_trace.resources import tiny_dir

ADAPTER_WEIGHTS: Final = "adapters.safetensors"
ADAPTER_CONFIG: Final = "adapter_config.json"


@dataclass(frozen=True)
class Base:
    """A loaded model: the network, its tokenizer (mlx-lm's wrapper), its config.json, and where it came from.

    `written` has the type in which each weight goes to a file again, whatever it is computed in.
    """

    name: str
    path: Path
    network: Any
    tokenizer: Any
    config: dict[str, Any]
    written: Mapping[str, mx.Dtype] = field(default_factory=dict)

    @property
    def computed(self) -> Dtype:
        """Return the name of the type that the network is computed in."""
        return cast(Dtype, type_name(self.network.model.norm.weight.dtype))

    @property
    def written_type(self) -> str:
        """Return the name of the type that weights are written in, or their scales where they are quantised."""
        return type_name(self.written["model.norm.weight"])

    @property
    def num_layers(self) -> int:
        """Return how many transformer blocks the network has."""
        return len(self.network.layers)


def load_base(
    name: str, trust_remote_code: bool = False, dtype: Dtype = "auto", say: Callable[[str], None] = tell
) -> Base:
    """Load a model by name, to compute in a type; UserError if it is none, or cannot be used, says what to do."""
    path = locate_model(name)
    _check_directory(path, trust_remote_code)
    try:
        network, config = load_model(path, lazy=True, trust_remote_code=trust_remote_code)
        written = settle_types(network, is_dequantised(path), dtype, say)
        tokenizer = read_tokenizer(path, config)
    except (ValueError, KeyError, TypeError, RuntimeError, OSError, StrictDataclassError) as error:
        raise UserError(f"{path}: the model cannot be loaded: {one_line(error)}") from error
    suit_threads(int(config.get("hidden_size", 4096)))
    return Base(canonical(name), path, network, tokenizer, config, written)


def read_tokenizer(path: Path, config: dict[str, Any]) -> Any:
    """Load a tokenizer as its tokenizer.json says; the class that is looked up by name changes Llama 2's spaces."""
    eos = config.get("eos_token_id")
    eos_ids = set(eos) if isinstance(eos, list) else {eos} if isinstance(eos, int) else None
    wrapped = load_tokenizer(path, eos_token_ids=eos_ids)
    if not (path / "tokenizer.json").exists():
        return wrapped
    from transformers import PreTrainedTokenizerFast

    exact = PreTrainedTokenizerFast.from_pretrained(path, clean_up_tokenization_spaces=False)
    return TokenizerWrapper(exact, eos_token_ids=set(wrapped.eos_token_ids))


def read_outline(name: str, trust_remote_code: bool = False) -> tuple[dict[str, Any], Any]:
    """Return a model's config.json and its tokenizer: what data is checked with before the weights are read."""
    path = locate_model(name)
    _check_directory(path, trust_remote_code)
    config = dict(read_json(path / "config.json"))
    try:
        return config, read_tokenizer(path, config)
    except (ValueError, KeyError, TypeError, RuntimeError, OSError, StrictDataclassError) as error:
        raise UserError(f"{path}: the model cannot be loaded: {one_line(error)}") from error


def locate_model(name: str) -> Path:
    """Return the directory of a model: a name's, a folder, a GGUF file's (converted once), or a hub name's."""
    if canonical(name) == TINY:
        return tiny_dir()
    if entry := named(name):
        return locate_named(entry)
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if name and (path.exists() or path.suffix.lower() == ".gguf"):
        return model_directory(path)
    if not is_hub_name(name):
        if name.startswith((".", "/", "~")):
            raise UserError(f"{name}: there is no such directory or file")
        raise UserError(f"there is no model {name!r}: it is no directory and no GGUF file here, and no hub name "
                        f"(owner/model); {nearest(name)}")  # fmt: skip
    try:
        return download(name)
    except UserError as error:
        raise UserError(*error.faults, *other_roads(name)) from None


def _check_directory(path: Path, trust_remote_code: bool) -> None:
    if not (path / "config.json").is_file():
        raise UserError(f"{path}: not a model directory: it has no config.json")
    config = read_json(path / "config.json")
    architecture = config.get("model_type") if isinstance(config, dict) else None
    if architecture not in ARCHITECTURES and not trust_remote_code:
        raise UserError(
            f"{path}: a model of type {architecture!r}; mlx-trace trains Llama-shaped ones: {', '.join(ARCHITECTURES)}"
        )
    if not any(path.glob("model*.safetensors")):
        raise UserError(f"{path}: no model*.safetensors; other weight formats are not read")


def hidden_states(network: Any, ids: mx.array, caches: Any = None) -> mx.array:
    """Return the last layer's normed states (B, T, D) for ids (B, T)."""
    return network.model(ids, caches)


def head(network: Any, hidden: mx.array) -> mx.array:
    """Return logits (…, V) for states (…, D): the language-model head by itself, to run where it is needed."""
    if network.args.tie_word_embeddings:
        return network.model.embed_tokens.as_linear(hidden)
    return network.lm_head(hidden)


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


# --- adapters --------------------------------------------------------------------------------------------------


def attach_adapter(base: Base, config: Config) -> None:
    """Freeze the network and make its top layers trainable, as `fine_tune_type` says; new LoRA leaves it unchanged."""
    layers = config.num_layers
    if layers > base.num_layers:
        raise UserError(f"num_layers is {layers}, and {base.name} has {base.num_layers} layers")
    mx.random.seed(config.seed)
    base.network.freeze()
    if config.fine_tune_type == "full":
        for layer in base.network.layers[-max(layers, 0) :]:
            layer.unfreeze()
        return
    try:
        linear_to_lora_layers(base.network, layers, _lora(config), use_dora=config.fine_tune_type == "dora")
    except ValueError as error:
        raise UserError(f"lora_parameters: {one_line(error)}") from None
    if not any(True for _ in adapter_weights(base.network)):
        raise UserError(f"lora_parameters.keys: {config.lora_parameters.keys} name no layers of {base.name}")


def start_from(base: Base, file: Path) -> None:
    """Give a new adapter the weights of another one: an adapters.safetensors, or the directory of a run."""
    file = file / ADAPTER_WEIGHTS if file.is_dir() else file
    if not file.is_file():
        raise UserError(f"resume_adapter_file: {file}: no such file")
    try:
        weights = dict(mx.load(str(file)))
    except (RuntimeError, ValueError) as error:
        raise UserError(f"resume_adapter_file: {file}: {one_line(error)}") from None
    new = dict(adapter_weights(base.network))
    faults = [f"{name}: not in the new adapter" for name in weights if name not in new]
    faults += [f"{name}: missing" for name in new if name not in weights]
    faults += [
        f"{name}: {tuple(weights[name].shape)} in the file, {tuple(value.shape)} in the new adapter"
        for name, value in new.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if faults:
        raise UserError(*(f"resume_adapter_file: {fault}" for fault in faults))
    base.network.load_weights(list(weights.items()), strict=False)


def _lora(config: Config) -> dict[str, Any]:
    return config.lora_parameters.model_dump(exclude_none=True)


def adapter_weights(network: nn.Module) -> Iterator[tuple[str, mx.array]]:
    """Yield (name, array) of everything that is trained."""
    yield from tree_flatten(network.trainable_parameters())


def adapter_config(base: Base, config: Config) -> dict[str, Any]:
    """Return what mlx-lm needs to load the adapter, and which base it belongs to."""
    return {
        "model": base.name,
        "fine_tune_type": config.fine_tune_type,
        "num_layers": config.num_layers,
        "lora_parameters": _lora(config),
        "base_digest": digest(base.path),
        "prompt": config.prompt.model_dump(),
    }


def read_adapter_config(path: Path) -> dict[str, Any]:
    """Return a run's adapter_config.json; UserError if the path holds no adapter."""
    if not path.is_dir():
        raise UserError(f"{path}: no such adapter directory")
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (path / name).is_file():
            raise UserError(f"{path}: not an adapter: it has no {name}")
    content = read_json(path / ADAPTER_CONFIG)
    wanted = {"num_layers", "lora_parameters"} - set(content if isinstance(content, dict) else ())
    if wanted:
        raise UserError(f"{path}/{ADAPTER_CONFIG}: {' and '.join(sorted(wanted))} missing")
    return dict(content)


def check_same_base(base: Base, path: Path) -> None:
    """Refuse to go on with a run on other weights than it was started on, the same model's from another source too."""
    file = path / ADAPTER_CONFIG
    content = read_json(file) if file.is_file() else {}
    started_on = content.get("base_digest") if isinstance(content, dict) else None
    if started_on is not None and started_on != digest(base.path):
        raise UserError(
            f"{path}: this run was started on other weights than those of {base.path}, to which {base.name} leads now; "
            "a new run may begin with its adapter: --resume-adapter-file"
        )


def load_adapter(base: Base, path: Path, any_base: bool = False) -> None:
    """Load a trained adapter into a base; UserError if it was trained on another one, unless `any_base`."""
    content = read_adapter_config(path)
    trained_on, name = content.get("base_digest"), str(content.get("model", "unknown"))
    if trained_on is not None and trained_on != digest(base.path) and not any_base:
        if not same_model(name, base.name):
            raise UserError(f"{path}: this adapter was trained on another base ({name}), not on {base.name}; "
                            "--any-base loads it all the same")  # fmt: skip
        tell(f"{path}: trained on other weights of the same model ({name}, as another source rounds them)")
    try:
        load_adapters(base.network, str(path))
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        first, *rest = str(error).splitlines() or [type(error).__name__]
        raise UserError(f"{path}: this adapter does not fit {base.name}: {first}", *rest) from None
    base.network.eval()
