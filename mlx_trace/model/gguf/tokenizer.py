"""A tokenizer out of a GGUF file's metadata: tokenizer.json as `tokenizers` reads it, and tokenizer_config.json.

Takes a Header; gives the same ids as the tokenizer that the file was made from. Knows nothing of the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mlx_trace.errors import UserError
from mlx_trace.model.gguf.header import Header
from mlx_trace.model.gguf.near import tiny_tokenizer
from mlx_trace.model.gguf.patterns import CUTS, cut_named
from mlx_trace.model.gguf.pieces import merges_from_scores

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
BYTE_LEVEL, SENTENCEPIECE = "gpt2", "llama"  # GGUF's names of the two kinds
SPACE: Final = "▁"
PREFIX: Final = "tokenizer.ggml."
# tokens after which llama.cpp stops, whatever the file calls the end of sequence
ENDS: Final = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<end_of_turn>",
               "<EOT>")  # fmt: skip
ROLES: Final = {"bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "pad": "padding_token_id"}
END_KEYS: Final = ("eos_token_id", "eot_token_id", "eom_token_id")


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The tokens by id, each with its kind, and those that have a role; as far as they are used."""

    tokens: Sequence[str]
    kinds: Sequence[int]
    roles: Mapping[str, int]
    end_ids: Sequence[int]  # the end of sequence first

    @property
    def ids(self) -> dict[str, int]:
        """Return the id of every token that is used."""
        return {token: id_ for id_, token in enumerate(self.tokens) if self.kinds[id_] != UNUSED}


def read_vocabulary(header: Header, num_rows: int) -> TokenTable:
    """Return a file's tokens; UserError if there are none, more than embeddings, or two that are the same."""
    tokens = _list(header, "tokens", str)
    if not tokens:
        raise UserError(f"{header.path}: it holds no tokenizer ({PREFIX}tokens)")
    if len(tokens) > num_rows:
        raise UserError(f"{header.path}: {len(tokens):,} tokens, and embeddings for {num_rows:,}")
    kinds = list(_list(header, "token_type", int) or [NORMAL] * len(tokens))
    if len(kinds) != len(tokens):
        raise UserError(f"{header.path}: {len(tokens):,} tokens, and types of {len(kinds):,}")
    roles = {role: id_ for role, key in ROLES.items() if (id_ := _id(header, key, len(tokens))) is not None}
    if "eos" not in roles:
        raise UserError(f"{header.path}: the metadata names no {PREFIX}eos_token_id, so no reply would end")
    ends = [id_ for key in END_KEYS if (id_ := _id(header, key, len(tokens))) is not None]
    for id_ in (*roles.values(), *ends):
        kinds[id_] = kinds[id_] if kinds[id_] in (UNKNOWN, USER_DEFINED) else CONTROL
    ends += [id_ for id_, token in enumerate(tokens) if token in ENDS and kinds[id_] in (CONTROL, USER_DEFINED)]
    table = TokenTable(tokens, kinds, roles, list(dict.fromkeys(ends)))
    if len(table.ids) < sum(kind != UNUSED for kind in kinds):
        twice = next(token for id_, token in enumerate(tokens) if table.ids.get(token, id_) != id_)
        raise UserError(f"{header.path}: the token {twice!r} stands twice")
    return table


def _list(header: Header, key: str, kind: type) -> list[Any]:
    values = header.metadata.get(PREFIX + key, [])
    if not isinstance(values, list) or (values and not isinstance(values[0], kind)):
        raise UserError(f"{header.path}: damaged: {PREFIX}{key} is not a list of {kind.__name__}")
    return values


def _id(header: Header, key: str, count: int) -> int | None:
    id_ = header.metadata.get(PREFIX + key)
    if id_ is None:
        return None
    if not isinstance(id_, int) or isinstance(id_, bool) or id_ < -1:
        raise UserError(f"{header.path}: damaged: {PREFIX}{key} is {id_!r}")
    return id_ if 0 <= id_ < count else None  # all ones, or a token that does not exist: none


def _flag(header: Header, key: str, default: bool) -> bool:
    return bool(header.metadata.get(PREFIX + key, default))


# --- tokenizer.json --------------------------------------------------------------------------------------------


def tokenizer_json(header: Header, vocabulary: TokenTable) -> dict[str, Any]:
    """Return tokenizer.json's content; UserError names a kind or a way to cut text that is not known."""
    kind = header.metadata.get(PREFIX + "model")
    if kind == BYTE_LEVEL:
        return _byte_level(header, vocabulary)
    if kind == SENTENCEPIECE:
        return _sentencepiece(header, vocabulary)
    raise UserError(f"{header.path}: a tokenizer of kind {kind!r}; {BYTE_LEVEL!r} (byte-level BPE) and "
                    f"{SENTENCEPIECE!r} (SentencePiece) are read")  # fmt: skip


