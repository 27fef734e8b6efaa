"""Upload an adapter or a model to the Hugging Face hub: what goes is listed before, by exact names, and nothing else.

Takes a folder and a card's text; one commit, whole or not at all. Paths of this machine are made names in what is
sent, and tokens are made unreadable in all that is sent or said.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

import yaml

from mlx_trace.card import MADE, Form
from mlx_trace.errors import UserError, one_line
from mlx_trace.files import read_json, read_text
from mlx_trace.hub_access import network_error
from mlx_trace.model.adapter import ADAPTER_WEIGHTS, read_adapter_config
from mlx_trace.model.chat_template import CHAT_TEMPLATE
from mlx_trace.model.config_json import CONFIG_JSON
from mlx_trace.model.exchange import ABOUT
from mlx_trace.model.hub import is_hub_name, is_whole
from mlx_trace.model.peft import PEFT_WEIGHTS, check_peft
from mlx_trace.notice import tell
from mlx_trace.run_files import ADAPTER_CONFIG, CONFIG_FILE, METRICS_FILE
from mlx_trace.yaml_text import read_yaml

README: Final = "README.md"
_KNOWN: Final[dict[Form, tuple[str, ...]]] = {  # what may go of each form
    "adapter": (ADAPTER_CONFIG, ADAPTER_WEIGHTS, CHAT_TEMPLATE, CONFIG_FILE, METRICS_FILE),
    "peft": (ADAPTER_CONFIG, PEFT_WEIGHTS, CHAT_TEMPLATE, ABOUT),
    "model": (CONFIG_JSON, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
              "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", CHAT_TEMPLATE,
              "model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json", "*.gguf", "Modelfile"),
}  # fmt: skip
_BASE_KEYS: Final = ("model", "base_model_name_or_path")
_PATH: Final = re.compile(r"(?:~|\.\.|[A-Za-z]:)?(?:[/\\][^/\\\n]+){2,}[/\\]?|(?:~|\.\.)[/\\][^\n]*")
_NAMES_OF_PATHS: Final = ("_name_or_path", "name_or_path")  # where transformers notes from where it loaded
_TOKEN: Final = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{20,}")
_HIDDEN: Final = "hf_…"


@dataclass(frozen=True, slots=True)
class UploadFile:
    """One file of an upload: its name there, and its bytes or where they are."""

    name: str
    content: Path | bytes

    @property
    def size(self) -> int:
        """Return how many bytes go."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def redacted(text: str, token: str | None = None) -> str:
    """Return text in which no token can be read."""
    shown = text.replace(token, _HIDDEN) if token else text
    return _TOKEN.sub(_HIDDEN, shown)


def form_of(folder: Path) -> Form:
    """Tell what a folder holds: an adapter of ours or mlx-lm's, one of PEFT's, or a model. UserError if none, whole."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    if (folder / PEFT_WEIGHTS).is_file():
        check_peft(read_json(folder / ADAPTER_CONFIG), str(folder / ADAPTER_CONFIG))
        return "peft"
    if (folder / ADAPTER_CONFIG).is_file():
        read_adapter_config(folder)
        return "adapter"
    if is_whole(folder):
        return "model"
    raise UserError(f"{folder}: neither an adapter ({ADAPTER_CONFIG} and weights) nor a model ({CONFIG_JSON}, a "
                    "tokenizer and weights), or not whole")  # fmt: skip


def base_name_of(folder: Path, form: Form) -> str | None:
    """Return what a folder of a form says its base is; a model does not."""
    if form == "adapter":
        return read_adapter_config(folder).model
    if form == "peft":
        return check_peft(read_json(folder / ADAPTER_CONFIG), str(folder / ADAPTER_CONFIG)).base_model_name_or_path
    return None


def upload_files(folder: Path, form: Form, base: str | None, card: str) -> list[UploadFile]:
    """Return what goes of a folder, its card first; `base` stands for the base where a path of this machine did."""
    paths = [path for pattern in _KNOWN[form] for path in sorted(folder.glob(pattern)) if path.is_file()]
    own = folder / README
    text = read_text(own) if own.is_file() else card
    files = [UploadFile(README, redacted(text).encode())]
    return files + [UploadFile(path.name, _cleaned(path, base)) for path in paths]


def _cleaned(path: Path, base: str | None) -> Path | bytes:
    """Return a file as it is sent: settings without this machine's paths and without tokens, all else as it is."""
    if path.name not in (ADAPTER_CONFIG, CONFIG_FILE, ABOUT, CONFIG_JSON, "tokenizer_config.json"):
        return path
    is_yaml, is_ours = path.suffix == ".yaml", path.name in (ADAPTER_CONFIG, CONFIG_FILE, ABOUT)
    content = read_yaml(read_text(path), str(path)) if is_yaml else read_json(path)
    clean = _without_paths(content, base) if is_ours else _without_names(content)
    if clean != content:
        text = yaml.safe_dump(clean, sort_keys=False, allow_unicode=True) if is_yaml else json.dumps(clean, indent=2)
        return redacted(text.rstrip("\n") + "\n").encode()
    text = read_text(path)
    return path if redacted(text) == text else redacted(text).encode()


