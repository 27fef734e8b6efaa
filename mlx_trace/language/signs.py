"""Whether a number in prose is below zero: -5, minus five, 5 degrees below zero; not 3-5, nor five minus two.

Takes a text and where a number stands in it.
"""

import re
from typing import Final

from mlx_trace.language.number_words import CURRENCY

_MINUS: Final = re.compile(
    rf"(?:^|[\s(])(?:[-−–][{CURRENCY}]?|[{CURRENCY}][-−–]|negative )$"
    r"|(?:^|\b(?:is|was|of|to|at|from|be|by|and|or|reached|hit) )minus $"
)
_BINARY: Final = re.compile(
    r"(?i)(?:[0-9%)]|teen|ty|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|hundred|thousand|dozen))"
    rf" ?(?:[-−–]|minus )[{CURRENCY}]?$"
)
_BELOW: Final = re.compile(
    r"(?i)[ °º]*(?:degrees?|[a-z]+)? ?(?:celsius|fahrenheit|[cf])? ?below (?:zero|0|(?:the )?sea level)\b"
)
_DEGREES: Final = re.compile(r" ?(?:°|º|degrees?\b)")
_APART: Final = re.compile(r"(?:^|[^°º\s])(?<!degree)(?<!degrees)(?<![ °º][CF])\sminus $|^minus $")
_BACK: Final = 20  # characters before a number in which its sign stands


def is_negative(text: str, start: int, end: int) -> bool:
    """Tell whether a number has a sign of its own, and is no part of a range or a difference."""
    before = text[max(0, start - _BACK) : start]
    if start > _BACK:
        before = "x" + before  # what is cut off is no beginning
    if _MINUS.search(before) and not _BINARY.search(before):
        return True
    if _DEGREES.match(text, end) and _APART.search(before) and not _BINARY.search(before):
        return True
    return _BELOW.match(text, end, end + 60) is not None
