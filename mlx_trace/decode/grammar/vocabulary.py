"""A model's own tokens as the automaton needs them: canonical tokens of fixed words, and masks of open slots.

Takes a tokenizer of the byte-level or the SentencePiece family. Knows nothing of traces, networks or MLX.
"""

import re
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from itertools import chain
from string import ascii_letters, digits
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlx_trace.errors import UserError
from mlx_trace.language.comments import PROSE

_MOST_WORDS: Final = 200_000  # remembered; names are without end
_LONGEST_WORD: Final = 200  # characters, of those remembered
_MARKS: Final = frozenset("Ġ▁")  # how a token shows its leading space: byte-level, SentencePiece
_FOREIGN: Final = ("§", "¤", "☃", "𝄞")  # characters that are in no trace, for tokenizers trained on nothing else
_BYTE: Final = re.compile("<0x([0-9A-F]{2})>")  # how SentencePiece shows a byte
_SPELT: Final = frozenset(ascii_letters + digits + "_./")  # what names and numbers are made of

_LINE: Final = re.compile(r"[^\n]*\n?")
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
_SAID: Final = f"[{re.escape(PROSE)}]"
COMMENT: Final[dict[str, re.Pattern[str]]] = {  # which tokens hold on to one line, and mark nothing
    "opening": re.compile(rf" (?:[A-Za-z]{_SAID}*)?"),  # begins a comment, with the space before it
    "letter": re.compile(rf"[A-Za-z]{_SAID}*"),  # begins one after a space of its own
    "prose": re.compile(rf"{_SAID}+"),
    "behind": re.compile(rf"(?![.,]?\d){_SAID}+"),  # goes on behind a whole number
}

Opening = tuple[tuple[int, ...], str]  # the tokens before a number's digits, and the kind of slot that they begin


_NUMERALS: Final = frozenset(("spaced", "digits", "point", "below"))


class Mask(NamedTuple):
    """The name of a set of tokens: those whose text continues an open slot of this kind by 1 to `limit` characters.

    The space that begins a `first` counts as a character.
    """

    kind: str
    limit: int

    @property
    def is_word(self) -> bool:
        """Tell whether it spells words, of a name or a comment, and no number."""
        return self.kind not in _NUMERALS


class Cuts(NamedTuple):
    """Where texts are cut into words. `lean`: an indentation but for its last space belongs to the line before it."""

    places: re.Pattern[str]
    lean: bool = False

    def words(self, text: str) -> list[str]:
        """Cut a text; none of the words is empty."""
        pieces = _COMMENT.split(text) if "#" in text else [text]
        return [word for piece in pieces for word in self.places.split(piece) if word]


_NAME_ENDS: Final = r"(?<=[A-Za-z0-9])(?=[,}\]])"
_SPACES: Final = r"(?<=[^ \n])(?= (?![-.0-9{]))"  # the space before a number or a brace may go with what is before it
_COMMENT: Final = re.compile(r"(?<=#)( [^\n]*)")  # is cut as if it stood by itself, from its mark and its end, too
_OPERANDS: Final = r"(?<=[^ \n])(?= )|(?<=[0-9])(?=[./])|(?<=[./])(?=[0-9])"
CANONICAL: Final = (  # of the families whose whole texts are what their words are
    Cuts(re.compile(rf"(?<=\n)|{_SPACES}|{_NAME_ENDS}")),
    Cuts(re.compile(rf"(?<=\n)(?! )|(?<=\n )(?= [^ ])|{_SPACES}|{_NAME_ENDS}"), lean=True),  # "\n " may be a token
)
OWN: Final = Cuts(re.compile(rf"(?<=\n)|{_OPERANDS}|{_NAME_ENDS}"))  # wherever the automaton may stop or go on


