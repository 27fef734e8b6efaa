"""A model's own tokens as the automaton needs them: canonical tokens of fixed words, and masks of open slots.

Takes a tokenizer of the byte-level or the SentencePiece family. Knows nothing of traces, networks or MLX.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from string import ascii_letters, digits
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlx_trace.errors import UserError

_MOST_WORDS: Final = 200_000  # remembered; names are without end
_MARKS: Final = frozenset("Ġ▁")  # how a token shows its leading space: byte-level, SentencePiece

_IDENTIFIER: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_NAME: Final = rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})*\.?"
OPEN: Final[dict[str, re.Pattern[str]]] = {
    "first": re.compile(f" (?:{_NAME})?", re.ASCII),  # begins a name, with the space before it
    "bare": re.compile(_NAME, re.ASCII),  # begins one after a space of its own, or after a dot
    "more": re.compile(rf"[A-Za-z0-9_]+(?:\.{_IDENTIFIER})*\.?|(?:\.{_IDENTIFIER})+\.?|\.", re.ASCII),
    "spaced": re.compile(" [0-9]+", re.ASCII),  # begins a number, with the space before it
    "digits": re.compile("[0-9]+", re.ASCII),
    "point": re.compile("[0-9]+|[./]", re.ASCII),
    "below": re.compile("[1-9][0-9]*", re.ASCII),  # begins a denominator
}


Opening = tuple[tuple[int, ...], str]  # the tokens before a number's digits, and the kind of slot that they begin


class Mask(NamedTuple):
    """The name of a set of tokens: those whose text continues an open slot of this kind by 1 to `limit` characters.

    The space that begins a `first` counts as a character.
    """

    kind: str
    limit: int


class Vocabulary:
    """Tokens of one tokenizer. A *word* is text from one safe place to cut to another.

    Safe is the place before a space that follows no space, and the one after a newline: no token of these families
    reaches across, so that words are tokenized one by one. UserError if a tokenizer does otherwise.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._encode = _encoder(tokenizer)
        self._words: dict[str, tuple[int, ...]] = {}
        self._masks: dict[Mask, NDArray[np.bool_]] = {}
        pieces = dict(sorted((index, piece) for piece, index in tokenizer.get_vocab().items()))
        self.size = max(pieces) + 1
        found = {pieces[index][:1] for index in self._encode(": a")} & _MARKS
        if len(found) != 1:
            raise UserError("constraint: the tokenizer is neither byte-level nor SentencePiece; use constraint: none")
        mark = found.pop()
        special = set(getattr(tokenizer, "all_special_ids", ()))
        self.texts = {  # of the tokens that may stand in an open slot
            index: text
            for index, piece in pieces.items()
            if index not in special
            and (text := " " + piece[1:] if piece.startswith(mark) else piece).isascii()
            and any(pattern.fullmatch(text) for pattern in OPEN.values())
        }
        self._lengths: dict[str, NDArray[np.int64]] = {}
        self._openings: dict[str, list[Opening]] = {}
        self.longest = max(map(len, self.texts.values()))
        self.singles = {text: index for index, text in self.texts.items() if len(text) == 1}
        self._anchors = {text: self._encode(text) for text in ("a:", "\n")}
        self._check()

    def word(self, text: str) -> tuple[int, ...]:
        """Return the canonical tokens of a text that begins and ends where it is safe to cut."""
        tokens = self._words.get(text)
        if tokens is None:
            anchor = "a:" if text[0] == " " and text[1:2] != " " else "\n"
            before = self._anchors[anchor]
            whole = self._encode(anchor + text)
            if whole[: len(before)] != before:
                raise UserError("constraint: the tokenizer merges across spaces or lines; use constraint: none")
            if len(self._words) >= _MOST_WORDS:
                self._words.clear()
            tokens = self._words[text] = tuple(whole[len(before) :])
        return tokens

    def end(self, text: str) -> tuple[int, ...]:
        """Return the tokens of what ends a name or a number, such as a comma."""
        return self.word(f" ab{text}")[len(self.word(" ab")) :]

    def openings(self, key: str) -> list[Opening]:
        """Return how the model may come to the digits of ` key: 5`: tokens, and the kind of open slot that then begins.

        Some tokenizers let a number's digits bring the space along, all of them or only some.
        """
        if key not in self._openings:
            found: dict[Opening, None] = {}
            for digit in digits:
                *before, last = self.word(f" {key}: {digit}")
                found[tuple(before), "digits" if self.texts[last] == digit else "spaced"] = None
            space = self.singles.get(" ")
            spaced = [(before[:-1], "spaced") for before, _ in found if before[-1] == space]
            self._openings[key] = list(found | dict.fromkeys(spaced if self._measured("spaced").any() else []))
        return self._openings[key]

    def mask(self, name: Mask) -> NDArray[np.bool_]:
        """Return a named set of tokens as booleans (size,)."""
        if name not in self._masks:
            lengths = self._measured(name.kind)
            self._masks[name] = (lengths > 0) & (lengths <= name.limit)
        return self._masks[name]

    def _measured(self, kind: str) -> NDArray[np.int64]:
        """Return the characters of each token that fits a kind of open slot, 0 for the others, (size,)."""
        if kind not in self._lengths:
            lengths = self._lengths[kind] = np.zeros(self.size, dtype=np.int64)
            for index, text in self.texts.items():
                if OPEN[kind].fullmatch(text):
                    lengths[index] = len(text)
        return self._lengths[kind]

    def _check(self) -> None:
        """Make sure that every character has a token, and that words are tokenized alone as in a whole trace."""
        if missing := sorted(set(ascii_letters + digits + "_./") - set(self.singles)):
            raise UserError(f"constraint: the tokenizer has no token for {' '.join(missing)}; use constraint: none")
        for sample in _SAMPLES:
            words = [token for word in split_words(sample) for token in self.word(word)]
            whole = self._encode("\n" + sample)
            if whole != [*self._anchors["\n"], *words]:
                raise UserError("constraint: the tokenizer merges across spaces or lines; use constraint: none")


