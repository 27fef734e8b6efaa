"""LoRA on a network's top layers, and adapters as mlx-lm has them: written, read, checked, and known to their base.

Takes a loaded `Base`. What an adapter's files say is checked before anything of it is used, and so are its numbers.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.tuner.utils import linear_to_lora_layers
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mlx_trace.config import LINEAR, OPERATION_FIRST, Config, Prompt
from mlx_trace.errors import UserError, one_line
from mlx_trace.faults import faults_of
from mlx_trace.files import read_json
from mlx_trace.model.base import Base
from mlx_trace.model.config_json import ARCHITECTURES
from mlx_trace.model.fingerprint import OLD_SIZE, old_digest
from mlx_trace.model.named import same_model
from mlx_trace.notice import tell
from mlx_trace.run_files import ADAPTER_CONFIG
from mlx_trace.setting import setting

ADAPTER_WEIGHTS: Final = "adapters.safetensors"
FineTuneType = Literal["lora", "dora", "full"]


class LoraOfFile(BaseModel):
    """The `lora_parameters` of an adapter's file; mlx-lm writes more keys than it reads."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    rank: int = Field(ge=1, le=1 << 16)
    scale: float
    dropout: float = Field(0.0, ge=0, lt=1)
    keys: Annotated[list[str], Field(min_length=1)] | None = None


class AdapterConfig(BaseModel):
    """What an adapter_config.json says: ours or any of mlx-lm's, whose other keys do not matter here.

    `base_digest` is known from all of the base's weights, `base_shape` from their names and shapes, and `base_rest`
    from those that the adapter leaves as they are.
    """

    model_config = ConfigDict(strict=True)

    model: str | None = Field(None, min_length=1)
    fine_tune_type: FineTuneType = "lora"
    num_layers: int = Field(ge=-1)
    lora_parameters: LoraOfFile | None = None
    base_digest: str | None = None
    base_shape: str | None = None
    base_rest: str | None = None
    prompt: Prompt | None = None
    loss: str | None = None  # choices: what the constraint decides was not taught

    @model_validator(mode="before")
    @classmethod
    def _full_has_none(cls, content: Any) -> Any:
        """Leave out what is not read where whole weights were trained."""
        is_full = isinstance(content, dict) and content.get("fine_tune_type") == "full"
        return {key: content[key] for key in content if key != "lora_parameters"} if is_full else content

    @model_validator(mode="after")
    def _has_lora(self) -> "AdapterConfig":
        if self.fine_tune_type != "full" and self.lora_parameters is None:
            raise ValueError("lora_parameters is missing: rank and scale at least")
        return self


# --- making one --------------------------------------------------------------------------------------------------


def check_trainable(config: Config, content: Mapping[str, Any]) -> None:
    """Refuse to train what a model's config.json already shows that it cannot be, before it is loaded."""
    if config.fine_tune_type == "full" and (content.get("quantization") or content.get("quantization_config")):
        raise UserError(f"fine_tune_type: full trains the weights themselves, and those of {config.model} are "
                        "quantised; lora and dora train what is added to them")  # fmt: skip


def attach_adapter(base: Base, config: Config) -> None:
    """Freeze the network and make its top layers trainable, as `fine_tune_type` says; a new adapter changes nothing.

    LoRA adds scale · x A B to W x (Hu et al. 2021, 2106.09685: A random, B zero); DoRA learns the length of W's rows
    besides (Liu et al. 2024, 2402.09353). UserError for what cannot be adapted.
    """
    check_trainable(config, base.config)
    if config.num_layers > base.num_layers:
        raise UserError(f"num_layers is {config.num_layers}, and {base.name} has {base.num_layers} layers")
    mx.random.seed(config.seed)
    try:
        attach_layers(base, config.fine_tune_type, config.num_layers, config.lora_parameters.model_dump())
    except ValueError as error:
        raise UserError(f"lora_parameters: {one_line(error)}") from None
    if not any(True for _ in adapter_weights(base.network)):
        raise UserError(f"lora_parameters.keys: {config.lora_parameters.keys} name no layers of {base.name}")


