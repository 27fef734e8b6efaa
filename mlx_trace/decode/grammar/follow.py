"""How far the constraint lets given tokens be written: whether a gold trace lies within its language.

Takes an automaton, its vocabulary and token ids. Knows nothing of networks.
"""

from collections.abc import Sequence

from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.vocabulary import Vocabulary


def follow(automaton: Automaton, vocabulary: Vocabulary, ids: Sequence[int]) -> tuple[int, int]:
    """Take ids as far as they are offered; return how many were written, and how many of these were choices."""
    written = chosen = 0
    while True:
        while written < min(len(ids), len(automaton.ids)) and automaton.ids[written] == ids[written]:
            written += 1
        choice = automaton.choice
        if choice is None or written < len(automaton.ids) or written == len(ids):
            return written, chosen
        token = ids[written]
        if token not in choice.ids and (choice.mask is None or not vocabulary.mask(choice.mask)[token]):
            return written, chosen
        automaton.take(token)
        chosen += 1
