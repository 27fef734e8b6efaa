"""Words are tokenized as in a whole trace, masks hold what they say, and a tokenizer that breaks this is refused."""

import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from string import ascii_letters, digits
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from mlx_trace.decode.grammar import vocabulary as module
from mlx_trace.decode.grammar.vocabulary import OPEN, Mask, Vocabulary
from mlx_trace.errors import UserError
from mlx_trace.language.syntax import Trace, render
from mlx_trace.resources import tiny_dir
from tests.conftest import byte_level_tokenizer, sentencepiece_tokenizer
from tests.decode.grammar import families
from tests.language.traces import running_parts, traces

FAMILIES = ["tiny", "byte-level", "SentencePiece", *families.NAMES]
CANONICAL = [name for name in FAMILIES if name != "Gemma"]  # whose whole traces have the tokens of their words
CHARACTERS = ascii_letters + digits + " _./:,-+{}[]`\n"
ANCHOR = "a"  # what stands before a token, so that its space is shown


@cache
def tokenizer(family: str) -> Any:
    """Return the bundled tiny base's tokenizer, or a small one of either family."""
    from transformers import PreTrainedTokenizerFast

    makers: dict[str, Callable[[], Any]]
    makers = {"byte-level": byte_level_tokenizer, "SentencePiece": sentencepiece_tokenizer,
              "tiny": lambda: PreTrainedTokenizerFast.from_pretrained(tiny_dir())}  # fmt: skip
    return makers[family]() if family in makers else families.trained(family)


@cache
def vocabulary(family: str) -> Vocabulary:
    """Return the vocabulary of a family's tokenizer."""
    return Vocabulary(tokenizer(family))


@cache
def token_texts(family: str) -> list[str]:
    """Return what each token writes, as the tokenizer itself decodes it."""
    rust = tokenizer(family).backend_tokenizer
    before = rust.encode(ANCHOR, add_special_tokens=False).ids
    return [rust.decode([*before, index])[len(ANCHOR) :] for index in range(vocabulary(family).size)]


def encode(family: str, text: str) -> tuple[int, ...]:
    """Return the tokens of a whole text at the beginning of a line, as after the fence that opens a trace."""
    rust = tokenizer(family).backend_tokenizer
    before, whole = (tuple(rust.encode(shown, add_special_tokens=False).ids) for shown in ("\n", "\n" + text))
    assert whole[: len(before)] == before
    return whole[len(before) :]


def canonical(trace: Trace) -> str:
    """Return a trace's text, without the signs that numbers in questions never have."""
    return re.sub(" -(?=[0-9])", " ", render(trace)) + "\n```"


def made(merges: list[tuple[str, str]], split: str, characters: str = CHARACTERS) -> Any:
    """Return a byte-level tokenizer of single characters and these merges, within what the pattern keeps together."""
    from transformers import PreTrainedTokenizerFast

    shown = [{" ": "Ġ", "\n": "Ċ"}.get(character, character) for character in characters]
    pieces = dict.fromkeys([*shown, *map("".join, merges)])
    tokens = Tokenizer(models.BPE(vocab={piece: at for at, piece in enumerate(pieces)}, merges=merges))
    tokens.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"),
                                                    pre_tokenizers.ByteLevel(False, use_regex=False)])  # fmt: skip
    tokens.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokens)


WORDS = r" ?\w+| ?[^\s\w]+|\s+"
POINTED = r" ?[A-Za-z_]+|[0-9]+| ?[^\s\w]+ (?=[0-9])| ?[^\s\w]+|\s+"  # a colon takes the space before a number along
SPACED_DIGITS = [("Ġ", digit) for digit in digits]


# --- words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", CANONICAL)
@settings(max_examples=60)
@given(trace=traces() | traces(running_parts()))
def test_words_alone_are_the_tokens_of_the_whole_text(family: str, trace: Trace) -> None:
    text = canonical(trace)
    assert vocabulary(family).is_canonical
    assert vocabulary(family).word(text) == encode(family, text)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20)
@given(trace=traces() | traces(running_parts()))
def test_the_tokens_of_words_write_the_text(family: str, trace: Trace) -> None:
    rust, text = tokenizer(family).backend_tokenizer, canonical(trace)
    before = rust.encode("\n", add_special_tokens=False).ids
    assert rust.decode([*before, *vocabulary(family).word(text)], skip_special_tokens=False) == f"\n{text}"


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20)
@given(trace=traces(running_parts()))
def test_a_word_may_reach_from_any_safe_place_to_any_other(family: str, trace: Trace) -> None:
    words = vocabulary(family).cut(canonical(trace))
    for start, end in pairwise(range(0, len(words) + 1, 3)):
        parts = [token for word in words[start:end] for token in vocabulary(family).word(word)]
        assert vocabulary(family).word("".join(words[start:end])) == tuple(parts)


@pytest.mark.parametrize("family", FAMILIES)
@given(trace=traces())
def test_cutting_loses_nothing(family: str, trace: Trace) -> None:
    assert "".join(vocabulary(family).cut(render(trace))) == render(trace)


@pytest.mark.parametrize("family", CANONICAL)
@pytest.mark.parametrize("end", [",", "}\n", "],", "]"])
def test_what_ends_a_name_is_tokenized_apart_from_it(family: str, end: str) -> None:
    for name in ("eggs", "x", "bob.cards", "step12", "16", "1/3", "a_b"):
        assert encode(family, f"a: {name}{end}") == encode(family, f"a: {name}") + vocabulary(family).end(end)


