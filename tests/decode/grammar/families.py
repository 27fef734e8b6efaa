"""Small tokenizers of the families that models come with, trained on traces so that merges reach as far as they can."""

import json
from functools import cache
from typing import Any, Final

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas

_PUNCTUATED: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN: Final = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS: Final[dict[str, list[Any]]] = {
    "GPT-2": [pre_tokenizers.ByteLevel(False)],
    "SmolLM": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)],
    "Qwen2": [pre_tokenizers.Split(Regex(_PUNCTUATED % r"\p{N}"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)],
    "Llama 3": [pre_tokenizers.Split(Regex(_PUNCTUATED % r"\p{N}{1,3}"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)],
    "Tekken": [pre_tokenizers.Split(Regex(_TEKKEN), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)],
}  # fmt: skip
NAMES: Final = (*PATTERNS, "Gemma", "Gemma by words")
_OWN: Final = ("Llama 3", "Tekken")  # which take a whole word that is a token as it is, merges or not
_MARKERS: Final = ["<|bos|>", "<|end|>", "<|user|>", "<|assistant|>"]
_TEMPLATE: Final = "{{ bos_token }}{% for m in messages %}<|user|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"


@cache
def corpus() -> tuple[str, ...]:
    """Return replies and questions to train on: single traces and compositions."""
    drawn = generate_balanced(list(load_schemas().values()), 300, seed=3)
    return tuple(f"{p.question}\n```yaml\n{p.trace}\n```" for p in drawn)


@cache
def trained(name: str, size: int = 3000) -> Any:
    """Return a family's tokenizer, as transformers loads them; without special tokens in its texts' way."""
    from transformers import PreTrainedTokenizerFast

    tokens = _gemma(name, size) if name.startswith("Gemma") else _byte_level(name, size)
    return PreTrainedTokenizerFast(tokenizer_object=tokens, bos_token="<|bos|>", eos_token="<|end|>",
                                   chat_template=_TEMPLATE, clean_up_tokenization_spaces=False)  # fmt: skip


def _byte_level(name: str, size: int) -> Tokenizer:
    tokens = Tokenizer(models.BPE(ignore_merges=name in _OWN))
    tokens.pre_tokenizer = pre_tokenizers.Sequence(PATTERNS[name])
    tokens.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=_MARKERS, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
    tokens.train_from_iterator(corpus(), trainer)
    return tokens


def _gemma(name: str, size: int) -> Tokenizer:
    """SentencePiece without a space before the text; its merges stop at nothing, or, "by words", where spaces begin."""
    tokens = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokens.normalizer = normalizers.Replace(" ", "▁")
    tokens.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokens.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    special = [*_MARKERS, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    if name == "Gemma":
        tokens.train_from_iterator(corpus(), trainer)
    else:
        pieces = Tokenizer(tokens.model)
        pieces.pre_tokenizer = pre_tokenizers.Split(Regex(r"▁?[A-Za-z_]+|[0-9]|▁?[^A-Za-z0-9_▁\n]+|▁|\n"), "isolated")
        pieces.train_from_iterator([text.replace(" ", "▁") for text in corpus()], trainer)
        tokens.model = pieces.model
        tokens.add_special_tokens(_MARKERS)
    content = json.loads(tokens.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if not token["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(content))
