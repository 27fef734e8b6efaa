"""Stop sequences: where a text ends because of one, and how much of its end may still become one."""

from collections.abc import Sequence


def cut(text: str, stops: Sequence[str]) -> str | None:
    """Return a text up to the first place where a stop sequence stands; None if none does."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else None


def held(text: str, stops: Sequence[str]) -> int:
    """Return how many of a text's last characters may be the beginning of a stop sequence."""
    lengths = (length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length]))
    return max(lengths, default=0)
