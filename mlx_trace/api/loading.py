"""A model by name, folder, hub name or file, and the adapter that is meant → a base with the adapter in it.

The one rule for every command and call that takes a model and an adapter. Imports networks only to load one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlx_trace.errors import UserError
from mlx_trace.notice import tell
from mlx_trace.resources import adapter_at, expanded
from mlx_trace.run_files import ADAPTER_CONFIG
from mlx_trace.setting import setting

if TYPE_CHECKING:
    from mlx_trace.config import Dtype, Prompt
    from mlx_trace.model.base import Base

NO_ADAPTER: Final = "none"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model and adapter are asked for; None where that is not said, and the adapter "none" for none."""

    model: str | None = None
    adapter: Path | None = None
    dtype: "Dtype" = "auto"
    any_base: bool = False
    trust_remote_code: bool = False


def settle_adapter(model: str | None, adapter: Path | None) -> Path | None:
    """Return the adapter that is meant: the one rule for every command that takes a model and an adapter.

    The one that is named (`none`: none); else, for a model with a name of its own, `tiny` if none is named, the adapter
    of that name: one trained here before one that comes along, if there is any. The model is the one that is named,
    else the adapter's base.
    """
    from mlx_trace.model.named import TINY, canonical, named

    if adapter is not None:
        return None if str(adapter) == NO_ADAPTER else adapter_at(adapter)
    name = canonical(model or TINY)
    return find_adapter(name) if name == TINY or named(name) else None


def find_adapter(name: str) -> Path | None:
    """Return a finished adapter by its model's name: trained here with its configuration, or one that comes along."""
    from mlx_trace.model.adapter import ADAPTER_WEIGHTS
    from mlx_trace.resources import adapters_dir

    here, files = Path("adapters"), (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
    folders = (here / f"{name}-run", here / name, adapters_dir() / name)
    return next((path for path in folders if all((path / file).is_file() for file in files)), None)


def load_chosen(choice: ModelChoice) -> "tuple[Base, Prompt, Path | None]":
    """Load the model that is asked for; return it with its adapter in it, the prompt settings it was trained with, and
    the adapter."""
    from mlx_trace.model.gguf.convert import check_file

    if choice.model == "":
        raise UserError(f"{setting('model')}: the name is empty")
    check_file(choice.model)
    from mlx_trace.memory.published import published
    from mlx_trace.model.adapter import load_adapter, read_adapter_config
    from mlx_trace.model.base import load_base
    from mlx_trace.model.named import TINY, named
    from mlx_trace.model.prompts import carried_prompt

    path = settle_adapter(choice.model, choice.adapter)
    adapter = None if path is None else read_adapter_config(path)
    name = choice.model or (adapter.model if adapter else None) or TINY
    if choice.adapter is None and adapter is None and named(name) and (known := published(name)):
        tell(f"{name} as it is: adapters/ has none for it (mlx-trace train -c {known.configuration} makes one)")
    if path is not None and not choice.model:
        locate_base(name, path / ADAPTER_CONFIG)
    base = load_base(name, choice.trust_remote_code, choice.dtype, identify=adapter is not None)
    if path is not None:
        load_adapter(base, path, choice.any_base)
    return base, adapter.prompt if adapter and adapter.prompt else carried_prompt(base.tokenizer), path


def locate_base(name: str, file: Path) -> None:
    """Find an adapter's base, or say where its name stands, and from where a relative path is read."""
    from mlx_trace.model.base import locate_model

    try:
        locate_model(name)
    except UserError as error:
        here = "" if expanded(name).is_absolute() else f", from {Path.cwd()} if it is a path"
        named = f"{setting('model')} names it"
        raise UserError(f"{file}: its base {name!r} is not found{here}; {named}", *error.faults) from None
