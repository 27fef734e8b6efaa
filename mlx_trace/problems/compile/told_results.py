"""What a worked solution calls its results: a name for each value that it computes, from the words around it.

Takes the solution's text. A value that it calls nothing has no name here.
"""

import re
from fractions import Fraction
from typing import Final

from mlx_trace.language.number_words import CURRENCY
from mlx_trace.language.numbers import read_numeral
from mlx_trace.problems.compile.asked import KINDS, told
from mlx_trace.problems.compile.nouns import one, words_in
from mlx_trace.problems.compile.words import MEASURES

_RESULT: Final = re.compile(
    rf"=\s*[{CURRENCY}]?\s*(?:<<[^<>]*>>)?\s*[{CURRENCY}]?(?P<number>-?\d[\d,]*(?:\.\d+)?)(?P<percent>\s?%)?"
)
_SENTENCE_END: Final = re.compile(r"[.;!?](?=\s|$)")
_LINE_MARK: Final = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s+")
MOST_CHARACTERS: Final = 2000  # of a line


def told_results(solution: str, question: str) -> dict[Fraction, str]:
    """Return the names of a solution's results by their values; of two names for one value, the first.

    What neither counts a measure or money nor is spoken of in the question is no name.
    """
    spoken = {one(word.lower()) for word in words_in(question).words}
    names: dict[Fraction, str] = {}
    for line in solution.splitlines():
        if "=" not in line or len(line) > MOST_CHARACTERS:
            continue
        line = _LINE_MARK.sub("", line)
        for result in _RESULT.finditer(line):
            value = read_numeral(result["number"].replace(",", "").rstrip("."))
            if value is not None and (name := _name(line, result)) and _is_known(name, spoken):
                names.setdefault(value, name)
    return names


def _is_known(name: str, spoken: set[str]) -> bool:
    words = [word for word in name.split("_") if word not in ("total", "left", "each", "per")]
    return bool(words) and all(one(word) in spoken or word in MEASURES or word in KINDS for word in words)


def _name(line: str, result: re.Match[str]) -> str:
    if result["percent"]:
        return "percent"
    starts = [end.end() for end in _SENTENCE_END.finditer(line, 0, result.start())]
    begin = starts[-1] if starts else 0
    end = _SENTENCE_END.search(line, result.end())
    behind = line[result.end() : end.start() if end else len(line)]
    before = re.split(rf"[\d{CURRENCY}<=]", line[begin : result.start()])[0]
    return told(
        words_in(before).words,
        words_in(behind.partition("=")[0]).words,
        any(sign in line[begin : result.end()] for sign in CURRENCY),
    )