def _byte_level(header: Header, vocabulary: TokenTable) -> dict[str, Any]:
    name = header.metadata.get(PREFIX + "pre", "default")
    cut = cut_named(name) if isinstance(name, str) else None
    if cut is None:
        raise UserError(f"{header.path}: its tokenizer cuts text in a way ({PREFIX}pre is {name!r}) that is not known; "
                        f"{', '.join(CUTS)} are")  # fmt: skip
    if own := tiny_tokenizer(str(name), vocabulary.ids):
        return own
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": _added(vocabulary),
        "normalizer": cut.normalizer,
        "pre_tokenizer": cut.pre_tokenizer,
        "post_processor": _post_processor(header, vocabulary, cut.adds_bos),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": _bpe(vocabulary, _merges(header, vocabulary), ignore_merges=cut.ignore_merges),
    }  # fmt: skip


def _sentencepiece(header: Header, vocabulary: TokenTable) -> dict[str, Any]:
    scores = _list(header, "scores", float)
    if len(scores) != len(vocabulary.tokens):
        raise UserError(f"{header.path}: {len(vocabulary.tokens):,} tokens, and scores of {len(scores):,}")
    prefix = _flag(header, "add_space_prefix", True)
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    before = [{"type": "Prepend", "prepend": SPACE}] if prefix else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []
    back = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    unknown = vocabulary.roles.get(
        "unk", next((id_ for id_, kind in enumerate(vocabulary.kinds) if kind == UNKNOWN), None)
    )
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": _added(vocabulary),
        "normalizer": {"type": "Sequence", "normalizers": [*before, replace]},
        "pre_tokenizer": None,
        "post_processor": _post_processor(header, vocabulary, adds_bos=True),
        "decoder": {"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip]},
        "model": _bpe(vocabulary, merges_from_scores(vocabulary.ids, scores), byte_fallback=True, fuse_unk=True,
                      unk_token=None if unknown is None else vocabulary.tokens[unknown]),
    }  # fmt: skip


def _bpe(vocabulary: TokenTable, merges: Sequence[tuple[str, str]], **options: Any) -> dict[str, Any]:
    usual = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}  # fmt: skip
    return usual | options | {"vocab": vocabulary.ids, "merges": [list(merge) for merge in merges]}


def _merges(header: Header, vocabulary: TokenTable) -> list[tuple[str, str]]:
    ids = vocabulary.ids
    merges = []
    for index, text in enumerate(_list(header, "merges", str)):
        left, right = text[:1] + text[1:].partition(" ")[0], text[1:].partition(" ")[2]
        if left not in ids or right not in ids or left + right not in ids:
            raise UserError(f"{header.path}: damaged: merge {index} ({text!r}) is not of tokens")
        merges.append((left, right))
    return merges


def _added(vocabulary: TokenTable) -> list[dict[str, Any]]:
    """Return the tokens that are found in text before anything is cut; those that a reader never sees are special."""
    return [{"id": id_, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": vocabulary.kinds[id_] != USER_DEFINED}
            for id_, token in enumerate(vocabulary.tokens)
            if vocabulary.kinds[id_] in (UNKNOWN, CONTROL, USER_DEFINED)]  # fmt: skip


def _post_processor(header: Header, vocabulary: TokenTable, adds_bos: bool) -> dict[str, Any] | None:
    """Return what puts the begin- and the end-of-sequence token around a text, if the file wants that."""
    first = [vocabulary.roles["bos"]] if _flag(header, "add_bos_token", adds_bos) and "bos" in vocabulary.roles else []
    last = [vocabulary.roles["eos"]] if _flag(header, "add_eos_token", False) else []
    if not first and not last:
        return None
    tokens = {id_: vocabulary.tokens[id_] for id_ in (*first, *last)}

    def around(name: str, type_id: int) -> list[dict[str, Any]]:
        token = [[{"SpecialToken": {"id": tokens[id_], "type_id": type_id}} for id_ in side] for side in (first, last)]
        return [*token[0], {"Sequence": {"id": name, "type_id": type_id}}, *token[1]]

    return {
        "type": "TemplateProcessing", "single": around("A", 0), "pair": [*around("A", 0), *around("B", 1)],
        "special_tokens": {token: {"id": token, "ids": [id_], "tokens": [token]} for id_, token in tokens.items()},
    }  # fmt: skip


# --- tokenizer_config.json -------------------------------------------------------------------------------------


def tokenizer_config(header: Header, vocabulary: TokenTable, context: int) -> dict[str, Any]:
    """Return tokenizer_config.json's content: the tokens that have a role, and the chat template."""
    roles = {f"{role}_token": vocabulary.tokens[id_] for role, id_ in vocabulary.roles.items()}
    template = header.metadata.get("tokenizer.chat_template")
    if template is not None and not isinstance(template, str):
        raise UserError(f"{header.path}: damaged: tokenizer.chat_template is not text")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **roles,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        **({"chat_template": template} if template else {}),
    }
