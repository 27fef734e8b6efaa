"""Reasons in words before what a trace computes: the worked solution's own sentence, else what the step means.

Takes a trace whose results have names, and the solution's text; returns the trace's text with a comment line before
each computation and the numbers it needs first. What the trace does in one step and the solution in several is taken
apart before (`as_told`). Knows nothing of tokens.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count, pairwise
from math import prod
from typing import Final, NamedTuple

from mlx_trace.language.comments import LONGEST_COMMENT, PROSE
from mlx_trace.language.grade import TOLERANCE
from mlx_trace.language.numbers import read_numeral, spell
from mlx_trace.language.solver import MAX_STEPS, Entry, Solved, solve
from mlx_trace.language.steps import (
    AddEntity,
    Compute,
    Consume,
    Init,
    InitFrom,
    Operand,
    Percent,
    Query,
    Step,
    Transfer,
)
from mlx_trace.language.syntax import Part, Trace, render

_MOST_WORDS: Final = 16  # of a solution's sentence
_WORDS_BEHIND: Final = 4  # of those, behind the result, where it has more
_MOST_CHARACTERS: Final = 2000  # of a solution's line
_JOINED: Final = {"add": " plus ", "sub": " minus ", "mul": " times ", "div": " divided by "}
_PLAIN: Final = str.maketrans(dict(zip("×÷−–—⁄’‘“”", "*/---/''\"\"", strict=True)))
_SAYING: Final = re.compile("[A-Za-z]{3}")  # what has no word says no more than the trace does
_DANGLING: Final = re.compile(r"(?: (?:the|a|an|of|in|on|at|to|for|from|by|with|and|per|than|that|which|is|are))+$")
_ANNOTATION: Final = re.compile(r"<<[^<>]*>>")
_MARK: Final = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s+")
_SENTENCE: Final = re.compile(r"(?<=[.!?;])(?<!Mr\.)(?<!Mrs\.)(?<!Ms\.)(?<!Dr\.)\s+")
_UNSAID: Final = re.compile(f"[^{re.escape(PROSE)}]+")
_TIMES: Final = re.compile(r"(?<=[\w)%]) x (?=[\d($.])|(?<=\d)x(?=\d)")
_SIGN: Final = re.compile(r"(?<=[\d)%]) ?([-+*/]) ?(?=[\d($.])| ?(=) ?")
_RESULT: Final = re.compile(  # the last of a chain: what is behind it computes no more
    r"=\$?(?P<number>-?(?:(?:\d{1,3}(?:,\d{3})++|\d++)(?:\.\d++)?+|\.\d++))(?![*/+=(]|[-x][\d($.])"
)
_CLAUSE: Final = re.compile(r"[,;:] (?:and |then |so )?")
_JOINT: Final = re.compile(r" (?:and|then|so) ")


class _Said(NamedTuple):
    """What a solution says of a value that it computes."""

    value: Fraction
    sentence: str


def commented(trace: Trace, solution: str) -> str:
    """Return a trace's text in the form `commented`."""
    ledger: list[Entry] = []
    solve(trace, ledger)
    computed = [value for entry in ledger if not _prepares(entry.step) for value in entry.changed.values()]
    said, done = [*_joined(_told(solution), computed)], iter(ledger)
    comments: list[str] = []
    for part in trace.parts:
        values = [[*entry.changed.values()] if (entry := next(done, None)) else [] for _ in part.steps]
        comments += _comments(part.steps, values, said)
    waiting, lines = iter(comments), []
    for line in render(trace, "commented").split("\n"):
        indent, dash, _ = line.partition("- {")
        if dash and not indent.strip() and (comment := next(waiting)):
            lines.append(f"{indent}# {comment}")
        lines.append(line)
    return "\n".join(lines)


# --- steps as the solution takes them ----------------------------------------------------------------------------


def as_told(part: Part, solution: str) -> Part:
    """Return a part whose sums and products of three and more are in the steps that the solution takes.

    What it says on the way gets a name that says nothing (step3); the answer stays.
    """
    told = [said.value for said in _told(solution)]
    ledger: list[Entry] = []
    if not told or not isinstance(solve(Trace((part,)), ledger), Solved):
        return part
    values = {name: value for entry in ledger for name, value in entry.changed.items()}
    told = [value for value in told if not _is_among(value, [*values.values()])]
    free = (name for n in count(1) if (name := f"step{n}") not in values)
    steps: list[Step] = []
    for step in part.steps:
        while isinstance(step, Compute) and (run := _run(step, values, told)) is not None:
            start, end, value = run
            name = next(free)
            values[name] = value
            steps.append(replace(step, args=step.args[start:end], var=name))
            step = replace(step, args=(*step.args[:start], name, *step.args[end:]))
        steps.append(step)
    return replace(part, steps=tuple(steps)) if len(steps) <= MAX_STEPS else part


def _run(step: Compute, values: Mapping[str, Fraction], told: list[Fraction]) -> tuple[int, int, Fraction] | None:
    """Take what is told first of the operands that stand together; None if nothing is, or it is all of them."""
    if step.compute_op not in ("add", "mul"):
        return None
    of_all = [values[arg] if isinstance(arg, str) else arg for arg in step.args]
    join = sum if step.compute_op == "add" else prod
    lengths = range(2, len(of_all))
    runs = [(start, start + length) for length in lengths for start in range(len(of_all) - length + 1)]
    for index, value in enumerate(told):
        for start, end in runs:
            if abs(join(of_all[start:end]) - value) < TOLERANCE:
                del told[index]
                return start, end, value
    return None


