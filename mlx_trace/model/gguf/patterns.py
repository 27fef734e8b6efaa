"""How byte-level tokenizers cut text before they merge, by the name that GGUF has for each way.

The same table serves both directions: from a name to a `tokenizers` pre-tokenizer, and from tokenizer.json to a name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

_BYTES: Final = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
_GPT2_BYTES: Final = {**_BYTES, "use_regex": True}
_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_CONTRACTIONS: Final = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES: Final = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_TAIL: Final = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"
_TAIL_WITH_SLASHES: Final = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
_WORDS: Final = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED: Final = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


_QWEN2: Final = _sequence(_split(rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_TAIL}"), _BYTES)


@dataclass(frozen=True, slots=True)
class Cut:
    """A way to cut: the pre-tokenizer as tokenizer.json has it, and what llama.cpp does along with it."""

    pre_tokenizer: dict[str, Any]
    ignore_merges: bool = False  # a piece that is a token is that token, whatever the merges make of it
    adds_bos: bool = False  # unless the file says
    normalizer: dict[str, Any] | None = None


CUTS: Final[Mapping[str, Cut]] = {
    "gpt-2": Cut(_GPT2_BYTES),
    "smollm": Cut(_sequence({"type": "Digits", "individual_digits": True}, _GPT2_BYTES)),
    "llama-bpe": Cut(_sequence(_split(rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_TAIL}"), _BYTES),
                     ignore_merges=True, adds_bos=True),
    "qwen2": Cut(_QWEN2, normalizer={"type": "NFC"}),
    "deepseek-r1-qwen": Cut(_QWEN2),  # the same, but for composed letters
    "tekken": Cut(_sequence(_split(rf"{_CASED}|\p{{N}}|{_TAIL_WITH_SLASHES}"), _BYTES),
                  ignore_merges=True, adds_bos=True),
    # digits in threes from the right, and nothing else is cut: merges may run from word to word
    "superbpe": Cut(_sequence(_split(r"\p{N}+"), _split("(?=([0-9]{3})+(?![0-9]))"), _BYTES)),
    "default": Cut(_sequence(_split(r"[\p{P}\$\+<=>\^~\|]+"), _split(_GPT2), _split(r"\p{N}+"),
                             _split("[0-9][0-9][0-9]"), _BYTES)),
}  # fmt: skip
# SmolLM3's files say smaug-bpe: Llama 3's tokenizer, which begins no text with a token. llama.cpp does without
# ignore_merges there, unlike the tokenizer; that shows in a few words of other languages than English.
_ALSO_READ: Final = {"llama3": CUTS["llama-bpe"], "llama-v3": CUTS["llama-bpe"],
                     "smaug-bpe": replace(CUTS["llama-bpe"], adds_bos=False)}  # fmt: skip


def cut_named(name: str) -> Cut | None:
    """Return the cut that GGUF calls so, or None if it is not known here."""
    return CUTS.get(name) or _ALSO_READ.get(name)


def name_of_cut(pre_tokenizer: Mapping[str, Any] | None, normalizer: Mapping[str, Any] | None) -> str | None:
    """Return GGUF's name for the way that a tokenizer.json normalises and cuts text, or None if it has no name."""
    wanted = _plain(pre_tokenizer), _plain(normalizer)
    return next((name for name, cut in CUTS.items()
                 if (_plain(cut.pre_tokenizer), _plain(cut.normalizer)) == wanted), None)  # fmt: skip


def _plain(step: Mapping[str, Any] | None) -> str:
    """Return a step in one spelling: what has no effect on ids is left out."""
    if step is None:
        return ""
    if step["type"] == "Sequence":
        inner = step.get("pretokenizers") or step.get("normalizers") or []
        steps = [_plain(part) for part in inner]
        return steps[0] if len(steps) == 1 else " then ".join(steps)
    return json.dumps({key: value for key, value in step.items() if key != "trim_offsets"}, sort_keys=True)
