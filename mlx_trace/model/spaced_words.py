"""Text → token ids, word by word where a tokenizer lets words stand alone: questions have most of theirs in common.

Takes a tokenizer of the `tokenizers` library. Knows nothing of prompts.
"""

import re
from string import ascii_letters, digits
from typing import Any, Final

_BEFORE: Final = f"{ascii_letters}{digits},.?!"  # what may stand before the space that a word begins with,
_FIRST: Final = f"{ascii_letters}{digits}"  # and behind it
_CUT: Final = re.compile(r"(?<=[A-Za-z0-9,.?!])(?= [A-Za-z0-9])")
_MOST_WORDS: Final = 1 << 16  # remembered
_LONGEST_WORD: Final = 48  # characters, of those remembered


class SpacedWords:
    """The ids of texts, without special tokens; `is_exact` tells whether they are what the tokenizer gives the whole.

    A tokenizer that cuts a text before it looks for tokens finds none across a cut. That it cuts between all pairs of
    characters where this does is tried.
    """

    def __init__(self, rust: Any) -> None:
        self._rust = rust
        self._ids: dict[str, list[int]] = {}
        self.is_exact = _changes_nothing(rust) and _cuts_at_spaces(rust)

    def ids(self, text: str) -> list[int]:
        """Return a text's ids."""
        ids: list[int] = []
        for word in _CUT.split(text):
            known = self._ids.get(word)
            ids += self._encoded(word) if known is None else known
        return ids

    def _encoded(self, word: str) -> list[int]:
        ids: list[int] = self._rust.encode(word, add_special_tokens=False).ids
        if len(word) <= _LONGEST_WORD:
            if len(self._ids) >= _MOST_WORDS:
                self._ids.clear()
            self._ids[word] = ids
        return ids


def _changes_nothing(rust: Any) -> bool:
    """Tell whether nothing changes a word for what stands beside it, and no added token holds a space."""
    if rust.normalizer is not None and type(rust.normalizer).__name__ != "NFC":
        return False
    added = rust.get_added_tokens_decoder().values()
    return not any(token.lstrip or token.rstrip or " " in token.content for token in added)


def _cuts_at_spaces(rust: Any) -> bool:
    if rust.pre_tokenizer is None:
        return False
    pairs = [f"{before} {first}\n" for before in _BEFORE for first in _FIRST]
    starts = {start for _, (start, _) in rust.pre_tokenizer.pre_tokenize_str("".join(pairs))}
    return all(4 * index + 1 in starts for index in range(len(pairs)))