def attach_layers(base: Base, kind: FineTuneType, num_layers: int, lora: dict[str, Any]) -> None:
    """Make a network's top layers trainable, of all the others nothing; ValueError for what cannot be adapted."""
    base.network.freeze()
    if kind == "full":
        for layer in base.network.layers[-max(num_layers, 0) :]:
            layer.unfreeze()
    else:
        linear_to_lora_layers(base.network, num_layers, lora, use_dora=kind == "dora")
    if kind == "dora":
        _check_lengths(base)


def _check_lengths(base: Base) -> None:
    """Refuse DoRA on weights with rows of length 0, by which it divides (Liu et al. 2024, eq. 5)."""
    lengths = {name: array for name, array in tree_flatten(base.network.parameters()) if name.endswith(".m")}
    for name, length in lengths.items():
        if empty := int((length == 0).sum().item()):
            raise UserError(f"fine_tune_type: dora divides by the length of each row, and {empty} rows of {base.name}'s"
                            f" {name.removesuffix('.m')} are all 0; use lora")  # fmt: skip


def adapter_weights(network: nn.Module) -> Iterator[tuple[str, mx.array]]:
    """Yield (name, array) of everything that is trained."""
    yield from tree_flatten(network.trainable_parameters())


def adapter_config(base: Base, config: Config, knows_all: bool = False) -> dict[str, Any]:
    """Return what mlx-lm needs to load the adapter, which base it belongs to, and if it knows choices alone."""
    modules = {name.rpartition(".")[0] for name, _ in adapter_weights(base.network)}
    weights = base.fingerprint()
    is_usual = config.prompt.trace_form == OPERATION_FIRST  # earlier versions know no forms, and read such adapters
    return {
        "model": base.name,
        "fine_tune_type": config.fine_tune_type,
        "num_layers": config.num_layers,
        "lora_parameters": config.lora_parameters.model_dump(exclude_none=True),
        "base_digest": weights.digest,
        "base_shape": weights.shape,
        "base_rest": weights.without(modules),
        "prompt": config.prompt.model_dump(exclude={"trace_form"} if is_usual else None),
    } | ({} if config.loss == "all" or knows_all else {"loss": config.loss})


# --- reading one -------------------------------------------------------------------------------------------------


def read_adapter_config(path: Path) -> AdapterConfig:
    """Return a run's adapter_config.json; UserError if the path holds no adapter, or a file that is none."""
    if not path.is_dir():
        raise UserError(f"{path}: no such adapter directory")
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (path / name).is_file():
            raise UserError(f"{path}: not an adapter: it has no {name}")
    return _read_config(path / ADAPTER_CONFIG)


def _read_config(file: Path) -> AdapterConfig:
    content = read_json(file)
    if not isinstance(content, dict):
        raise UserError(f"{file}: not an object with an adapter's settings")
    try:
        return AdapterConfig.model_validate(content)
    except ValidationError as error:
        raise UserError(*faults_of(error, str(file))) from None


def load_adapter(base: Base, path: Path, any_base: bool = False) -> None:
    """Load a trained adapter into a base; UserError if it was trained on another one, unless `any_base`."""
    content = read_adapter_config(path)
    if not any_base:
        _check_base(base, path, content)
    misfit = f"{path}: this adapter does not fit {base.name}"
    if content.num_layers > base.num_layers:
        raise UserError(f"{misfit}: num_layers is {content.num_layers}, and there are {base.num_layers}")
    lora = content.lora_parameters.model_dump() if content.lora_parameters else {}
    beyond = sorted(set(lora.get("keys") or ()) - set(LINEAR))
    if beyond and base.config.get("model_type") in ARCHITECTURES:
        raise UserError(f"{misfit}: it adapts {', '.join(beyond)}, and adapters here are of {', '.join(LINEAR)}")
    try:
        attach_layers(base, content.fine_tune_type, content.num_layers, lora)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{misfit}: {one_line(error)}") from None
    _take(base, path / ADAPTER_WEIGHTS, misfit)
    base.network.eval()


