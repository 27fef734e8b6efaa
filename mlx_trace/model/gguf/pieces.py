"""SentencePiece's scores and the merges of `tokenizers`: two ways to say the same order of merging."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

Merge = tuple[str, str]


def merges_from_scores(pieces: Mapping[str, int], scores: Sequence[float]) -> list[Merge]:
    """Return the merges, first to last, that make every piece out of two: the best score first, then the lowest id."""
    merges = [(-scores[id_], id_, pieces[left], pieces[right], (left, right))
             for piece, id_ in pieces.items() for left, right in _halves(piece, pieces)]  # fmt: skip
    return [merge for *_, merge in sorted(merges, key=lambda entry: entry[:4])]


def _halves(piece: str, pieces: Mapping[str, int]) -> Iterator[Merge]:
    """Yield the ways to make a piece out of two others."""
    for cut in range(1, len(piece)):
        if piece[:cut] in pieces and piece[cut:] in pieces:
            yield piece[:cut], piece[cut:]


def scores_from_merges(merges: Sequence[Merge]) -> dict[str, float]:
    """Return a score for every piece that merges make: the sooner it is made, the higher."""
    order = dict.fromkeys(left + right for left, right in merges)
    return {piece: -float(rank) for rank, piece in enumerate(order)}


def is_complete(merges: Sequence[Merge], pieces: Mapping[str, int]) -> bool:
    """Tell whether merges are what scores would give: all ways to make a piece stand together, and none is missing."""
    made = [piece for piece, _ in groupby(left + right for left, right in merges)]
    if len(set(made)) < len(made):
        return False
    return set(merges) == {merge for piece in pieces for merge in _halves(piece, pieces)}
