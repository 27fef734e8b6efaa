"""How far the constraint lets given tokens be written, and what it offers on the way: gold traces, read by it.

Takes an automaton, or what one is made of, its vocabulary and token ids. Knows nothing of networks.
"""

from collections.abc import Sequence

from mlx_trace.config import TraceForm
from mlx_trace.config_decoding import Rule
from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.rules import rules_for
from mlx_trace.decode.grammar.vocabulary import Vocabulary
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.language.knowledge import grounded_numbers


def can_write(
    vocabulary: Vocabulary, question: str, ids: Sequence[int], names: frozenset[Rule], form: TraceForm,
    is_grounded: bool = True, room: int | None = None,
) -> bool:  # fmt: skip
    """Tell whether ids may answer a question under some rules; `room` is the most tokens of a reply, else ample."""
    numbers = grounded_numbers(question) if is_grounded else None
    room = 2 * len(ids) + 200 if room is None else room
    automaton = Automaton(vocabulary, numbers, room, rules_for(question, names), form)
    return follow(automaton, vocabulary, ids)[0] == len(ids)


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
