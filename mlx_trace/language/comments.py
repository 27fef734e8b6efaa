"""Comment lines of a trace: what golds say in them, and constrained models may. The solver reads none.

Takes a line; knows nothing of documents, and nothing of what is said.
"""

import re
from string import ascii_letters, digits
from typing import Final

PROSE: Final = (
    f" !\"$%&'()*+,-./:;=?{digits}{ascii_letters}"  # no newline, no fence, no brace, nothing that marks a token
)
LONGEST_COMMENT: Final = 100  # characters of a gold's; a constrained model ends its own here, or in the token beyond
_LINE: Final = re.compile(r" *#[ -~]*")


def is_comment(line: str) -> bool:
    """Tell whether a line is nothing but a comment, in characters that YAML lets stand in one."""
    return _LINE.fullmatch(line) is not None
