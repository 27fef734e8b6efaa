"""Try, before anything is trained, what a run needs only later: the constraint on gold traces, and the reward.

Takes problems, a prompter and settings. Knows nothing of networks.
"""

from collections.abc import Sequence
from typing import Final

from mlx_trace.config_decoding import RULES, Decoding
from mlx_trace.decode.grammar.follow import can_write
from mlx_trace.decode.grammar.vocabulary import vocabulary_of
from mlx_trace.model.prompts import CLOSING, Prompter
from mlx_trace.problems.forms import in_form
from mlx_trace.problems.problem import Problem
from mlx_trace.train.rl.reward import Scorer

_TRIED: Final = 200  # gold traces, spread over all of them
_REPLY: Final = "expert: arithmetic\ntrace:\n- {op: query, var: result}"  # to grade where no gold is at hand


def try_constraint(problems: Sequence[Problem], prompter: Prompter, decoding: Decoding) -> str:
    """Write gold traces under the constraint, and return what came of it; "" without a constraint or golds.

    Raises UserError if the constraint cannot hold this model's tokens.
    """
    if decoding.constraint == "none":
        return ""
    vocabulary = vocabulary_of(prompter.tokenizer)
    golds = [problem for problem in problems if problem.trace is not None]
    form = prompter.prompt.trace_form
    tried = [(problem, in_form(problem, form) or "") for problem in golds[:: -(-len(golds) // _TRIED) or 1]]
    refused = []
    for problem, trace in tried:
        ids = vocabulary.word(trace + CLOSING)
        is_grounded = decoding.grounding == "hard"
        if not can_write(vocabulary, problem.question, ids, decoding.chosen_rules, form, is_grounded):
            refused.append(problem.id)
    if not tried:
        return ""
    rule = f"constraint {decoding.constraint}, grounding {decoding.grounding}"
    if chosen := decoding.chosen_rules:
        rule += f", rules {' '.join(rule for rule in RULES if rule in chosen)}"
    first = f"; the first that cannot: {refused[0]}" if refused else ""
    return f"{rule}: {len(tried) - len(refused):,} of {len(tried):,} gold traces can be written under it{first}"


def try_reward(problems: Sequence[Problem], scorer: Scorer) -> None:
    """Grade one reply; UserError if the reward fails."""
    for problem in problems[:1]:
        scorer(problem, problem.trace or _REPLY)
