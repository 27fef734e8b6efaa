"""The tiny base's tokenizer for llama.cpp, which has no way to cut text as it does: the nearest there is.

`superbpe` cuts numbers as the tiny base does, by thousands, and nothing else. What kept merges within words is gone, so
that those which reach over a space come last: most texts then give the same tokens, and the caller is to say "most".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlx_trace.files import read_json
from mlx_trace.resources import tiny_dir

NEAREST: Final = "superbpe"
_SPACE: Final = "Ġ"  # a space, as byte-level tokens have it


def is_cut_as_tiny(content: Mapping[str, Any]) -> bool:
    """Tell whether a tokenizer.json cuts text as the bundled tiny base's does."""
    return bool(content["pre_tokenizer"] == read_json(tiny_dir() / "tokenizer.json")["pre_tokenizer"])


def tiny_tokenizer(cut: str, tokens: Mapping[str, int]) -> dict[str, Any] | None:
    """Return the tiny base's own tokenizer.json, if a file's way to cut and its tokens say that it was written so.

    Traces, which hold "value: 12", are cut otherwise by the nearest rule: read with it, a model would not know them.
    """
    content = dict(read_json(tiny_dir() / "tokenizer.json"))
    own = content["model"]["vocab"] | {token["content"]: token["id"] for token in content["added_tokens"]}
    return content if cut == NEAREST and tokens == own else None


def near_merges(merges: Sequence[Sequence[str]], vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return merges by which uncut words become the tokens that they are when cut."""
    early = [(left, right) for left, right in merges if not _ends_in_space(left + right)]
    late = [(token[:-1], _SPACE) for token in vocabulary if _ends_in_space(token) and token[:-1] in vocabulary]
    return early + late


def _ends_in_space(token: str) -> bool:
    return token.endswith(_SPACE) and token.strip(_SPACE) != ""
