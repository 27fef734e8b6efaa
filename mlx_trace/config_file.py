"""A run's configuration read from YAML and overridden by flags, checked, and written again.

Keys given twice are errors, as unknown ones are; all faults are reported at once.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError

from mlx_trace.config import RENAMED, Config
from mlx_trace.config_sources import CompiledSource, FileSource, SyntheticSource
from mlx_trace.errors import UserError, meant
from mlx_trace.faults import FIRST, in_words, located, unknown_key
from mlx_trace.files import read_text
from mlx_trace.notice import is_text, tell
from mlx_trace.other_words import NONE_HERE, OURS
from mlx_trace.resources import adapter_at, configs_dir, expanded
from mlx_trace.yaml_text import LineColumn, YamlText, read_yaml_text

_SOURCES: Final[dict[str, type[BaseModel]]] = {
    "synthetic": SyntheticSource,
    "compiled": CompiledSource,
    "file": FileSource,
}
_BUNDLED: Final = tuple(map(Path, (".", "configs", "history", "configs/history")))  # where they stand
_SOURCE_KEYS: Final = sorted({key for model in _SOURCES.values() for key in model.model_fields})
Origin = Callable[[Sequence[str]], str | None]  # keys that lead to a value: by what it was overridden, or nothing


def find_config(name: str) -> Path:
    """Return a configuration file: as named, or the bundled one of that name."""
    path = adapter_at(expanded(name))
    if path.exists():
        return path
    inner = path.parent.name if path.parent.name not in ("", "configs") else ""
    bundled = configs_dir() / inner / f"{path.name.removesuffix('.yaml')}.yaml"
    if path.parent in _BUNDLED and bundled.is_file():
        return bundled
    known = sorted(file.stem for file in configs_dir().glob("*.yaml"))
    near = meant(path.stem, known)
    raise UserError(f"{name}: no such file; {near}bundled configurations are {', '.join(known)}")


def load_config(
    path: Path | None, overrides: Mapping[str, Any], given: Mapping[str, Any] | None = None, as_flags: bool = True,
    origin: Origin | None = None,
) -> Config:  # fmt: skip
    """Read a configuration (or take what is given) and lay the overrides over it; a dotted key reaches into a section.

    Raises UserError with every fault, each with the file, its line and column, and the key; of overrides with the flag,
    if they are flags, or with the `origin` they have.
    """
    where, read = "the configuration", YamlText(dict(given or {}))
    if path is not None:
        where, read = str(path), read_config(path)
    content = read.content
    overrides = {_name_of_today(key, as_flags): value for key, value in overrides.items()}
    for key, value in sorted(overrides.items(), key=lambda item: item[0].count(".")):  # a section before its keys
        _put(content, key.split("."), value)
    return validate_config(content, where, origin or _overridden(overrides, _flag if as_flags else str), read)


def _overridden(keys: Iterable[str], name: Callable[[str], str]) -> Origin:
    """Return the origin of overrides: what each is named by, and what is wrong within it."""

    def origin(fault: Sequence[str]) -> str | None:
        for end in range(len(fault), 0, -1):
            if (key := ".".join(fault[:end])) in keys:
                return ": ".join([name(key), *([".".join(fault[end:])] if fault[end:] else [])])
        return None

    return origin


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def unallowed(config: Config, overrides: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Return which keys would run code, be it of a run folder from somewhere, and are not among the overrides.

    Each with its value, and what it does.
    """
    section = overrides.get("reinforce")
    named = section.get("reward_function") if isinstance(section, dict) else None
    function, keys = config.reinforce.reward_function, list[tuple[str, Any, str]]()
    if config.trust_remote_code and overrides.get("trust_remote_code") is not True:
        keys.append(("trust_remote_code", True, "runs code that comes with the model"))
    if function is not None and function != overrides.get("reinforce.reward_function", named):
        keys.append(("reinforce.reward_function", function, "runs code"))
    return keys


def read_config(path: Path) -> YamlText:
    """Return what a configuration file says, be it YAML or JSON; UserError if that is not keys with values."""
    text = read_text(path)
    if path.suffix == ".json":
        text = text.replace("\t", " ")  # which JSON may be indented by, and YAML may not
    read = read_yaml_text(text, str(path))
    if read.content is None:
        raise UserError(f"{path}: is empty; a configuration has keys such as model and data")
    if not isinstance(read.content, dict):
        raise UserError(f"{path}: is a {type(read.content).__name__}, not keys with values")
    return read


