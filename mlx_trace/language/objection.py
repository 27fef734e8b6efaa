"""The solver's objections in plain words: what is wrong with a trace that does not run, and what would be right.

Takes a kind and a message as the solver has them. Knows nothing of terminals.
"""

from typing import Final

from mlx_trace.language.solver import Failed

_RIGHT: Final = {  # by kind: what holds instead, for somebody who knows no solver
    "undefined_variable": "a step can only use what a step before it has named",
    "undefined_query": "the answer has to be something that a step before it has named",
    "redefinition": "a name stands for one number, all through",
    "short_circuit": "an answer has to be computed from the question's numbers, not taken over as it stands",
    "division_by_zero": "nothing can be shared out among none",
    "insufficient_amount": "nobody can give away more than they have",
    "negative_amount": "what is given or taken is nothing or more",
    "self_transfer": "whoever gives and whoever gets are two",
    "no_query": "its last step has to say which number is the answer",
    "several_queries": "there is one answer, which the last step says",
    "after_query": "the step that says the answer is the last one",
    "foreign_op": "each expert has its own kinds of steps",
    "bad_source": "only the result of an earlier part can be taken over",
    "too_large": "numbers and traces have an upper limit",
    "bad_value": "numbers are written plainly: 1200, 0.5 or 1/2",
}


def objection(failed: Failed) -> str:
    """Return a failure in plain words, without the name of its kind: what is wrong, then what would be right."""
    said = failed.message.removeprefix(f"{failed.kind.replace('_', ' ')}: ").rstrip(".")
    right = _RIGHT.get(failed.kind)
    return f"{said}; {right}" if right else said
