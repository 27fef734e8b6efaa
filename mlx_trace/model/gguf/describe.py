"""A tokenizer as GGUF's metadata says it: tokens, kinds, merges or scores, and the tokens that have a role.

Takes a model directory's tokenizer; the inverse of `tokenizer`. What llama.cpp would tokenise differently is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlx_trace.errors import UserError
from mlx_trace.model.gguf.near import NEAREST, is_cut_as_tiny, near_merges
from mlx_trace.model.gguf.patterns import CUTS, name_of_cut
from mlx_trace.model.gguf.pieces import is_complete, scores_from_merges
from mlx_trace.model.gguf.tokenizer import (
    BYTE,
    BYTE_LEVEL,
    CONTROL,
    END_KEYS,
    ENDS,
    NORMAL,
    ROLES,
    SENTENCEPIECE,
    SPACE,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
)
from mlx_trace.notice import tell

_FILLER: Final = "[PAD{}]"  # what stands for an embedding that no token has
_BPE_USUAL: Final = {"dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
_PREPENDED: Final = {"type": "Prepend", "prepend": SPACE}
_REPLACED: Final = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}


@dataclass(frozen=True, slots=True)
class _Tokenizer:
    """What a directory's tokenizer is, once it is loaded: its JSON, and transformers' own object."""

    where: str
    content: Mapping[str, Any]
    loaded: Any

    @property
    def model(self) -> Mapping[str, Any]:
        model: Mapping[str, Any] = self.content["model"]
        return model

    def refuse(self, what: str) -> UserError:
        return UserError(f"{self.where}: llama.cpp would cut text in other tokens: {what}")


def describe_tokenizer(directory: Path, num_rows: int, end_ids: Sequence[int]) -> dict[str, Any]:
    """Return GGUF's `tokenizer.*` keys, by full name, for a directory's tokenizer and so many embeddings."""
    from transformers import PreTrainedTokenizerFast

    if not (directory / "tokenizer.json").is_file():
        raise UserError(f"{directory}: it has no tokenizer.json")
    loaded = PreTrainedTokenizerFast.from_pretrained(directory, clean_up_tokenization_spaces=False)
    tokenizer = _Tokenizer(str(directory), json.loads(loaded.backend_tokenizer.to_str()), loaded)
    _check_model(tokenizer)
    kind = SENTENCEPIECE if tokenizer.model["byte_fallback"] else BYTE_LEVEL
    own = _sentencepiece(tokenizer, num_rows) if kind == SENTENCEPIECE else _byte_level(tokenizer)
    tokens, kinds = _tokens(tokenizer, num_rows, kind)
    keys = {"model": kind, **own, "tokens": tokens, "token_type": kinds, **_roles(tokenizer, tokens, kinds, end_ids),
            **_around(tokenizer)}  # fmt: skip
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items()} | _template(loaded)


def _check_model(tokenizer: _Tokenizer) -> None:
    model = tokenizer.model
    if model["type"] != "BPE":
        raise UserError(f"{tokenizer.where}: a tokenizer of type {model['type']}; GGUF files are written of BPE ones")
    if any(model.get(key, usual) not in (usual, "") for key, usual in _BPE_USUAL.items()):
        raise tokenizer.refuse("it has dropout, or marks the inside or the end of words")
    for token in tokenizer.content["added_tokens"]:
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            raise tokenizer.refuse(f"{token['content']!r} takes the space beside it, or is found only between spaces")


def _byte_level(tokenizer: _Tokenizer) -> dict[str, Any]:
    name = name_of_cut(tokenizer.content["pre_tokenizer"], tokenizer.content["normalizer"])
    if name is None and is_cut_as_tiny(tokenizer.content):
        tell("llama.cpp has no rule that cuts text as the tiny base does, and the file gets the nearest one: "
             "earlier replies, and questions with two spaces in a row, get other tokens there")  # fmt: skip
        merges = near_merges(tokenizer.model["merges"], tokenizer.model["vocab"])
        return {"pre": NEAREST, "merges": [_joined(tokenizer, merge) for merge in merges]}
    if name is None:
        raise tokenizer.refuse(
            f"it has no name for how this tokenizer cuts text before it merges; {', '.join(CUTS)} it has"
        )
    if tokenizer.model["ignore_merges"] != CUTS[name].ignore_merges and not _are_merged(tokenizer):
        raise tokenizer.refuse("some of its tokens cannot be merged from their parts")
    return {"pre": name, "merges": [_joined(tokenizer, merge) for merge in tokenizer.model["merges"]]}


def _are_merged(tokenizer: _Tokenizer) -> bool:
    """Tell whether every token comes out of its own merges, so that looking it up first changes nothing."""
    from tokenizers import models

    merges = [tuple(merge) for merge in tokenizer.model["merges"]]
    model = models.BPE(vocab=dict(tokenizer.model["vocab"]), merges=merges)
    added = {token["content"] for token in tokenizer.content["added_tokens"]}
    return all(len(model.tokenize(token)) == 1 for token in tokenizer.model["vocab"] if token not in added)


def _joined(tokenizer: _Tokenizer, merge: Sequence[str]) -> str:
    left, right = merge
    if " " in left or " " in right:
        raise tokenizer.refuse(f"the merge of {left!r} and {right!r} has a space in it")
    return f"{left} {right}"


def _sentencepiece(tokenizer: _Tokenizer, num_rows: int) -> dict[str, Any]:
    merges = [(left, right) for left, right in tokenizer.model["merges"]]
    pieces: dict[str, int] = dict(tokenizer.model["vocab"])
    if not is_complete(merges, pieces):
        raise tokenizer.refuse("its merges are not those of SentencePiece's scores")
    scores = scores_from_merges(merges)
    by_id = {id_: scores.get(piece, 0.0) for piece, id_ in pieces.items()}
    return {"pre": "default", "scores": [by_id.get(id_, 0.0) for id_ in range(num_rows)],
            "add_space_prefix": _has_prefix(tokenizer)}  # fmt: skip


def _has_prefix(tokenizer: _Tokenizer) -> bool:
    """Tell whether a space is put before every stretch of text; the ways to say so are few."""
    normalizer, cut = tokenizer.content["normalizer"], tokenizer.content["pre_tokenizer"]
    steps = (normalizer or {}).get("normalizers", [normalizer] if normalizer else [])
    if cut is None and steps in ([_PREPENDED, _REPLACED], [_REPLACED]):
        return len(steps) == 2
    if not steps and cut and cut["type"] == "Metaspace" and cut["replacement"] == SPACE and not cut.get("split", True):
        if cut["prepend_scheme"] in ("always", "never"):
            return bool(cut["prepend_scheme"] == "always")
        raise tokenizer.refuse("this tokenizer puts a space before the first word only, llama.cpp after special tokens "
                               "too")  # fmt: skip
    raise tokenizer.refuse("this tokenizer treats spaces in a way of its own")


def _tokens(tokenizer: _Tokenizer, num_rows: int, kind: str) -> tuple[list[str], list[int]]:
    tokens, kinds = [_FILLER.format(id_) for id_ in range(num_rows)], [UNUSED] * num_rows
    added = {token["content"]: token["special"] for token in tokenizer.content["added_tokens"]}
    numbers = {token["content"]: token["id"] for token in tokenizer.content["added_tokens"]}
    ids = dict(tokenizer.model["vocab"]) | numbers
    if too_many := [token for token, id_ in ids.items() if id_ >= num_rows]:
        raise UserError(f"{tokenizer.where}: the token {too_many[0]!r} has no embedding; there are {num_rows:,}")
    for token, id_ in ids.items():
        tokens[id_] = token
        kinds[id_] = (CONTROL if added[token] else USER_DEFINED) if token in added else NORMAL
    if kind == SENTENCEPIECE:
        for byte in range(256):
            kinds[ids[f"<0x{byte:02X}>"]] = BYTE
        if (unknown := tokenizer.model["unk_token"]) is not None:
            kinds[ids[unknown]] = UNKNOWN
    if twice := len(tokens) - len(set(tokens)):
        raise UserError(f"{tokenizer.where}: {twice} tokens stand twice")
    return tokens, kinds


def _roles(tokenizer: _Tokenizer, tokens: Sequence[str], kinds: Sequence[int], ends: Sequence[int]) -> dict[str, int]:
    """Return the ids of tokens with a role; ends that llama.cpp does not know by their text need a key of their own."""
    ids = {key: getattr(tokenizer.loaded, f"{role}_token_id") for role, key in ROLES.items()}
    ends = list(dict.fromkeys([*([ids["eos_token_id"]] if ids["eos_token_id"] is not None else []), *ends]))
    if not ends:
        raise UserError(f"{tokenizer.where}: it has no end-of-sequence token")
    unknown = [end for end in ends[1:] if tokens[end] not in ENDS or kinds[end] not in (CONTROL, USER_DEFINED)]
    keys = [key for key in END_KEYS if key != "eos_token_id"]
    if len(unknown) > len(keys):
        raise UserError(f"{tokenizer.where}: {len(ends)} tokens end a reply; GGUF has room for {len(keys) + 1}")
    known = {key: int(id_) for key, id_ in ids.items() if id_ is not None}
    return known | {"eos_token_id": ends[0]} | dict(zip(keys, unknown, strict=False))


def _around(tokenizer: _Tokenizer) -> dict[str, bool]:
    """Return whether a text gets a begin- and an end-of-sequence token, as an encoded text shows."""
    bare, whole = (tokenizer.loaded.encode("a", add_special_tokens=special) for special in (False, True))
    start = whole.index(bare[0]) if bare else 0
    before, after = whole[:start], whole[start + len(bare) :]
    bos, eos = [tokenizer.loaded.bos_token_id], [tokenizer.loaded.eos_token_id]
    if before not in ([], bos) or after not in ([], eos):
        raise tokenizer.refuse("it puts other tokens around a text than those that begin and end a sequence")
    return {"add_bos_token": before == bos, "add_eos_token": after == eos}


def _template(loaded: Any) -> dict[str, Any]:
    template = loaded.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    return {"tokenizer.chat_template": template} if template else {}