def _renamed(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the content with the keys of earlier versions under their names of today, and say so."""
    renamed = copy.deepcopy(dict(content))
    for old, new in RENAMED.items():
        *sections, last = old.split(".")
        section: Any = renamed
        for name in sections:
            section = section.get(name) if isinstance(section, dict) else None
        if isinstance(section, dict) and last in section:
            value = section.pop(last)
            section.setdefault(new.rpartition(".")[2], value)
            _tell_renamed(where, old, new)
    return renamed


@cache
def _tell_renamed(where: str, old: str, new: str) -> None:
    tell(f"{where}: {old} is called {new} now; the old name will go")  # once, however often a file is read


def _name_of_today(key: str, is_flag: bool) -> str:
    if key in RENAMED and is_flag:
        _tell_renamed("the command line", _flag(key), _flag(RENAMED[key]))
    elif key in RENAMED:
        _tell_renamed("an override", key, RENAMED[key])
    return RENAMED.get(key, key)


def _put(content: dict[str, Any], keys: list[str], value: Any) -> None:
    *sections, last = keys
    for section in sections:
        inner = content.get(section)
        content[section] = content = dict(inner) if isinstance(inner, dict) else {}
    content[last] = value


def validate_config(
    content: Mapping[str, Any], where: str, origin: Origin = lambda keys: None, read: YamlText | None = None
) -> Config:
    """Check a configuration's content, keys of earlier versions among it; UserError with every fault.

    Faults are told where they stand, in the order of the file, if it is known what was `read`.
    """
    read, faults = read or YamlText(content), []
    content = _renamed(content, where)
    if mangled := [_origin(key.split("."), where, origin, read)[1] for key in _no_text(content)]:
        raise UserError(*(f"{told}: holds NUL or half a character, and is no text" for told in mangled))
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            keys = _keys(fault["loc"])
            place, told = _origin(keys, where, origin, read)
            faults.append((place, f"{told}: {_explain(fault, keys)}"))
    if read.twins or faults:
        raise UserError(*read.faults(where), *(fault for _, fault in sorted(faults, key=lambda fault: fault[0])))
    return config


def _keys(location: Sequence[str | int]) -> list[str]:
    """Return the keys that lead to a fault, without the kind of a source, which pydantic names behind its number."""
    kinds = {index + 1 for index, part in enumerate(location) if isinstance(part, int)}
    return [str(part) for index, part in enumerate(location) if index not in kinds or part not in _SOURCES]


def _origin(keys: list[str], where: str, origin: Origin, read: YamlText) -> tuple[LineColumn, str]:
    """Return where a fault stands, by which faults are in order, and the override, or the file and the key."""
    if (told := origin(keys)) is not None:
        return FIRST, told
    place = _place(keys, read)
    return place or FIRST, located(where, place, keys)


def _place(keys: list[str], read: YamlText) -> LineColumn | None:
    """Return where a key stands, be it under an earlier name; a key that is missing, where it would."""
    earlier = next((old for old, new in RENAMED.items() if new == ".".join(keys)), None)
    old = None if earlier is None else read.places.get(tuple(earlier.split(".")))
    return read.places.get(tuple(keys)) or old or read.place(tuple(keys))


def _no_text(value: Any, key: str = "") -> Iterator[str]:
    """Yield the keys whose values are text that no file can be named, and nothing encoded."""
    if isinstance(value, str) and ("\0" in value or not is_text(value)):
        yield key
    elif isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _no_text(inner, f"{key}.{name}".removeprefix("."))


def _explain(fault: Any, keys: list[str]) -> str:
    if fault["type"] == "extra_forbidden":
        source = next((_SOURCES[part] for part in fault["loc"] if part in _SOURCES), None)
        known = _known_keys(keys[:-1]) if source is None else list(source.model_fields)
        key = keys[-1].replace("-", "_")
        return unknown_key(meant_elsewhere(key) or meant(key, known) or meant(key, all_keys()), known)
    return in_words(fault)


def meant_elsewhere(key: str) -> str:
    """Return `did you mean …? ` for a key of another section, or what another tool's is here; nothing if neither."""
    last = key.rpartition(".")[2]
    if last in OURS:
        return f"did you mean {OURS[last]}? "
    if last in NONE_HERE:
        return NONE_HERE[last]
    places = [path for path in all_keys() if path.rpartition(".")[2] == last]
    return f"did you mean {' or '.join(places)}? " if places and key not in places else ""


def all_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Yield every key of a configuration, dotted."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(default := field.get_default(), BaseModel):
            yield from all_keys(type(default), f"{prefix}{name}.")


def _known_keys(sections: list[str]) -> list[str]:
    """Return the keys of a section, to name them where an unknown one was given."""
    model: Any = Config
    for section in sections:
        if section.isdigit():
            return _SOURCE_KEYS
        annotation = model.model_fields[section].annotation if section in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return _SOURCE_KEYS
        model = annotation
    return list(model.model_fields)


def dump_config(config: Config) -> str:
    """Return the resolved configuration as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
