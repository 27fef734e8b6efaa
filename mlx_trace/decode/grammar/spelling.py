"""What the model spells itself, piece by piece: names, numbers where none is given, the words of a comment.

Each walk ends in time: after it as many tokens are left as it was told to leave. Knows nothing of steps.
"""

from collections.abc import Collection
from itertools import product
from string import ascii_lowercase
from typing import Final

from mlx_trace.decode.grammar.shortest import short_names
from mlx_trace.decode.grammar.vocabulary import Mask
from mlx_trace.decode.grammar.writing import LONGEST_NUMERAL, Choice, Walk, Writing
from mlx_trace.language.comments import LONGEST_COMMENT
from mlx_trace.language.outcome import outcome, written
from mlx_trace.language.steps import LONGEST_NAME

LONGEST_PIECE: Final = 32  # characters of a token in a comment
_SUFFIXES: Final = (*ascii_lowercase, *map("".join, product(ascii_lowercase, repeat=2)))
_OFFERED: Final = 8  # short names, where there is no room for others
_BEGUN: Final = 2  # characters of a result that a token brings with the equals sign


class Spelling(Writing):
    """The parts of a text that no list of options holds."""

    def _name(self, key: str, end: str, left: int, uses: int, taken: Collection[str]) -> Walk:
        """Let the model spell a name that is not taken; `uses` times the shortest ending would spell it again."""
        closing = self._vocabulary.end(end)
        after = left + len(closing) + 3  # a token of the name, and two letters that make it new
        spare = self._room - len(self._vocabulary.word(f" {key}:")) - after
        if (spare < 0) or (uses and spare // uses < 4):
            short = [name for name in short_names(self._vocabulary) if name not in taken][:_OFFERED]
            return (yield from self._pick({f" {key}: {name}{end}": name for name in short}, left))
        self._write(f" {key}:")
        name, kind = "", "first"
        while True:
            spare = self._room - after
            limit = min(LONGEST_NAME if spare >= 0 else 0, spare // uses - 3 if uses else LONGEST_NAME) - len(name)
            is_whole = name != "" and name[-1] not in "_." and name not in taken
            if limit < 1:
                break
            mask = Mask(kind, min(limit + (kind == "first"), self._vocabulary.longest))
            token = yield Choice(mask, closing[:1] if is_whole else ())
            if is_whole and token == closing[0]:
                self.ids.extend(closing[1:])
                return name
            name += self._vocabulary.texts[token].lstrip()
            kind = "bare" if name == "" or name[-1] == "." else "more"
        letters = [""] if is_whole else [letter for letter in _SUFFIXES if name + letter not in taken][:_OFFERED]
        singles = self._vocabulary.singles
        return (yield from self._choose([((*(singles[c] for c in new), *closing), name + new) for new in letters]))

    def _numeral(self, end: str, left: int) -> Walk:
        """Let the model go on with the number whose first digits are the last token."""
        closing = self._vocabulary.end(end)
        text = self._vocabulary.texts[self.ids[-1]].strip()
        while True:
            limit = self._digits_left(text, end, left)
            is_whole = text[-1:].isdigit()
            if is_whole and limit < 1:
                self.ids.extend(closing)
                return text
            kind = "below" if text[-1:] == "/" else "digits" if text == "" or "." in text or "/" in text else "point"
            token = yield Choice(Mask(kind, max(1, limit)), closing[:1] if is_whole else ())
            if is_whole and token == closing[0]:
                self.ids.extend(closing[1:])
                return text
            text += self._vocabulary.texts[token]

    def _digits_left(self, text: str, end: str, left: int) -> int:
        """Return how many characters a number may still grow by; a point or a slash needs one more."""
        spare = self._room - left - len(self._vocabulary.end(end)) - 2
        return LONGEST_NUMERAL - len(text) if spare >= 0 else 0

    def _prose(self, closing: tuple[int, ...], left: int, computes: bool) -> Walk:
        """Let the model write the words of a comment, after which `left` tokens must be left; return them.

        `computes`: behind an equals sign stands what the arithmetic before it comes to.
        """
        text, kind, after = "", "opening", left + len(closing)
        while len(text) <= LONGEST_COMMENT and self._room > after:
            if computes and (result := (yield from self._result(text, after))):
                text, kind = text + result, "behind"
                continue
            token = yield Choice(Mask(kind, LONGEST_PIECE), closing[:1] if text.strip() else ())
            if text.strip() and token == closing[0]:
                closing = closing[1:]
                break
            piece = self._vocabulary.prose[token]
            text += piece
            kind = "letter" if not text.strip() else kind if kind == "behind" and piece in ".," else "prose"
        self.ids.extend(closing)
        return text

    def _result(self, text: str, left: int) -> Walk:
        """Write what an equation comes to, of money with its sign if the model likes; "" where that is not known.

        A token may have written the result's first characters with the equals sign, as `=$` and `=-` do.
        """
        equation, sign, begun = text.rpartition("=")
        if not sign or len(begun) > _BEGUN or (value := outcome(equation)) is None:
            return ""
        number = written(value)
        wholes = (number, f"${number}") if "$" in text else (number,)
        rests = [whole[len(begun) :] for whole in wholes if whole.startswith(begun) and whole != begun]
        runs = [(self._vocabulary.behind(text, rest), rest) for rest in rests]
        runs = [run for run in runs if len(run[0]) <= self._room - left]
        return (yield from self._choose(runs)) if runs else ""
