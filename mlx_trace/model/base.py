"""Load a model through mlx-lm: its network and its tokenizer.

Takes a model's name, a directory, a GGUF file or a hub name, and the type to compute in. Reads no weights but
safetensors, and runs no code of a model unless asked to.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import mlx.core as mx
from mlx_lm.tokenizer_utils import TokenizerWrapper
from mlx_lm.tokenizer_utils import load as load_tokenizer
from mlx_lm.utils import load_model

from mlx_trace.blas import suit_threads
from mlx_trace.config import Dtype
from mlx_trace.errors import UserError, one_line
from mlx_trace.files import read_json
from mlx_trace.folders import plainly_named
from mlx_trace.model.config_json import is_known, read_config_json
from mlx_trace.model.fingerprint import Fingerprint, begun
from mlx_trace.model.gguf.convert import model_directory
from mlx_trace.model.head import head, hidden_states, is_exact, relative_difference
from mlx_trace.model.hub import download, is_hub_name
from mlx_trace.model.named import TINY, canonical, locate_named, named, nearest, other_roads
from mlx_trace.model.precision import is_dequantised
from mlx_trace.model.weights import settle_types, type_name
from mlx_trace.notice import tell
from mlx_trace.resources import expanded, tiny_dir
from mlx_trace.setting import setting

_TOKENIZER_CONFIG: Final = "tokenizer_config.json"
_PROBED: Final = 5  # tokens on which a network's pieces are compared with the whole of it


@dataclass(frozen=True)
class Base:
    """A loaded model: the network, its tokenizer (mlx-lm's wrapper), its config.json, and where it came from.

    `written` has the type in which each weight goes to a file again, whatever it is computed in. `hashing` waits for
    the fingerprint of the weights, where it was begun with loading; `runs_code` tells whether the model's own may run.
    """

    name: str
    path: Path
    network: Any
    tokenizer: Any
    config: dict[str, Any]
    written: Mapping[str, mx.Dtype] = field(default_factory=dict)
    hashing: Callable[[], Fingerprint] | None = None
    runs_code: bool = False

    def fingerprint(self) -> Fingerprint:
        """Return which weights these are."""
        return (self.hashing or begun(self.path))()

    @property
    def computed(self) -> Dtype:
        """Return the name of the type that the network is computed in."""
        return cast(Dtype, type_name(self.network.model.norm.weight.dtype))

    @property
    def is_exact(self) -> bool:
        """Tell whether what the network computes twice differs by no more than float32 explains."""
        return is_exact(self.network)

    @property
    def written_type(self) -> str:
        """Return the name of the type that weights are written in, or their scales where they are quantised."""
        return type_name(self.written["model.norm.weight"])

    @property
    def num_layers(self) -> int:
        """Return how many transformer blocks the network has."""
        return len(self.network.layers)


@dataclass(frozen=True)
class Outline:
    """A model whose weights are still to be read: what data and settings are checked with before."""

    path: Path
    config: dict[str, Any]
    tokenizer: Any


def read_outline(name: str, trust_remote_code: bool = False) -> Outline:
    """Find a model by name, and return its config.json and its tokenizer."""
    path = locate_model(name)
    config = read_config_json(path, trust_remote_code)
    return Outline(path, config, read_tokenizer(path, config, trust_remote_code))


def load_base(
    name: str, trust_remote_code: bool = False, dtype: Dtype = "auto", say: Callable[[str], None] = tell,
    identify: bool = False, outline: Outline | None = None,
) -> Base:  # fmt: skip
    """Load a model by name, to compute in a type; UserError if it is none, or cannot be used, says what to do.

    With `identify` its weights are hashed meanwhile, for `Base.fingerprint`, which else does it when it is asked. An
    `outline` is what was read of it already.
    """
    outline = outline or read_outline(name, trust_remote_code)
    path, content = outline.path, outline.config
    _check_weights(path)
    hashing = begun(path) if identify else None
    rope = {key: content[key] for key in ("rope_theta", "rope_scaling") if key in content}
    try:
        with plainly_named(path) as plain:
            network, config = load_model(plain, lazy=True, model_config=rope, trust_remote_code=trust_remote_code)
            written = settle_types(network, is_dequantised(path), dtype, say)
    except Exception as error:  # mlx-lm builds what a file says, and fails in every way there is
        raise UserError(f"{path}: the model cannot be loaded: {_named(error)}") from error
    if not is_known(content):
        check_pieces(network, name)
    suit_threads(int(config.get("hidden_size", 4096)))
    return Base(canonical(name), path, network, outline.tokenizer, config, written, hashing, trust_remote_code)


def _check_weights(path: Path) -> None:
    """Refuse a folder without weights, or with something else than files in their place, which might never end."""
    weights = list(path.glob("model*.safetensors"))
    if not weights:
        raise UserError(f"{path}: no model*.safetensors; other weight formats are not read")
    for file in weights:
        if not file.is_file():
            raise UserError(f"{file}: is no file" if file.exists() else f"{file}: leads nowhere")


def read_tokenizer(path: Path, config: dict[str, Any], trust_remote_code: bool = False) -> Any:
    """Load a tokenizer as its tokenizer.json says; the class that is looked up by name changes Llama 2's spaces.

    Code that comes with it runs only if that is trusted, and nobody is asked; then its class is what counts.
    """
    own = _tokenizer_code(path)
    eos = config.get("eos_token_id")
    eos_ids = {id_ for id_ in (eos if isinstance(eos, list) else [eos]) if isinstance(id_, int)} or None
    try:
        wrapped = load_tokenizer(path, {"trust_remote_code": trust_remote_code}, eos_token_ids=eos_ids)
        if (own and trust_remote_code) or not (path / "tokenizer.json").exists():
            return wrapped
        from transformers import PreTrainedTokenizerFast

        exact = PreTrainedTokenizerFast.from_pretrained(path, clean_up_tokenization_spaces=False)
        return TokenizerWrapper(exact, eos_token_ids=set(wrapped.eos_token_ids))
    except Exception as error:  # transformers and mlx-lm do what files say, and fail in every way there is
        if own and not trust_remote_code:
            raise UserError(f"{path}: its tokenizer is code that comes with the model ({own}), and was not loaded; "
                            f"{setting('trust_remote_code', True)} runs it") from error  # fmt: skip
        raise UserError(f"{path}: its tokenizer cannot be loaded: {_named(error)}") from error


def _tokenizer_code(path: Path) -> str:
    """Return what of a model's own code its tokenizer would run; empty if that is nothing."""
    file = path / _TOKENIZER_CONFIG
    content = read_json(file) if file.is_file() else {}
    if not isinstance(content, dict):
        raise UserError(f"{file}: not an object with a tokenizer's settings")
    own = content.get("auto_map")
    return str(own.get("AutoTokenizer") or "") if isinstance(own, dict) else str(own or "")


def _named(error: Exception) -> str:
    """Return an error in one line, with what kind it is where it says too little by itself."""
    kind = type(error).__name__
    return one_line(error) if isinstance(error, ValueError | OSError | RuntimeError) else f"{kind}: {one_line(error)}"


def check_pieces(network: Any, name: str) -> None:
    """Refuse a network whose states and head, taken one after the other, are not what it gives as a whole."""
    ids = mx.array([[place + 3 for place in range(_PROBED)]])
    try:
        difference = relative_difference(head(network, hidden_states(network, ids)), network(ids))
    except Exception as error:  # a network of another kind, and maybe code that came with it
        raise UserError(f"{name}: not a Llama-shaped model, and it cannot be run as one: {_named(error)}") from error
    if not difference < 0.05:
        raise UserError(f"{name}: not a Llama-shaped model: its head makes other logits of its states than the whole "
                        f"does, {difference:.0%} apart")  # fmt: skip


def check_finite(base: Base) -> None:
    """Refuse a network that predicts no numbers: a NaN anywhere in its layers or its head spreads to all there is."""
    if not mx.isfinite(base.network(mx.array([[0]]))).all().item():
        raise UserError(f"{base.name}: what it predicts is no finite number: its weights are damaged, or too large for "
                        f"{base.computed}")  # fmt: skip


def locate_model(name: str) -> Path:
    """Return the directory of a model: a name's, a folder, a GGUF file's (converted once), or a hub name's."""
    if canonical(name) == TINY:
        return tiny_dir()
    if entry := named(name):
        return locate_named(entry)
    path = expanded(name)
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