def test_remembered_words_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WORDS", 20)
    fresh = Vocabulary(tokenizer("byte-level"))
    for number in range(100):
        assert fresh.word(f" name{number}") == vocabulary("byte-level").word(f" name{number}")
        assert len(fresh._words) <= 20


# --- masks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", OPEN)
def test_a_mask_holds_exactly_the_tokens_that_fit_its_kind_and_limit(family: str, kind: str) -> None:
    special = set(tokenizer(family).all_special_ids)
    pieces = tokenizer(family).get_vocab()
    fallback = {at for piece, at in pieces.items() if (byte := re.fullmatch("<0x([0-9A-F]{2})>", piece))
                and (chr(int(byte[1], 16)) in pieces or chr(int(byte[1], 16)) not in ascii_letters + digits + "_./")}  # fmt: skip
    texts = ["" if at in special | fallback else text for at, text in enumerate(token_texts(family))]
    for limit in (1, 2, 5, 33):
        fitting = {at for at, text in enumerate(texts) if OPEN[kind].fullmatch(text) and len(text) <= limit}
        mask = vocabulary(family).mask(Mask(kind, limit))
        assert mask.shape == (vocabulary(family).size,)
        assert set(np.flatnonzero(mask).tolist()) == fitting


@pytest.mark.parametrize("family", FAMILIES)
def test_every_open_slot_can_be_continued_by_one_character(family: str) -> None:
    for kind in set(OPEN) - {"spaced"}:
        assert vocabulary(family).mask(Mask(kind, 2)).any()


# --- tokenizers that will not do -------------------------------------------------------------------------------


def test_a_tokenizer_of_neither_family_is_refused() -> None:
    from transformers import PreTrainedTokenizerFast

    tokens = Tokenizer(models.WordLevel({"<unk>": 0, ":": 1, "a": 2}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UserError, match="neither byte-level nor SentencePiece"):
        Vocabulary(PreTrainedTokenizerFast(tokenizer_object=tokens, unk_token="<unk>"))


@pytest.mark.parametrize("merge", [(",", "Ġ"), ("}", "Ċ-"), ("s", ","), ("ĊĠ", "Ġ-")])
def test_a_tokenizer_that_merges_across_words_has_tokens_of_our_own_for_traces(merge: tuple[str, str]) -> None:
    within = [pair for pair in [("Ċ", "-"), ("Ċ", "Ġ"), ("Ġ", "-")] if "".join(pair) in merge]
    tokens = made([*within, merge, *SPACED_DIGITS], split=r"[\s\S]+")
    words = Vocabulary(tokens)
    text = "- {op: init, var: eggs, value: 5}\n- {op: query, var: eggs}\n  - {op"
    assert not words.is_canonical
    assert "".join(merge) in tokens.tokenize(text)
    assert "".join(merge) not in tokens.convert_ids_to_tokens(words.word(text))


@pytest.mark.parametrize(("merge", "word"), [(("Ġ", "{"), "- {"), (("Ċ", "Ġ"), "}\n ")])
def test_where_a_family_may_merge_words_are_not_cut(merge: tuple[str, str], word: str) -> None:
    words = Vocabulary(made([merge], split=r"[\s\S]+"))
    assert words.is_canonical
    text = "- {op: init, var: eggs, value: 5}\n  - {op: query, var: eggs}\n"
    assert any(word in each for each in words.cut(text))


def test_a_tokenizer_that_does_not_give_the_text_back_is_refused() -> None:
    lossy = made([(",", "Ġ")], split=r"[\s\S]+")
    lossy.backend_tokenizer.decoder = decoders.Sequence(
        [decoders.ByteLevel(), decoders.Strip(" ", 0, 1), decoders.Replace("{", "(")]
    )
    with pytest.raises(UserError, match="does not give a trace's text back"):
        Vocabulary(lossy)


@pytest.mark.parametrize("missing", ["Q", "7", "_", "/"])
def test_a_tokenizer_without_some_letter_is_refused(missing: str) -> None:
    with pytest.raises(UserError, match=f"no token for {missing};"):
        Vocabulary(made([], WORDS, CHARACTERS.replace(missing, "")))


# --- openings of numbers ---------------------------------------------------------------------------------------


def opened(tokens: Any) -> list[tuple[str, str]]:
    """Return the openings of `value`: the last piece before the digits, and the kind of slot that begins."""
    return [(tokens.convert_ids_to_tokens(before[-1]), kind) for before, kind in Vocabulary(tokens).openings("value")]


def test_digits_may_bring_the_space_along() -> None:
    assert opened(made(SPACED_DIGITS, WORDS)) == [(":", "spaced")]


def test_the_space_before_digits_may_stand_alone() -> None:
    assert opened(made([], WORDS)) == [("Ġ", "digits")]


def test_some_digits_bring_their_space_along_and_others_do_not() -> None:
    for digit in "15":
        assert set(opened(made([("Ġ", digit)], WORDS))) == {("Ġ", "digits"), (":", "spaced")}


def test_the_colon_may_take_the_space_before_digits() -> None:
    assert opened(made([(":", "Ġ")], POINTED)) == [(":Ġ", "digits")]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", ["0", "7", "15", "16", "250", "1000", "0.5", "1/3"])
def test_every_number_begins_in_one_of_the_openings(family: str, number: str) -> None:
    tokens = vocabulary(family).word(f" value: {number}")
    assert any(
        tokens[: len(before)] == before and vocabulary(family).mask(Mask(kind, 9))[tokens[len(before)]]
        for before, kind in vocabulary(family).openings("value")
    )
