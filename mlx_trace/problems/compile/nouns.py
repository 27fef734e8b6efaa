"""A question as words, and which of them are nouns: by word lists and endings, no parser."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from mlx_trace.problems.compile.words import (
    ADJECTIVES,
    GENERIC,
    IRREGULAR,
    JOINED,
    MEASURES,
    NOUNS,
    NUMBERS,
    PLURALS,
    SKIPPED,
    STATES,
    STOPS,
    UNCOUNTED,
    VERBS,
)
from mlx_trace.problems.skeleton import people

_TOKEN: Final = re.compile(
    r"(?:Mrs?|Ms|Dr)\.|[A-Za-z]+n['’]t\b|(?<![A-Za-z]['’])[A-Za-z]+|[.!?:;,]|/(?=[A-Za-z])|\d+(?:[.,/]\d+)*"
)
SENTENCE_ENDS: Final = frozenset(".!?")
_ENDINGS: Final = ("ed", "ly", "ing")  # of what is rarely a noun
_UNKNOWN: Final = (NUMBERS | STOPS | VERBS | SKIPPED | ADJECTIVES | GENERIC) - {"dozen"}  # no noun among them
_SIGNS: Final = {"/": "per", "'t": "not", "’t": "not"}
_DETERMINERS: Final = frozenset("a an each every per".split())
_BEFORE_NOUNS: Final = SKIPPED | ADJECTIVES | frozenset("a an the".split())


class Words:
    """A question as words in lower case, but for names; with where each begins."""

    def __init__(self, question: str) -> None:
        self.question = question
        self.words: list[str] = []
        self.starts: list[int] = []
        end = 0
        for token in _TOKEN.finditer(question):
            word = _SIGNS.get(token[0][-2:], token[0])
            gap = question[end : token.start()]
            end = token.end()
            last = self.words[-1] if self.words else ""
            if (gap == "-" and last[-1:].isalpha() and last.lower() not in NUMBERS) or (
                gap == " " and last in JOINED and is_noun(word)
            ):
                self.words[-1] = f"{last}_{word.lower()}"
                continue
            self.words.append(word)
            self.starts.append(token.start())
        self._lower()

    def _lower(self) -> None:
        """Put all but names in lower case: a sentence's first word is a name if it is known or seen as one."""
        first = [True, *(word in SENTENCE_ENDS for word in self.words)]
        seen = {word for word, begins in zip(self.words, first, strict=False) if word[0].isupper() and not begins}
        for index, word in enumerate(self.words):
            if not word[0].isupper():
                continue
            low = word.lower()
            known = word in people()
            begins = first[index] and not (known or word in seen or self._acts(index))
            common = index > 0 and self.words[index - 1] in _DETERMINERS and not known
            if (low in _UNKNOWN and word != "May") or word.isupper() or begins or common:
                self.words[index] = low

    def _acts(self, index: int) -> bool:
        """Tell whether a sentence's first word, no plural, owns or does something, as only somebody does."""
        following = self.words[index + 1] if index + 1 < len(self.words) else ""
        end = self.starts[index] + len(self.words[index])
        return self.question[end : end + 2] in ("'s", "’s") or (
            not is_plural(self.words[index].lower()) and (following in STATES or following in VERBS)
        )


@lru_cache(maxsize=64)
def words_in(text: str) -> Words:
    """Return a text's words, made once for all who look at a row: its question and the lines of its solution."""
    return Words(text)


@lru_cache(maxsize=8192)
def is_noun(word: str) -> bool:
    """Tell whether a word in lower case is likely a noun; a name is none."""
    if word in _UNKNOWN or len(word) < 2 or not word[0].islower():
        return False
    return not word.endswith(_ENDINGS) or word in NOUNS


@lru_cache(maxsize=8192)
def is_plural(word: str) -> bool:
    """Tell whether a noun is likely a plural."""
    return word in PLURALS or (word.endswith("s") and not word.endswith(("ss", "us", "is")) and word not in UNCOUNTED)


def nouns(words: list[str]) -> Iterator[str]:
    """Yield the words that are likely nouns."""
    return filter(is_noun, words)


def head_of(words: Iterable[str], singular: bool = False) -> str:
    """Return the last of the nouns that words begin with, past their adjectives: pot of `a clay pot holds`."""
    head = ""
    for word in words:
        if is_noun(word):
            if head and singular and is_plural(word):
                break
            head = word
        elif head or not (word in _BEFORE_NOUNS or word.endswith(_ENDINGS)):
            break
    return head


def many(noun: str) -> str:
    """Return a plain plural: a name needs no better one."""
    if noun in IRREGULAR or is_plural(noun) or (noun in MEASURES and len(noun) <= 2):
        return IRREGULAR.get(noun, noun)
    if noun.endswith("y") and noun[-2:-1] not in ("a", "e", "o"):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def one(noun: str) -> str:
    """Return a plain singular."""
    if noun.endswith("ies"):
        return noun[:-3] + "y"
    if noun.endswith(("sses", "xes", "ches", "shes")):
        return noun[:-2]
    return noun.removesuffix("s") if is_plural(noun) else noun
