"""The models that this machine has, and those that it could have: bundled, by name, converted, in the hub's cache.

Reads directories and their config.json, and no weights. What is broken is found, too, with what is wrong with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_trace.errors import UserError
from mlx_trace.files import read_json
from mlx_trace.memory.published import PUBLISHED
from mlx_trace.model import hub
from mlx_trace.model.config_json import ARCHITECTURES
from mlx_trace.model.named import NAMED, TINY, Named, at_hand
from mlx_trace.model.precision import is_dequantised, provenance
from mlx_trace.resources import cache_dir, tiny_dir


@dataclass(frozen=True, slots=True)
class Found:
    """A model: what `--model` calls it, its bytes, whence it is or comes, and what is wrong with it."""

    name: str
    size: int
    source: str
    path: Path | None = None  # None: not on this machine
    content: Mapping[str, Any] = field(default_factory=dict)  # of its config.json, or of what is known of it
    dequantised: bool = False
    fault: str = ""


def models() -> Iterator[Found]:
    """Yield the models that can be trained, those at hand first; then the named ones that are not here."""
    yield _found(TINY, tiny_dir(), "bundled")
    converted = list(_converted())
    yield from (model for entry in NAMED if (model := _named_here(entry, converted)))
    files = {entry.packaged.file_name for entry in NAMED if entry.packaged}
    yield from (model for source, model in converted if source not in files)
    yield from _in_hub_cache()
    yield from (_to_be_had(entry) for entry in NAMED if at_hand(entry) is None)


def others_in_hub_cache() -> int:
    """Return how many models of the hub's cache are of kinds that are not trained here."""
    return sum(1 for name, _ in _cached_models() if _config(hub.cached_folder(name)).get("model_type")
               not in ARCHITECTURES)  # fmt: skip


def _named_here(entry: Named, converted: list[tuple[str, Found]]) -> Found | None:
    """Return a named model that is at hand: the hub's folder, or the index's file with what it was converted into."""
    place = at_hand(entry)
    if place is None:
        return None
    path, source = place
    if path.is_dir():
        return _found(entry.name, path, "hub")
    for name, model in converted:
        if path.name == name:
            return Found(entry.name, model.size + path.stat().st_size, source, model.path, model.content,
                         model.dequantised, model.fault)  # fmt: skip
    return Found(entry.name, path.stat().st_size, f"{source}, not converted yet", path, _published(entry.hub))


def _converted() -> Iterator[tuple[str, Found]]:
    """Yield (file name, model) of what GGUF files were converted into; folders of others are left alone."""
    root = cache_dir() / "models"
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if not folder.name.startswith(".") and (file := provenance(folder)):
            name = str(file.get("source") or folder.name)
            yield name, _found(name, folder, "GGUF file, converted")


def _in_hub_cache() -> Iterator[Found]:
    known = {entry.hub for entry in NAMED}
    for name, size in _cached_models():
        folder = hub.cached_folder(name)
        content = _config(folder)
        if folder is None or name in known or content.get("model_type") not in ARCHITECTURES:
            continue
        fault = "" if hub.is_whole(folder) else "not all of it was downloaded"
        yield Found(name, size, "hub", folder, content, fault=fault)


def _cached_models() -> Iterator[tuple[str, int]]:
    """Yield (name, bytes) of the hub's cache, however damaged it is."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, OSError, ValueError):
        return
    yield from sorted((model.repo_id, model.size_on_disk) for model in repositories if model.repo_type == "model")


def _to_be_had(entry: Named) -> Found:
    where = "hub"
    size = entry.size
    if entry.packaged:
        where, size = "package index, or hub", entry.packaged.wheel_size
    return Found(entry.name, size, where, None, _published(entry.hub))


def _published(name: str) -> Mapping[str, Any]:
    return next((model.content for model in PUBLISHED if model.hub == name), {})


def _found(name: str, folder: Path, source: str) -> Found:
    """Return the model of a directory of ours or the hub's."""
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    fault = "" if hub.is_whole(folder) else f"broken; remove {folder}"
    return Found(name, size, source, folder, _config(folder), is_dequantised(folder), fault)


def _config(folder: Path | None) -> dict[str, Any]:
    try:
        content = read_json(folder / "config.json") if folder else {}
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}
