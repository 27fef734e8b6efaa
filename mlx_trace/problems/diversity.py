"""How varied problems are: wording, vocabulary, computations, sizes; to set sources side by side.

Takes problems, returns a `Diversity`; figures depend on the number of problems, so compare equal numbers.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlx_trace.errors import UserError
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.syntax import NoTrace, Trace, parse_document
from mlx_trace.problems import gsm8k
from mlx_trace.problems.compile.compiler import Compiled, compile_row, is_worked
from mlx_trace.problems.mixture import read_any_row
from mlx_trace.problems.problem import Problem, read_leniently
from mlx_trace.problems.skeleton import shape, words_of

_STATED: Final = ("digits", "words", "percent", "fraction", "relation")


@dataclass(frozen=True, slots=True)
class Diversity:
    """Figures of a set of problems. Entropies are in bits; those of traces are None where there is none."""

    problems: int
    skeletons: int  # different wordings, numbers and people apart
    vocabulary: int  # different words
    words: float  # of a question, mean
    unigram_entropy: float
    bigram_entropy: float
    trigram_entropy: float
    numbers: float  # of a question, mean
    numbers_as_words: float  # share of them
    traces: int
    shapes: int | None  # different computations
    shape_entropy: float | None
    commonest_shape: float | None  # share of the traces
    covered: float | None  # share of the traces whose computation the reference has
    operations: float | None  # of a trace, mean
    most_operations: int | None
    experts: dict[str, float]  # share of the traces


def measure(problems: Sequence[Problem], reference: Sequence[Problem] | None = None) -> Diversity:
    """Measure a set of problems; a reference says which computations count as covered, by default its own."""
    spoken = [words_of(problem.question) for problem in problems]
    grams = [Counter(gram for words in spoken for gram in zip(*(words[start:] for start in range(n)), strict=False))
             for n in (1, 2, 3)]  # fmt: skip
    kinds = [
        mention.kind for problem in problems for mention in find_numbers(problem.question) if mention.kind in _STATED
    ]
    in_words = sum(kind in ("words", "relation") for kind in kinds)
    traces = _traces(problems)
    computations = [shape(trace) for trace in traces]
    covering = set(computations) if reference is None else {shape(trace) for trace in _traces(reference)}
    shapes, sizes = Counter(computations), [text.count("(") for text in computations]
    experts = Counter(trace.parts[0].expert if len(trace.parts) == 1 else "composition" for trace in traces)
    return Diversity(
        problems=len(problems), skeletons=len({" ".join(words) for words in spoken}), vocabulary=len(grams[0]),
        words=_mean(map(len, spoken), len(spoken)),
        unigram_entropy=entropy(grams[0]), bigram_entropy=entropy(grams[1]), trigram_entropy=entropy(grams[2]),
        numbers=len(kinds) / max(1, len(problems)), numbers_as_words=in_words / max(1, len(kinds)), traces=len(traces),
        shapes=len(shapes) if traces else None, shape_entropy=entropy(shapes) if traces else None,
        commonest_shape=shapes.most_common(1)[0][1] / len(traces) if traces else None,
        covered=_mean((text in covering for text in computations), len(computations)) if traces else None,
        operations=_mean(sizes, len(sizes)) if traces else None, most_operations=max(sizes) if traces else None,
        experts={name: count / len(traces) for name, count in experts.most_common()},
    )  # fmt: skip


def _traces(problems: Sequence[Problem]) -> list[Trace]:
    parsed = [parse_document(problem.trace) for problem in problems if problem.trace is not None]
    return [trace for trace in parsed if not isinstance(trace, NoTrace)]


def entropy(counts: Mapping[Any, int]) -> float:
    """Return the entropy of a distribution given by counts, in bits (Shannon 1948, of the counts as they are)."""
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values()) if total else 0.0


def _mean(numbers: Iterable[int], count: int) -> float:
    return sum(numbers) / max(1, count)


def read_kinds(path: Path) -> dict[str, list[Problem]]:
    """Read a file's problems under its name, and worked solutions also as what they compile to; bad rows drop out.

    Raises UserError if nothing is left.
    """
    told: list[Problem] = []
    compiled: list[Problem] = []
    for name, row, _ in read_leniently(path):
        if row is None:
            continue
        with contextlib.suppress(ValueError):
            told.append(read_any_row(row, name))
        if (gsm8k.is_row(row) or is_worked(row)) and isinstance(outcome := compile_row(row, name), Compiled):
            compiled.append(outcome.problem)
    if not told:
        raise UserError(f"{path}: holds no problems")
    return {path.name: told} | ({"compiled": compiled} if compiled else {})
