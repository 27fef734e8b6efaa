"""The configuration of a run that is resumed: what it was started with, with which whoever resumes it must agree."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mlx_trace.config import Config
from mlx_trace.config_file import load_config
from mlx_trace.config_sources import Source
from mlx_trace.errors import UserError
from mlx_trace.model.named import TINY, canonical, named
from mlx_trace.resources import expanded
from mlx_trace.run_files import CONFIG_FILE
from mlx_trace.setting import setting
from mlx_trace.train.run_dir import read_run_config


def resumed(
    path: Path | None, overrides: Mapping[str, Any], overwrite: bool = False, content: Mapping[str, Any] | None = None,
    as_flags: bool = True,
) -> Config:  # fmt: skip
    """Return the configuration of the run that is resumed, with which the overrides and the file must agree."""
    resume, replace = setting("resume", True), setting("overwrite", True)
    if overwrite:
        raise UserError(f"{resume} goes on with a run and {replace} replaces it; give one of them")
    if path is None and content is None:
        run = overrides.get("adapter_path")
        if run is None:
            its = "-c with its configuration" if as_flags else "its configuration"
            raise UserError(f"{resume} needs the run's directory: {setting('adapter_path')}, or {its}")
        saved = read_run_config(Path(str(run)))
        wanted = load_config(Path(str(run)) / CONFIG_FILE, overrides, as_flags=as_flags)
    else:
        wanted = load_config(path, overrides, content, as_flags)
        saved = read_run_config(wanted.adapter_path)
    saved = _where_it_is_now(saved, wanted)
    if differs := list(changes(saved.model_dump(mode="json"), wanted.model_dump(mode="json"))):
        raise UserError(
            f"{saved.adapter_path}: {resume} goes on with a run as it was started; without "
            f"{'-c and other flags' if as_flags else 'a configuration and overrides'} it does. What is not as it was:",
            *differs,
        )
    return saved


def _where_it_is_now(saved: Config, wanted: Config) -> Config:
    """Return what a run was started with, with the places of today: its folder, its base's, and its files'.

    What is there is compared later, weights and rows by their digests.
    """
    moved: dict[str, Any] = {"adapter_path": wanted.adapter_path}
    if canonical(saved.model) != TINY and named(saved.model) is None and expanded(wanted.model).exists():
        moved["model"] = wanted.model
    if _are_same_elsewhere(saved.data, wanted.data):
        moved["data"] = wanted.data
    if _are_same_elsewhere(saved.reinforce.data or [], wanted.reinforce.data or []):
        moved["reinforce"] = saved.reinforce.model_copy(update={"data": wanted.reinforce.data})
    return saved.model_copy(update=moved)


def _are_same_elsewhere(before: Sequence[Source], after: Sequence[Source]) -> bool:
    """Tell whether sources are the same but for where their files are."""
    said = [[source.model_dump(exclude={"file", "path"}) for source in sources] for sources in (before, after)]
    return said[0] == said[1]


def changes(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield in words which keys of a run are wanted otherwise than it was started with."""
    for key, value in before.items():
        other = after[key]
        if isinstance(value, dict) and isinstance(other, dict):
            yield from changes(value, other, f"{prefix}{key}.")
        elif value != other:
            yield f"{prefix}{key}: the run was started with {_in_words(value)}, not {_in_words(other)}"


def _in_words(value: Any) -> str:
    """Return a value as YAML would say it, in a line; of sources only what was said of them."""
    if isinstance(value, list):
        return "; ".join(map(_in_words, value)) or "none"
    if isinstance(value, dict):
        said = {key: inner for key, inner in value.items() if inner not in (None, [], {}, 0)}
        return ", ".join(f"{key} {_in_words(inner)}" for key, inner in said.items())
    return str(yaml.safe_dump(value, width=1000, allow_unicode=True)).removesuffix("\n").removesuffix("\n...")