@lru_cache(maxsize=2)
def vocabulary_of(tokenizer: Any) -> Vocabulary:
    """Return a tokenizer's vocabulary, made once: with 128k tokens that takes a third of a second."""
    return Vocabulary(tokenizer)


_CUT: Final = re.compile(r"(?<=\n)|(?<=[^ \n])(?= )")
_SAMPLES: Final = (
    "expert: percentage\ntrace:\n- {op: init, var: price_per_item, value: 1234.5}\n- {op: init, var: x, value: 1/3}\n"
    "- {op: percent_off, base: price_per_item, rate: x, var: step1}\n"
    "- {op: compute, compute_op: mul, args: [step1, x, bob.apples], var: result}\n- {op: query, var: result}\n```",
    "- expert: entity_track\n  trace:\n  - {op: init, var: eggs, value: 70}\n"
    "  - {op: transfer, from: eggs, to: ann, amount: 5}\n  - {op: query, var: eggs}\n- expert: arithmetic\n  trace:\n"
    "  - {op: init, var: a, source: prev.result}\n  - {op: query, var: b}\n```",
)


def split_words(text: str) -> list[str]:
    """Cut a canonical text where the automaton does: not before a number or a brace, whose space some tokenizers give
    to what stands before it."""
    words = _CUT.split(text)
    merged: list[str] = []
    for word in words:
        if word[:1] == " " and (word[1:2].isdigit() or word[1:2] == "{"):
            merged[-1] += word
        else:
            merged.append(word)
    return merged


def _encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    """Return text → ids without special tokens: the Rust tokenizer itself where there is one, far faster."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        return lambda text: list(fast.encode(text, add_special_tokens=False).ids)
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False))