def _take(base: Base, file: Path, misfit: str) -> None:
    """Give what is trained of a network the weights of a file: all of them, nothing else, and finite numbers.

    They take the network's type, or each pass would convert those of an adapter that is kept in fewer bits.
    """
    own, weights = dict(adapter_weights(base.network)), read_weights(file, misfit)
    check_weights(weights, own, misfit)
    base.network.load_weights([(name, value.astype(own[name].dtype)) for name, value in weights.items()], strict=False)


def read_weights(file: Path, misfit: str) -> dict[str, mx.array]:
    """Return what a file of weights holds, by name; UserError that begins with `misfit` if it is none."""
    try:
        weights: dict[str, mx.array] = mx.load(str(file), format="safetensors")
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{misfit}: {file.name}: {one_line(error)}") from None
    return weights


def check_weights(weights: Mapping[str, mx.array], own: Mapping[str, mx.array], misfit: str) -> None:
    """Refuse weights that are not what is trained of a network, name by name and shape by shape, or no numbers."""
    faults = [f"{name}: not in the network as it is adapted" for name in weights if name not in own]
    faults += [f"{name}: missing in the file" for name in own if name not in weights]
    for name, value in weights.items():
        if name not in own:
            continue
        if not mx.issubdtype(value.dtype, mx.floating):
            faults.append(f"{name}: whole numbers, where weights are fractions")
        elif not mx.isfinite(value).all().item():
            faults.append(f"{name}: has values that are no finite numbers, as a run that diverged leaves them")
        elif value.shape != own[name].shape:
            faults.append(f"{name}: {tuple(value.shape)} in the file, {tuple(own[name].shape)} in the network")
    if faults:
        raise UserError(f"{misfit}: {len(faults)} of its {max(len(weights), len(own))} tensors are wrong:", *faults)


# --- whose it is -------------------------------------------------------------------------------------------------


def check_same_base(base: Base, path: Path) -> None:
    """Refuse to go on with a run on other weights than it was started on, the same model's from another source too."""
    file = path / ADAPTER_CONFIG
    if file.is_file() and not _is_base(base, path, _read_config(file)):
        raise UserError(
            f"{path}: this run was started on other weights than those of {base.path}, to which {base.name} leads now; "
            f"a new run may begin with its adapter: {setting('resume_adapter_file')}"
        )


def _is_base(base: Base, path: Path, content: AdapterConfig) -> bool:
    """Tell whether an adapter was trained on these weights, or does not say on which."""
    if content.base_digest is None:
        return True
    if len(content.base_digest) != OLD_SIZE:
        return content.base_digest == base.fingerprint().digest
    is_same = content.base_digest == old_digest(base.path)
    if is_same:
        tell(f"{path}: its base_digest, of version 0.1.0, covers the first weights only; runs that are begun now write "
             "one of all weights")  # fmt: skip
    return is_same


def _check_base(base: Base, path: Path, content: AdapterConfig) -> None:
    """Refuse a base that an adapter was not trained on, and say what it is instead."""
    if _is_base(base, path, content):
        return
    name, weights = content.model or "unknown", base.fingerprint()
    anyway = f"; {setting('any_base', True)} loads it all the same"
    if content.base_rest == weights.without(_modules(path)):
        bare = setting("adapter_path", "none")
        raise UserError(f"{path}: {base.name} has an adapter merged into it already: it differs from {name} in nothing "
                        f"but what this one changes; ask it as it is, {bare}{anyway}")  # fmt: skip
    if same_model(name, base.name):
        tell(f"{path}: trained on other weights of the same model ({name}, as another source rounds them)")
        return
    alike = ", of the same shape with other weights: another revision?" if content.base_shape == weights.shape else ""
    raise UserError(f"{path}: this adapter was trained on another base ({name}), not on {base.name}{alike}{anyway}")


def _modules(path: Path) -> set[str]:
    """Return the modules that an adapter changes, as its file names them."""
    try:
        return {name.rpartition(".")[0] for name in mx.load(str(path / ADAPTER_WEIGHTS), format="safetensors")}
    except (RuntimeError, ValueError):
        return set()
