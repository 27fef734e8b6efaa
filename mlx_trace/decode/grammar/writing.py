"""Texts as tokens: what is written, and the choice between runs of tokens, down to the token at which they part.

Takes a vocabulary and how many tokens there may be. Knows nothing of traces.
"""

from collections.abc import Generator, Mapping, Sequence
from itertools import count
from typing import Any, Final, NamedTuple

from mlx_trace.decode.grammar.rules import Stands
from mlx_trace.decode.grammar.vocabulary import Mask, Vocabulary

LONGEST_NUMERAL: Final = 16  # characters of a number that the model spells itself
OPENINGS: Final = {-1: "digits", -2: "spaced"}  # what stands for the first digits of a number the model spells itself


class Choice(NamedTuple):
    """The tokens that may come next: those of a mask, if one is named, and those listed."""

    mask: Mask | None
    ids: tuple[int, ...]


Walk = Generator[Choice, int, Any]
Run = tuple[tuple[int, ...], Any]  # tokens, and what they stand for


class Writing:
    """What is written of a text of at most `max_tokens`: `ids` are its tokens so far."""

    def __init__(self, vocabulary: Vocabulary, max_tokens: int) -> None:
        self.ids: list[int] = []
        self._vocabulary, self._max_tokens = vocabulary, max_tokens

    @property
    def _room(self) -> int:
        return self._max_tokens - len(self.ids)

    def _write(self, text: str) -> None:
        self.ids.extend(self._vocabulary.word(text))

    def _pick(self, options: Mapping[str, Any], left: int = 0, stands: Stands | None = None) -> Walk:
        """Let the model write one of some texts, of those that leave so many tokens; return what it stands for."""
        return (yield from self._choose(self._fitting(options, left, stands)))

    def _fitting(self, options: Mapping[str, Any], left: int, stands: Stands | None = None) -> list[Run]:
        """Return the texts that leave so many tokens; of those the ones that stand by the rules, if any does."""
        word, room = self._vocabulary.word, self._room - left
        runs = [(tokens, value) for text, value in options.items() if len(tokens := word(text)) <= room]
        return runs if stands is None else [run for run in runs if stands(run[1])] or runs

    def _choose(self, runs: Sequence[Run]) -> Walk:
        """Let the model write one of some runs of tokens; return what it stands for. Where they agree, it is forced.

        A run may end in one of `OPENINGS`: there the choice is among a mask's tokens, and stands for None.
        """
        for depth in count():
            if len(runs) == 1 and runs[0][0][-1] >= 0:
                self.ids.extend(runs[0][0][depth:])
                return runs[0][1]
            ids = tuple(dict.fromkeys(tokens[depth] for tokens, _ in runs))
            listed = tuple(token for token in ids if token >= 0)
            if len(ids) == 1 and listed:
                self.ids.append(ids[0])
                continue
            mask = next((Mask(OPENINGS[token], LONGEST_NUMERAL // 2) for token in ids if token < 0), None)
            token = yield Choice(mask, listed)
            if token not in listed:
                return None
            runs = [run for run in runs if run[0][depth] == token]
