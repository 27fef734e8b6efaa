"""The calculations that a worked solution writes out: its lines in the characters of comments, results corrected.

Takes a solution's text, a person's or a model's. Knows nothing of traces.
"""

import re
import unicodedata
from fractions import Fraction
from typing import Final, NamedTuple

from mlx_trace.language.comments import PROSE
from mlx_trace.language.numbers import read_numeral
from mlx_trace.language.outcome import outcome, written

ROUNDED: Final = Fraction(1, 100)  # a solution's results are
RESULT: Final = re.compile(  # the last of a chain: what is behind it computes no more
    r"(?P<sign>=\$?)(?P<number>-?(?:(?:\d{1,3}(?:,\d{3})++|\d++)(?:\.\d++)?+|\.\d++))(?![*/+=(]|[-x][\d($.])"
)
_PLAIN: Final = str.maketrans(dict(zip("×÷−–—⁄’‘“”", "*/---/''\"\"", strict=True)))
_ANNOTATION: Final = re.compile(r"<<[^<>]*>>")
_MARK: Final = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s+")
_UNSAID: Final = re.compile(f"[^{re.escape(PROSE)}]+")
_TIMES: Final = re.compile(r"(?<=[\w)%]) x (?=[\d($.])|(?<=\d)x(?=\d)")
_SIGN: Final = re.compile(r"(?<=[\d)%]) ?([-+*/]) ?(?=[\d($.])| ?(=) ?")


class Corrected(NamedTuple):
    """A solution whose calculations are right: what the last one comes to, and how many results were put right.

    Only those are read that can be read in one way; None where there is none.
    """

    text: str
    outcome: Fraction | None
    mistakes: int


def cleaned(line: str) -> str:
    """Return a line without annotations, in the characters of comments, its equations without spaces."""
    text = unicodedata.normalize("NFKD", _MARK.sub("", _ANNOTATION.sub("", line))).translate(_PLAIN)
    text = " ".join(_UNSAID.sub(" ", text.encode("ascii", "ignore").decode()).split())
    return _SIGN.sub(lambda sign: sign[1] or "=", _TIMES.sub(" * ", text))


def corrected(solution: str) -> Corrected:
    """Return a solution in cleaned lines with each wrong result put right, there and wherever it is used later on."""
    lines, results, last, mistakes = [], dict[str, str](), None, 0
    for line in map(cleaned, solution.splitlines()):
        for wrong, right in results.items():
            line = _replaced(line, wrong, right)
        start = 0
        while match := RESULT.search(line, start):
            value, told = outcome(line[: match.start()]), read_numeral(match["number"].replace(",", ""))
            start = match.end()
            if value is None or told is None:
                continue
            last = value
            if abs(value - told) > ROUNDED:
                wrong, right, begin = match["number"], written(value), match.start("number")
                results[wrong], mistakes = right, mistakes + 1
                line, start = line[:begin] + _replaced(line[begin:], wrong, right), begin + len(right)
        lines.append(line)
    return Corrected("\n".join(line for line in lines if line), last, mistakes)


def _replaced(text: str, wrong: str, right: str) -> str:
    """Return a text with one number, wherever it stands by itself, as another."""
    return re.sub(rf"(?<![\d.,]){re.escape(wrong)}(?!\d|[.,]\d)", right, text)
