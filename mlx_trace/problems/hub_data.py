"""Data sets of the Hugging Face hub by name: owner/name, or owner/name/part for a folder or a split of it.

Takes names; returns files in the hub's cache, those of the training split where no split is named. Knows nothing of
what is in them.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final

from mlx_trace import hub_access
from mlx_trace.errors import UserError, short
from mlx_trace.notice import tell

_NAME: Final = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:/([\w./-]*\w))?", re.ASCII)
_READ: Final = (".parquet", ".jsonl", ".json", ".csv", ".tsv")
_SHARD: Final = re.compile(r"-(\d{5})-of-(\d{5})$")
_SPLIT: Final = re.compile(r"(?i)(?:^|[^a-z])(train|test|validation|valid|dev|val)(?:[^a-z]|$)")
_USUAL: Final = ("main/", "default/")  # configurations that are meant where none is named
_SHOWN: Final = 8


def is_hub_data(path: Path) -> bool:
    """Tell whether a path is nothing here, and of the form of a data set's name on the hub."""
    name = path.as_posix()
    return _NAME.fullmatch(name) is not None and path.suffix.lower() not in _READ and not path.exists()


@lru_cache
def data_files(name: str) -> tuple[Path, ...]:
    """Return the files of a data set's name, downloaded if they are not in the hub's cache; UserError says why not."""
    match = _NAME.fullmatch(name)
    assert match is not None, name
    repository, part = match[1], match[2] or ""
    listed = _in_cache(repository)
    try:
        chosen = _chosen(listed, repository, part)
    except UserError:
        listed, why = _on_hub(repository)
        if not listed:
            raise UserError(f"{name}: no such file or directory, and no data set of that name in the hub's cache; the "
                            f"hub {why}") from None  # fmt: skip
        chosen = _chosen(listed, repository, part)
    others = sorted({_named(repository, file) for file in listed} - {_named(repository, file) for file in chosen})
    tell(f"{name}: {', '.join(chosen)}" + (f" (others: {_some(others)})" if others else ""))
    return tuple(_download(repository, file) for file in chosen)


def _chosen(files: Sequence[str], repository: str, part: str) -> list[str]:
    """Return which files are meant: those of a part, of the usual configuration, of the training split; all shards."""
    names = sorted({_named(repository, file) for file in files})
    meant = [file for file in files if not part or part in _parts(file)]
    if not meant:
        raise UserError(f"{repository} has no {part or 'rows'}; it has {_some(names) or 'no file that is read'}")
    if _split(part) is None:
        usual = [file for file in meant if file.startswith(_USUAL)] or meant
        meant = [file for file in usual if _split(file) == "train"] or [file for file in usual if _split(file) is None]
    if not meant:
        raise UserError(f"{repository} has no training split; name one of {_some(names)}")
    if len({_stem(file) for file in meant}) > 1:
        raise UserError(f"{repository}: name one of {_some(sorted({_named(repository, file) for file in meant}))}")
    shards = [shard for file in meant if (shard := _SHARD.search(PurePosixPath(file).stem))]
    if shards and len(shards) < int(shards[0][2]):
        raise UserError(f"{_named(repository, meant[0])}: {len(shards)} of {int(shards[0][2])} files are there")
    return sorted(meant)


def _parts(file: str) -> list[str]:
    """Return by what a file is known: its name without what numbers it, and the folders that it is in."""
    folders = [str(folder) for folder in PurePosixPath(file).parents]
    return [_stem(file), _stem(file).removeprefix("data/"), *folders]


def _stem(file: str) -> str:
    """Return a file's name without its type and without what numbers its shards: main/train."""
    path = PurePosixPath(file)
    return str(path.with_name(_SHARD.sub("", path.stem)))


def _split(file: str) -> str | None:
    """Return which split a file's name says that it is of."""
    matches = _SPLIT.findall(_stem(file)) if file else []
    return matches[-1].lower() if matches else None


def _named(repository: str, file: str) -> str:
    return f"{repository}/{_stem(file).removeprefix('data/')}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


# --- the hub ---------------------------------------------------------------------------------------------------


def _in_cache(repository: str) -> list[str]:
    """Return a data set's files in the hub's cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repository, repo_type="dataset", local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return []
    return _readable([file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()])


def _on_hub(repository: str) -> tuple[list[str], str]:
    """Return a data set's files on the hub, or none and why."""
    from huggingface_hub import HfApi

    files, why = hub_access.ask(lambda: HfApi().list_repo_files(repository, repo_type="dataset"))
    return _readable(files or []), why


def _readable(files: Sequence[str]) -> list[str]:
    return sorted(file for file in files if PurePosixPath(file).suffix.lower() in _READ
                  and PurePosixPath(file).name != "dataset_infos.json")  # fmt: skip


def _download(repository: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, file, repo_type="dataset"))
    except Exception as error:  # as above: gated, gone, broken off, a full disk
        raise UserError(f"{repository}/{file}: cannot be downloaded ({short(error)}); a gated data set needs its "
                        "licence accepted on its hub page, then `hf auth login` (or HF_TOKEN)") from None  # fmt: skip
