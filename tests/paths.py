"""Where the data is that some tests need, if it is at hand."""

from pathlib import Path
from typing import Final

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"  # beside the checkout
