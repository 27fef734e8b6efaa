"""How far the constraint lets given tokens be written: whether a gold trace lies within its language.

Takes an automaton, its vocabulary and token ids. Knows nothing of networks.
"""

from collections.abc import Sequence

from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.vocabulary import Vocabulary


def follow(automaton: Automaton, vocabulary: Vocabulary, ids: Sequence[int]) -> tuple[int, int]:
    """Take ids as far as they are offered; return how many were written, and how many of these were choices."""
    at = chosen = 0
    while True:
        while at < min(len(ids), len(automaton.ids)) and automaton.ids[at] == ids[at]:
            at += 1
        choice = automaton.choice
        if choice is None or at < len(automaton.ids) or at == len(ids):
            return at, chosen
        if ids[at] not in choice.ids and (choice.mask is None or not vocabulary.mask(choice.mask)[ids[at]]):
            return at, chosen
        automaton.take(ids[at])
        chosen += 1
