"""An example token by token: its texts are the whole, and what is in the loss is what training counts."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.config import Config
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas
from mlx_trace.train.examples import Example, examples
from mlx_trace.train.masked import masked_tokens
from tests.conftest import byte_level_tokenizer, sentencepiece_tokenizer


@pytest.mark.parametrize("loss", ["all", "choices"])
def test_the_loss_is_what_training_counts_and_the_text_is_whole(random_base: Base, loss: str) -> None:
    config = Config.model_validate({"loss": loss, "name_weight": 0.5 if loss == "choices" else 1.0})
    prompter = Prompter(random_base.tokenizer, config.prompt)
    problems = generate_balanced(select_schemas([], load_schemas()), 4, 0)
    decode: Any = random_base.tokenizer.decode
    for example in examples(problems, prompter, 4000, held_to=config.decoding if loss == "choices" else None):
        tokens = masked_tokens(example, decode, config.name_weight)
        assert "".join(token.text for token in tokens) == decode([*example.prompt, *example.target])
        uses = [token.use for token in tokens]
        assert uses[: len(example.prompt)] == ["context"] * len(example.prompt)
        target = uses[len(example.prompt) :]
        assert [at for at, use in enumerate(target) if use in ("loss", "spelled")] == list(example.counted)
        assert "context" not in target and ("forced" in target) == ("spelled" in target) == (loss == "choices")


@pytest.mark.parametrize("make", [byte_level_tokenizer, sentencepiece_tokenizer])
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=20), seed=st.integers())
def test_characters_of_several_tokens_are_whole(make: Any, text: str, seed: int) -> None:
    tokenizer = TOKENIZERS.setdefault(make, make())
    ids = tokenizer.encode(text, add_special_tokens=False)
    cut = random.Random(seed).randint(0, len(ids))
    tokens = masked_tokens(Example(ids[:cut], ids[cut:]), tokenizer.decode)
    assert len(tokens) == len(ids)
    assert "".join(token.text for token in tokens) == tokenizer.decode(ids)


TOKENIZERS: dict[Any, Any] = {}
