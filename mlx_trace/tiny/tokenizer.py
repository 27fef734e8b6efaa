"""The tiny base's own tokenizer: a byte-level BPE trained on what the base reads, with its chat template.

Takes the text source and a size; writes the files that any Llama model directory has.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from mlx_trace.config import SYSTEM_PROMPT
from mlx_trace.model.prompts import CLOSING, OPENING
from mlx_trace.seeds import derive_seed
from mlx_trace.tiny.text import TinyText

SPECIAL: Final = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
PAD, END, SYSTEM, USER, ASSISTANT = range(len(SPECIAL))
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# Numbers by up to three digits, grouped as thousands are; words with the space before and the colon behind;
# runs of signs. Numbers never take the space before them, so that a number is the same token wherever it stands.
SPLIT: Final = (
    r"[0-9]{1,3}(?=(?:[0-9]{3})*(?![0-9]))| ?[A-Za-z_][A-Za-z0-9_]*(?:: (?=[-.0-9])|:)?"
    r"| ?[^\sA-Za-z0-9_]+(?: [^\sA-Za-z0-9_]+)*\n*|\s+"
)


def build_tokenizer(text: TinyText, vocab_size: int, seed: int) -> Tokenizer:
    """Train a byte-level BPE on the base's own reading, with every number below 1,000 and every name a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL), min_frequency=2, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(_corpus(text, seed), trainer)
    return tokenizer


def _corpus(text: TinyText, seed: int) -> Iterator[str]:
    for index in range(30_000):
        document = text.document(derive_seed("tokenizer", seed), index)
        yield document.prompt
        yield document.reply
    yield from [" ".join(map(str, range(1000)))] * 2000
    yield from [" ".join(f"{name} {name}: {name}: 1" for name in text.fields)] * 50
    yield from [" ".join(text.names) + " [" + "] [".join(text.names) + "]"] * 50
    yield from [OPENING, CLOSING, SYSTEM_PROMPT] * 100


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write tokenizer.json and what belongs to it."""
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=SPECIAL[END], pad_token=SPECIAL[PAD], clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )  # fmt: skip
    wrapped.save_pretrained(folder)