class Vocabulary:
    """Tokens of one tokenizer. A *word* is text from one place to cut to another, and is tokenized by itself.

    Cut is where no token of the tokenizer's family reaches across, so that words are the tokens of the whole text. If
    tokens reach across everywhere, `is_canonical` is False: a trace has more than one tokenization, and that of its
    words is the one to teach. UserError if the tokenizer cannot write all that a trace may hold.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._encode, self._decode = _encoder(tokenizer), _decoder(tokenizer)
        self._words: dict[str, tuple[int, ...]] = {}
        self._anchors: dict[str, list[int]] = {}
        self._masks: dict[Mask, NDArray[np.bool_]] = {}
        self._tokenizer = tokenizer
        pieces = _pieces(tokenizer)
        self.size = max(pieces) + 1
        special = set(getattr(tokenizer, "all_special_ids", ()))
        self.texts = _open_texts({index: piece for index, piece in pieces.items() if index not in special})
        self._lengths: dict[str, NDArray[np.int64]] = {}
        self._openings: dict[str, list[Opening]] = {}
        self._letters: dict[str, int] = {}  # that may stand in a comment
        self.longest = max(map(len, self.texts.values()))
        self.singles = {text: index for index, text in self.texts.items() if len(text) == 1}
        if missing := sorted(_SPELT - set(self.singles)):
            raise UserError(f"constraint: the tokenizer has no token for {' '.join(missing)}; use constraint: none")
        self._cuts = next((cuts for cuts in CANONICAL if self._holds(cuts)), OWN)
        self.is_canonical = self._cuts is not OWN
        if not self.is_canonical and not all(self._is_written(sample) for sample in _SAMPLES):
            raise UserError("constraint: the tokenizer does not give a trace's text back; use constraint: none")

    @cached_property
    def prose(self) -> dict[int, str]:
        """Return the texts of the tokens that may stand in a comment; UserError if they cannot write all of one."""
        special = set(getattr(self._tokenizer, "all_special_ids", ()))
        special |= set(getattr(self._tokenizer, "get_added_vocab", dict)().values())
        pieces = {index: piece for index, piece in _pieces(self._tokenizer).items() if index not in special}
        texts = _open_texts(pieces, COMMENT, frozenset(PROSE))
        if missing := sorted(set(PROSE) - set(texts.values())):
            raise UserError(f"prompt.trace_form: commented: the tokenizer has no token for {' '.join(missing)}")
        return texts

    def cut(self, text: str) -> list[str]:
        """Cut a text into words."""
        return self._cuts.words(text)

    def word(self, text: str) -> tuple[int, ...]:
        """Return the canonical tokens of a text that begins and ends where it may be cut: those of its words."""
        tokens = self._words.get(text)
        if tokens is None:
            if len(self._words) >= _MOST_WORDS:
                self._words.clear()
            words = self._lines(text) if len(text) > _LONGEST_WORD else self.cut(text)
            tokens = tuple(chain.from_iterable(map(self.word, words))) if len(words) > 1 else self._alone(text)
            if len(text) <= _LONGEST_WORD:  # a whole trace comes once
                self._words[text] = tokens
        return tokens

    def _lines(self, text: str) -> list[str]:
        """Cut a long text into its lines, most of which have been seen before, where each is whole words."""
        lines = [line for line in _LINE.findall(text) if line]
        return self.cut(text) if self._cuts.lean or len(lines) < 2 else lines

    def line(self, indent: str) -> tuple[str, str]:
        """Return what begins a line of this indentation, and what ends the one before it, newline and all."""
        return (indent[-1:], f"\n{indent[:-1]}") if self._cuts.lean else (indent, "\n")

    def _alone(self, word: str) -> tuple[int, ...]:
        """Return the tokens of a word as it stands in a text, behind something that does not merge with it."""
        usual = "a:" if word[0] == " " and word[1:2] != " " else "a" if word[0] in ",}]\n" else "\n"
        for anchor in (usual, *_FOREIGN):
            before, whole = self._anchored(anchor), self._encode(anchor + word)
            if whole[: len(before)] == before:
                return tuple(whole[len(before) :])
        raise UserError("constraint: the tokenizer merges a trace's words with anything; use constraint: none")

    def _anchored(self, anchor: str) -> list[int]:
        if anchor not in self._anchors:
            self._anchors[anchor] = self._encode(anchor)
        return self._anchors[anchor]

    def _holds(self, cuts: Cuts) -> bool:
        """Tell whether whole traces are tokenized as their words are."""
        words = map(cuts.words, _SAMPLES)
        wholes = (self._encode(f"\n{sample}") for sample in _SAMPLES)
        before = self._encode("\n")
        return all(
            whole == [*before, *(token for word in split for token in self._alone(word))]
            for split, whole in zip(words, wholes, strict=True)
        )

    def _is_written(self, text: str) -> bool:
        return self._decode([*self._encode("\n"), *self.word(text)]) == f"\n{text}"

    def end(self, text: str) -> tuple[int, ...]:
        """Return the tokens of what ends a name or a number, such as a comma."""
        return self.word(f" ab{text}")[len(self.word(" ab")) :]

    def behind(self, before: str, text: str) -> tuple[int, ...]:
        """Return the tokens of a text behind what a comment's line says so far; letter by letter where they merge."""
        start, whole = self.word(f"#{before}"), self.word(f"#{before}{text}")
        if whole[: len(start)] == start:
            return whole[len(start) :]
        if not self._letters:
            self._letters |= {said: index for index, said in self.prose.items() if len(said) == 1}
        return tuple(self._letters[letter] for letter in text)

    def openings(self, key: str) -> list[Opening]:
        """Return how the model may come to the digits of ` key: 5`: tokens, and the kind of open slot that then begins.

        Some tokenizers let a number's digits bring the space along, all of them or only some.
        """
        if key not in self._openings:
            openings: dict[Opening, None] = {}
            for digit in digits:
                *before, last = self.word(f" {key}: {digit}")
                openings[tuple(before), "digits" if self.texts[last] == digit else "spaced"] = None
            space = self.singles.get(" ")
            spaced = [(before[:-1], "spaced") for before, _ in openings if before[-1] == space]
            self._openings[key] = list(openings | dict.fromkeys(spaced if self._measured("spaced").any() else []))
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
            pattern, texts = (COMMENT[kind], self.prose) if kind in COMMENT else (OPEN[kind], self.texts)
            for index, text in texts.items():
                if pattern.fullmatch(text):
                    lengths[index] = len(text)
        return self._lengths[kind]


