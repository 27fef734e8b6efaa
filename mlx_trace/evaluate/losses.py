"""Losses on gold traces by what is chosen: what decides, and what only spells words."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

SPELLED: Final = ": spelled"  # ends the kinds of tokens that spell a name, or a comment


def deciding(kinds: Mapping[str, Sequence[float]]) -> list[float]:
    """Return the losses, by kind, of the choices among what is there: all but the spelling of words."""
    return list(chain.from_iterable(own for kind, own in kinds.items() if not kind.endswith(SPELLED)))
