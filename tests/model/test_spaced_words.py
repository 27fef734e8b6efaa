"""Word by word a text has the ids that the tokenizer gives the whole, or is known not to have them."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from mlx_trace.model.spaced_words import SpacedWords
from mlx_trace.resources import tiny_dir
from tests.decode.grammar.families import PATTERNS

TEXTS = st.text(st.sampled_from("ab Z_19.,?!$%:;'\"(-/½é \n"), max_size=40) | st.text(max_size=20)
CORPUS = [
    "a box has 12 eggs, and 3 boxes have 36 eggs.",
    "how many eggs? $5 a box, 20% off!",
    "a ab abZ: 19. ab? b'a",
] * 3


@cache
def tokenizer(name: str) -> Tokenizer:
    if name == "tiny":
        return Tokenizer.from_file(str(tiny_dir() / "tokenizer.json"))
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(PATTERNS.get(name, [pre_tokenizers.ByteLevel(False, use_regex=False)]))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, show_progress=False, initial_alphabet=alphabet)
    )
    return made


@cache
def spaced(name: str) -> SpacedWords:
    return SpacedWords(tokenizer(name))


@pytest.mark.parametrize("name", ["tiny", *PATTERNS])
@given(text=TEXTS)
def test_words_have_the_ids_of_the_whole(name: str, text: str) -> None:
    whole = tokenizer(name).encode(text, add_special_tokens=False).ids
    assert spaced(name).is_exact
    assert spaced(name).ids(text) == whole
    assert spaced(name).ids(text) == whole, "the second time, too"


def test_a_tokenizer_whose_tokens_reach_across_spaces_is_none() -> None:
    assert not spaced("whole texts").is_exact


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlx_trace.model.spaced_words._MOST_WORDS", 5)
    words = SpacedWords(tokenizer("tiny"))
    for number in range(20):
        words.ids(f"a word{number}")
        assert len(words._ids) <= 5