@lru_cache(maxsize=2)
def vocabulary_of(tokenizer: Any) -> Vocabulary:
    """Return a tokenizer's vocabulary, made once: with 128k tokens that takes a third of a second."""
    return Vocabulary(tokenizer)


def usable_vocabulary(tokenizer: Any) -> Vocabulary | None:
    """Return a tokenizer's vocabulary, or None if it has none that can hold traces."""
    try:
        return vocabulary_of(tokenizer)
    except UserError:
        return None


_SAMPLES: Final = (
    "expert: percentage\ntrace:\n- {op: init, var: price_per_item, value: 1234.5}\n- {op: init, var: x, value: 1/3}\n"
    "- {op: percent_off, base: price_per_item, rate: x, var: step1}\n"
    "- {op: compute, compute_op: mul, args: [step1, x, bob.apples], var: result}\n- {op: query, var: result}\n```",
    "expert: percentage\ntrace:\n- {op: percent_off, var: sale_price, base: price_per_item, rate: x}\n"
    "- {op: compute, var: eggs_left, compute_op: sub, args: [eggs, sale_price]}\n- {op: query, var: eggs_left}\n```",
    "- expert: entity_track\n  trace:\n  - {op: init, var: eggs, value: 70}\n"
    "  - {op: transfer, from: eggs, to: ann, amount: 5}\n  - {op: query, var: eggs}\n- expert: arithmetic\n  trace:\n"
    "  - {op: init, var: a, source: prev.result}\n  - {op: query, var: b}\n```",
)


def _pieces(tokenizer: Any) -> dict[int, str]:
    """Return how tokens show themselves."""
    return dict(sorted((index, piece) for piece, index in tokenizer.get_vocab().items()))


def _open_texts(
    pieces: dict[int, str], patterns: Mapping[str, re.Pattern[str]] = OPEN, characters: frozenset[str] = _SPELT
) -> dict[int, str]:
    """Return the texts of the tokens that may stand in an open slot, from how tokens show themselves.

    A SentencePiece tokenizer may spell characters by their bytes: where it has no other token for one, that one.
    """
    marks = [piece[0] for piece in pieces.values() if piece[:1] in _MARKS]
    if not marks:
        raise UserError("constraint: the tokenizer is neither byte-level nor SentencePiece; use constraint: none")
    mark = max(sorted(_MARKS), key=marks.count)  # the other one is then a letter like any
    texts = {
        index: text
        for index, piece in pieces.items()
        if (text := piece.replace(mark, " ")).isascii()
        and any(pattern.fullmatch(text) for pattern in patterns.values())
    }
    spelt = set(texts.values())
    for index, piece in pieces.items():
        if (byte := _BYTE.fullmatch(piece)) and chr(int(byte[1], 16)) in characters - spelt:
            texts[index] = chr(int(byte[1], 16))
    return texts


def _encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    """Return text → ids without special tokens: the Rust tokenizer itself where there is one, far faster."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        return lambda text: list(fast.encode(text, add_special_tokens=False).ids)
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False))


def _decoder(tokenizer: Any) -> Callable[[list[int]], str]:
    """Return ids → text, special tokens and all."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        return lambda ids: str(fast.decode(ids, skip_special_tokens=False))
    return lambda ids: str(tokenizer.decode(ids, skip_special_tokens=False))