def _without_paths(content: Any, base: str | None, key: str = "") -> Any:
    if isinstance(content, dict):
        return {name: _without_paths(value, base, str(name)) for name, value in content.items()}
    if isinstance(content, list):
        return [_without_paths(value, base, key) for value in content]
    if not isinstance(content, str) or not _PATH.fullmatch(content):
        return content
    return base if base and key in _BASE_KEYS else PurePath(content.replace("\\", "/")).name


def _without_names(content: Any) -> Any:
    """Return a model's settings without the notes of where it was loaded from."""
    if not isinstance(content, dict):
        return content
    return {key: value for key, value in content.items() if key not in _NAMES_OF_PATHS}


# --- to the hub ------------------------------------------------------------------------------------------------


def check_repository(name: str) -> None:
    """Refuse what is no repository's name."""
    if not is_hub_name(name) or len(name) > 96 or "--" in name or ".." in name:
        raise UserError(f"{redacted(name)!r} is no repository of the hub: owner/name")


def push(files: Sequence[UploadFile], repository: str, is_private: bool, message: str) -> str:
    """Make a repository if there is none, commit the files to it at once, and return its address."""
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    token = get_token()
    if not token:
        raise UserError("there is no token to write to the hub with: `hf auth login`, or set HF_TOKEN; one that may "
                        "write is made at https://huggingface.co/settings/tokens")  # fmt: skip
    api = HfApi(token=token)
    with _told(repository, token):
        address = str(api.create_repo(repository, private=is_private or None, exist_ok=True))
        there = api.model_info(repository)
        if is_private and not there.private:
            raise UserError(f"{repository}: is there already, and public; --private makes new ones so")
        names = [file.rfilename for file in there.siblings or []]
        if any(_is_made(file) for file in files) and _is_written_by_hand(api, repository, names):
            tell(f"{repository}: its {README} was written by hand, and stays")
            files = [file for file in files if file.name != README]
        adds = [CommitOperationAdd(file.name, file.content) for file in files]
        api.create_commit(repository, adds, commit_message=redacted(message, token))
    return redacted(address, token)


def _is_made(file: UploadFile) -> bool:
    """Tell whether a file is a card of ours, and no one's own."""
    return file.name == README and isinstance(file.content, bytes) and MADE.encode() in file.content


def _is_written_by_hand(api: Any, repository: str, names: Sequence[str]) -> bool:
    """Tell whether a repository has a card that is not one of ours."""
    if README not in names:
        return False
    with tempfile.TemporaryDirectory() as folder:
        file = Path(api.hf_hub_download(repository, README, local_dir=folder))
        return MADE not in file.read_text(encoding="utf-8", errors="replace")


@contextmanager
def _told(repository: str, token: str) -> Iterator[None]:
    """Say in a line what the hub has against an upload."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, network_error()) as error:
        cause = (
            error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        )  # of one file's upload
        status = getattr(getattr(cause, "response", None), "status_code", None)
        said = _in_words(status, repository) or f"cannot be reached, or refuses ({one_line(cause)})"
        raise UserError(redacted(f"{repository}: the hub {said}", token)) from None


def _in_words(status: int | None, repository: str) -> str:
    """Return what a status means for whoever pushes; nothing of one that speaks for itself."""
    if status is not None and status >= 500:
        return f"has a fault of its own ({status}); try again later: nothing is committed in part"
    return {
        401: "does not accept the token: `hf auth login` takes a new one (or set HF_TOKEN)",
        403: f"does not let this token write there: it needs the role write, for {repository.partition('/')[0]}",
        404: "knows no such repository, or none that this token may see",
        409: "has it changed by someone else at this moment; push again",
        412: "has it changed by someone else at this moment; push again",
        429: "has had too many requests from you; try again later",
    }.get(status or 0, "")
