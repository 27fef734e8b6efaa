"""Models of the Hugging Face hub: what is whole in its cache, whether it can be reached, and downloads.

Takes hub names (owner/model); returns directories. Fetches what mlx-lm needs to load a model and nothing else.
"""

import re
from pathlib import Path
from typing import Final

from mlx_trace import hub_access
from mlx_trace.errors import UserError, short
from mlx_trace.json_text import parse_json
from mlx_trace.setting import setting

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_WANTED: Final = ["*.json", "model*.safetensors", "tokenizer.model", "*.tiktoken", "*.txt", "*.jinja", "*.py"]
_TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model")
_INDEX: Final = "model.safetensors.index.json"


def is_hub_name(name: str) -> bool:
    """Tell whether a name is of the form that the hub's have: owner/model."""
    return _NAME.fullmatch(name) is not None


def cached(name: str) -> Path | None:
    """Return a model's directory in the hub's cache, None if it is not there or was not downloaded to its end."""
    folder = cached_folder(name)
    return folder if folder and is_whole(folder) else None


def cached_folder(name: str) -> Path | None:
    """Return the directory in the hub's cache that has a model's config.json, maybe without all of its weights."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        file = try_to_load_from_cache(name, "config.json")
    except (HFValidationError, OSError):
        return None
    return Path(file).parent if isinstance(file, str) else None


def is_whole(folder: Path) -> bool:
    """Tell whether a directory has a configuration, a tokenizer and all its weights."""
    if not (folder / "config.json").is_file() or not any((folder / name).is_file() for name in _TOKENIZERS):
        return False
    if not (folder / _INDEX).is_file():
        return any(file.is_file() for file in folder.glob("model*.safetensors"))
    try:
        names = set(parse_json((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return all((folder / str(name)).is_file() for name in names)


def obstacle(name: str) -> str | None:
    """Say in a few seconds why a model cannot be had from the hub now; None if it can."""
    from huggingface_hub import HfApi

    return hub_access.ask(lambda: HfApi().model_info(name))[1] or None


def download(name: str) -> Path:
    """Return a hub model's directory, downloaded if it is not in the cache; UserError says what to do."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_WANTED))
    except GatedRepoError:
        raise UserError(
            f"{name} is gated: accept its licence on its hub page, then `hf auth login` (or set HF_TOKEN)"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"there is no model {name!r} on the hub, nor a directory of that name here; a private one needs "
            "`hf auth login` (or HF_TOKEN)"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, hub_access.network_error()) as error:
        raise UserError(
            f"{name} is not in the local cache and cannot be downloaded ({short(error)}); go online once, or name "
            f"a model directory, or use {setting('model', 'tiny')}"
        ) from None
