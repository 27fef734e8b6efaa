"""SentencePiece's scores and the merges of `tokenizers`: two ways to say the same order of merging."""

from collections.abc import Mapping, Sequence

Merge = tuple[str, str]


def merges_from_scores(pieces: Mapping[str, int], scores: Sequence[float]) -> list[Merge]:
    """Return the merges, first to last, that make every piece out of two: the best score first."""
    found: list[tuple[float, int, int, Merge]] = []
    for piece, id_ in pieces.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in pieces and right in pieces:
                found.append((-scores[id_], pieces[left], pieces[right], (left, right)))
    return [merge for *_, merge in sorted(found, key=lambda entry: entry[:3])]
