"""A fused folder as a GGUF file that llama.cpp reads as training did, and a Modelfile with which Ollama serves it.

Takes a folder that `fuse` wrote and the prompter of its adapter.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mlx_trace.errors import UserError
from mlx_trace.files import read_json, read_text, write_atomically
from mlx_trace.model.base import read_tokenizer
from mlx_trace.model.gguf.write import check_gguf, write_gguf
from mlx_trace.model.prompts import Prompter
from mlx_trace.modelfile import MARK, begins_prompts, begins_texts, modelfile
from mlx_trace.notice import hushed, tell

MODELFILE: Final = "Modelfile"
_CONTEXT: Final = 2048  # of a model that does not say


def write_for_llama_cpp(folder: Path, file: Path, kind: str, prompter: Prompter) -> Path:
    """Write a fused folder's weights, of a kind such as f16, as a new GGUF file; return the Modelfile beside it."""
    beside = file.parent / MODELFILE
    with _begun_as_asked(folder, prompter) as source:
        text = _modelfile(source, file, prompter)
        with hushed():  # the check before has told it
            write_gguf(source, file, kind)
    if beside.exists() and f"FROM {_from(text)}\n" not in read_text(beside):
        tell(f"{beside}: was another GGUF file's, and is {file.name}'s now")
    write_atomically(beside, [text])
    return beside


def check_for_llama_cpp(folder: Path, file: Path, prompter: Prompter) -> None:
    """Refuse a base of whose fused folder no GGUF file or no Modelfile could be written, before it is fused."""
    with _begun_as_asked(folder, prompter) as source:
        _modelfile(source, file, prompter)
        check_gguf(source)


def _modelfile(folder: Path, file: Path, prompter: Prompter) -> str:
    context = read_json(folder / "config.json").get("max_position_embeddings") or _CONTEXT
    return modelfile(prompter, read_tokenizer(folder, {}), file.name, int(context))


def _from(text: str) -> str:
    """Return the file that a Modelfile is of."""
    return next(line for line in text.splitlines() if line.startswith("FROM ")).removeprefix("FROM ")


def check_new_gguf(file: Path) -> None:
    """Refuse a path at which no new GGUF file, and no Modelfile beside it, can be written."""
    if file.is_dir():
        raise UserError(f"{file}: is a directory; --gguf names a file")
    if file.exists():
        raise UserError(f"{file}: exists already; a GGUF file is written anew")
    beside = file.parent / MODELFILE
    if beside.exists() and not (beside.is_file() and read_text(beside).startswith(MARK)):
        raise UserError(f"{beside}: exists already, and another one is written beside {file.name}")
    existing = next(path for path in file.absolute().parents if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{file}: {existing} cannot be written to")


@contextmanager
def _begun_as_asked(folder: Path, prompter: Prompter) -> Iterator[Path]:
    """Yield a folder whose tokenizer begins a text with a token only if prompts begin with it.

    llama.cpp begins a conversation with what the tokenizer begins a text with, whatever the chat template says.
    """
    tokenizer = read_tokenizer(folder, {})
    if not begins_texts(tokenizer) or begins_prompts(prompter):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        twin = Path(temporary) / folder.name
        twin.mkdir()
        for path in folder.iterdir():
            (twin / path.name).symlink_to(path.absolute())
        content = read_json(folder / "tokenizer.json")
        (twin / "tokenizer.json").unlink()
        (twin / "tokenizer.json").write_text(json.dumps(_without_begin(content)), encoding="utf-8")
        yield twin


def _without_begin(content: dict[str, Any]) -> dict[str, Any]:
    return content | {"post_processor": None}
