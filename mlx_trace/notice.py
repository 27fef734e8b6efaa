"""What a person should know while something goes on that returns no words: one line on stderr, never on stdout.

Of several processes of one run only the first speaks.
"""

import os
import sys
from typing import Final

_RANK: Final = "MLX_RANK"  # as mlx.launch sets it


def tell(line: str) -> None:
    """Print a line to stderr, at once; a stderr that is closed or full is no reason to stop."""
    if os.environ.get(_RANK, "0") == "0":
        try:
            print(f"mlx-trace: {line}", file=sys.stderr, flush=True)
        except (OSError, ValueError):
            return