def _comments(steps: Sequence[Step], values: Sequence[Sequence[Fraction]], said: list[_Said]) -> Iterator[str]:
    """Yield the comment before each step, "" where there is none; what is said is taken once."""
    starts = True
    for index, step in enumerate(steps):
        if starts and not isinstance(step, Query):
            end = next((at for at in range(index, len(steps)) if not _prepares(steps[at])), index)
            yield _taken(values[end], said) or _worded(steps[end])
        else:
            yield ""
        starts = not _prepares(step)


def _prepares(step: Step) -> bool:
    return isinstance(step, Init | InitFrom)


def _taken(values: Sequence[Fraction], said: list[_Said]) -> str:
    """Take what is said of the first of some values."""
    for index, (value, sentence) in enumerate(said):
        if _is_among(value, values):
            del said[index]
            return sentence
    return ""


def _is_among(value: Fraction, values: Sequence[Fraction]) -> bool:
    return any(abs(value - other) < TOLERANCE for other in values)


# --- what a step means -----------------------------------------------------------------------------------------


def _worded(step: Step) -> str:
    """Return a step in words."""
    match step:
        case Compute(compute_op=op, args=args, var=var):
            text = f"{_words(var)} is {_JOINED[op].join(map(_words, args))}"
        case Percent(base=base, rate=rate, var=var, op="percent_of"):
            text = f"{_words(var)} is {_share(rate)} of {_words(base)}"
        case Percent(base=base, rate=rate, var=var, op=op):
            more = "plus" if op == "percent_increase" else "minus"
            text = f"{_words(var)} is {_words(base)} {more} {_share(rate)}"
        case Consume(entity=entity, amount=amount):
            text = f"{_words(entity)} minus {_words(amount)}"
        case AddEntity(entity=entity, amount=amount):
            text = f"{_words(entity)} plus {_words(amount)}"
        case Transfer(amount=amount, from_=giver, to=taker):
            text = f"{_words(giver)} minus {_words(amount)}, {_words(taker)} plus {_words(amount)}"
        case Init(var=var) | InitFrom(var=var):
            text = _words(var)
        case _:
            text = "next"
    return _begun(_cut(text.split()))


def _words(operand: Operand) -> str:
    text = spell(operand) if isinstance(operand, Fraction) else " ".join(re.split(r"[._]+", operand))
    return text.strip() or "it"


def _share(rate: Operand) -> str:
    words = _words(rate)
    return words if "percent" in words else f"{words} percent"


# --- what a solution says --------------------------------------------------------------------------------------


def _told(solution: str) -> Iterator[_Said]:
    """Yield what a solution says of each of its results, in its order."""
    for line in solution.splitlines():
        if "=" not in line or len(line) > _MOST_CHARACTERS:
            continue
        for sentence in _SENTENCE.split(_cleaned(line)):
            results = [*_RESULT.finditer(sentence)]
            for result, clause in zip(results, _clauses(sentence, results), strict=False):  # there may be none
                value = read_numeral(result["number"].replace(",", ""))
                if value is not None and (said := _bounded(clause)):
                    yield _Said(value, said)


def _joined(told: Iterator[_Said], values: Sequence[Fraction]) -> Iterator[_Said]:
    """Yield what is said of values that a trace computes, behind what is said on the way there, if both fit."""
    on_the_way = ""
    for value, sentence in told:
        both = f"{on_the_way}, {sentence}" if on_the_way else sentence
        if not _is_among(value, values):
            on_the_way = both
        else:
            yield _Said(value, both if len(both) <= LONGEST_COMMENT else sentence)
            on_the_way = ""


def _cleaned(line: str) -> str:
    """Return a line without annotations, in the characters of comments, its equations without spaces."""
    text = unicodedata.normalize("NFKD", _MARK.sub("", _ANNOTATION.sub("", line))).translate(_PLAIN)
    text = " ".join(_UNSAID.sub(" ", text.encode("ascii", "ignore").decode()).split())
    return _SIGN.sub(lambda sign: sign[1] or "=", _TIMES.sub(" * ", text))


def _clauses(sentence: str, results: Sequence[re.Match[str]]) -> Iterator[str]:
    """Yield what is said of each result: up to the last mark or joint before the next one's equation."""
    start = 0
    for result, other in pairwise(results):
        between = sentence[result.end() : other.start()]
        marks = [*_CLAUSE.finditer(between)] or [*_JOINT.finditer(between)]
        end, begin = marks[-1].span() if marks else (0, 0)
        yield sentence[start : result.end() + end]
        start = result.end() + begin
    yield sentence[start:]


def _bounded(text: str) -> str:
    """Return a clause in so many words, around its result; nothing if it is hardly more than an equation."""
    words = text.split()
    result = max((index for index, word in enumerate(words) if "=" in word), default=0)
    if len(words) > _MOST_WORDS:
        end = min(len(words), max(result + 1 + _WORDS_BEHIND, _MOST_WORDS))
        start = end - _MOST_WORDS
        begins = [at for at in range(start, result - 1) if at and words[at - 1].endswith((",", ";"))]
        words = words[begins[0] if begins else start : end]
    while len(" ".join(words)) > LONGEST_COMMENT and "=" not in words[0]:
        del words[0]
    said = _begun(_DANGLING.sub("", _cut(words)))
    return said if _SAYING.search(said) and "=" in said else ""


def _cut(words: Sequence[str]) -> str:
    """Return as many words as fit, without marks at either end."""
    text = " ".join(words)
    room = LONGEST_COMMENT - len("so ")
    if len(text) > room:
        text = text[: room + 1].rpartition(" ")[0]
    return re.sub(r"^[^A-Za-z0-9$(.]+|[^A-Za-z0-9)%]+$", "", text)


def _begun(text: str) -> str:
    """Return a text that begins in a letter."""
    return text if text[:1].isalpha() else f"so {text}".rstrip()
