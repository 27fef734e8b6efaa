"""What a trace makes of a question's numbers: which of those that are stated its answer depends on.

Takes a question and a trace that ran; returns mentions. Knows nothing of answers or votes.
"""

from fractions import Fraction

from mlx_trace.evaluate.computation import computation
from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.language.syntax import Trace


def amounts(question: str) -> list[Mention]:
    """Return the numbers that a question states and that an answer may be expected to use.

    An ordinal says which and not how many, and the word one is mostly a pronoun, or the unit of a price or a rate.
    """
    return [mention for mention in find_numbers(question)
            if mention.kind != "ordinal" and not (mention.kind == "words" and mention.value == 1)]  # fmt: skip


def unused(question: str, trace: Trace) -> list[Mention]:
    """Return the amounts of a question on which the answer of a trace that ran does not depend.

    One is used when the trace has a reading of it, of that or of another place in the question, on the way to its
    answer: what is defined and then left alone is not used.
    """
    numbers = answer_numbers(trace)
    return [mention for mention in amounts(question) if numbers.isdisjoint(mention.readings)]


def share_used(question: str, trace: Trace) -> Fraction:
    """Return the share of a question's amounts that the answer of a trace depends on; 1 where there are none."""
    stated = len(amounts(question))
    return 1 - Fraction(len(unused(question, trace)), stated) if stated else Fraction(1)


def answer_numbers(trace: Trace) -> frozenset[Fraction]:
    """Return the literals on which the answer of a trace that ran depends."""
    return computation(trace).distinct
