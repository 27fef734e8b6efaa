"""How far the constraint lets given tokens be written, and what it offers on the way: gold traces, read by it.

Takes an automaton, its vocabulary and token ids. Knows nothing of networks.
"""

from collections.abc import Sequence

from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.vocabulary import Vocabulary
from mlx_trace.decode.grammar.writing import Choice


def follow(automaton: Automaton, vocabulary: Vocabulary, ids: Sequence[int]) -> tuple[int, int]:
    """Take ids as far as they are offered; return how many were written, and how many of these were choices."""
    written, choices = choices_on(automaton, vocabulary, ids)
    return written, len(choices)


def choices_on(
    automaton: Automaton, vocabulary: Vocabulary, ids: Sequence[int]
) -> tuple[int, list[tuple[int, Choice]]]:
    """Do as `follow`; return how many ids were written, and the choices on the way, each with the index of its id."""
    written = 0
    choices: list[tuple[int, Choice]] = []
    while True:
        while written < min(len(ids), len(automaton.ids)) and automaton.ids[written] == ids[written]:
            written += 1
        choice = automaton.choice
        if choice is None or written < len(automaton.ids) or written == len(ids):
            return written, choices
        token = ids[written]
        if token not in choice.ids and (choice.mask is None or not vocabulary.mask(choice.mask)[token]):
            return written, choices
        automaton.take(token)
        choices.append((written, choice))
