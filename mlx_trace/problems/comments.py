"""Reasons in words before what a trace computes: the worked solution's own sentence, else what the step means.

Takes a trace whose results have names, and the solution's text; returns the trace's text with a comment line before
each computation and the numbers it needs first. Knows nothing of tokens.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Final, NamedTuple

from mlx_trace.language.comments import LONGEST_COMMENT
from mlx_trace.language.grade import TOLERANCE
from mlx_trace.language.numbers import read_numeral, spell
from mlx_trace.language.outcome import outcome, written
from mlx_trace.language.said import Way, said
from mlx_trace.language.solver import Entry, solve
from mlx_trace.language.steps import (
    AddEntity,
    Compute,
    Consume,
    Init,
    InitFrom,
    Malformed,
    Operand,
    Percent,
    Query,
    Step,
    Transfer,
)
from mlx_trace.language.syntax import Trace, render
from mlx_trace.problems.calculations import RESULT, ROUNDED, cleaned

_MOST_WORDS: Final = 16  # of a solution's sentence
_WORDS_BEHIND: Final = 4  # of those, behind the result, where it has more
_MOST_CHARACTERS: Final = 2000  # of a solution's line
_SIGNS: Final = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_SAYING: Final = re.compile("[A-Za-z]{3}")  # what has no word says no more than the trace does
_DANGLING: Final = re.compile(r"(?: (?:the|a|an|of|in|on|at|to|for|from|by|with|and|per|than|that|which|is|are))+$")
_SENTENCE: Final = re.compile(r"(?<=[.!?;])(?<!Mr\.)(?<!Mrs\.)(?<!Ms\.)(?<!Dr\.)\s+")
_CLAUSE: Final = re.compile(r"[,;:] (?:and |then |so )?")
_JOINT: Final = re.compile(r" (?:and|then|so) ")


class _Said(NamedTuple):
    """What a solution says of a value that it computes."""

    value: Fraction
    sentence: str


class _Done(NamedTuple):
    """A step, the values that it changed, what it means in words, and what it computes of which values."""

    step: Step
    values: Sequence[Fraction]
    words: str
    way: Way


def commented(trace: Trace, solution: str) -> str:
    """Return a trace's text in the form `commented`."""
    ledger: list[Entry] = []
    solve(trace, ledger)
    computed = [value for entry in ledger if not _prepares(entry.step) for value in entry.changed.values()]
    told, done = [*_joined(_told(solution), computed)], iter(ledger)
    comments: list[str] = []
    for part in trace.parts:
        known: dict[str, Fraction] = {}
        comments += _comments([_done(step, known, next(done, None)) for step in part.steps], told)
    waiting, lines = iter(comments), []
    for line in render(trace, "commented").split("\n"):
        indent, dash, _ = line.partition("- {")
        if dash and not indent.strip() and (comment := next(waiting)):
            lines.append(f"{indent}# {comment}")
        lines.append(line)
    return "\n".join(lines)


def _done(step: Step, known: dict[str, Fraction], entry: Entry | None) -> _Done:
    """Return a step with what it changed, in words; note that in what is known."""
    changed = dict(entry.changed) if entry else {}
    done = _Done(step, [*changed.values()], _worded(step, known, changed), _way(step, known))
    known.update(changed)
    return done


def _comments(steps: Sequence[_Done], told: list[_Said]) -> Iterator[str]:
    """Yield the comment before each step, "" where there is none; what is told is taken once."""
    starts = True
    for index, done in enumerate(steps):
        if starts and not isinstance(done.step, Query):
            end = next((later for later in steps[index:] if not _prepares(later.step)), done)
            yield _taken(end, told) or end.words
        else:
            yield ""
        starts = not _prepares(done.step)


def _prepares(step: Step) -> bool:
    return isinstance(step, Init | InitFrom)


def _taken(done: _Done, told: list[_Said]) -> str:
    """Take what is told of the first of the values that a step changed, where it says what the step does."""
    for index, (value, sentence) in enumerate(told):
        if _is_among(value, done.values) and _agrees(sentence, done.way):
            del told[index]
            return sentence
    return ""


def _agrees(sentence: str, way: Way) -> bool:
    """Tell whether what a sentence says is computed, if one step does it, is what a step computes."""
    heard = said(sentence)
    if heard is None or not heard.ways:
        return True
    op, operands = way
    ordered = sorted if op in ("add", "mul") else list
    return any(
        other == op and len(numbers) == len(operands) and
        all(abs(first - second) < TOLERANCE for first, second in zip(ordered(numbers), ordered(operands), strict=True))
        for other, numbers in heard.ways
    )  # fmt: skip


def _way(step: Step, known: Mapping[str, Fraction]) -> Way:
    """Return the operation of a step and the values of its operands; nothing for what computes nothing."""
    read: tuple[str, tuple[Operand, ...]] = ("", ())
    match step:
        case Compute(compute_op=op, args=args):
            read = op, args
        case Percent(op=op, base=base, rate=rate):
            read = op, (base, rate)
        case Consume(entity=entity, amount=amount) | Transfer(from_=entity, amount=amount):
            read = "sub", (entity, amount)
        case AddEntity(entity=entity, amount=amount):
            read = "add", (entity, amount)
        case Init() | InitFrom() | Query() | Malformed():
            pass
    name, operands = read
    return name, tuple(known.get(operand, Fraction(0)) if isinstance(operand, str) else operand for operand in operands)


def _is_among(value: Fraction, values: Sequence[Fraction]) -> bool:
    return any(abs(value - other) < TOLERANCE for other in values)


# --- what a step means, in words and numbers --------------------------------------------------------------------


def _worded(step: Step, known: Mapping[str, Fraction], changed: Mapping[str, Fraction]) -> str:
    """Return a step in words and numbers, given what is known before it and what it changes."""

    def shown(operand: Operand) -> str:
        value = known.get(operand) if isinstance(operand, str) else operand
        return _named(str(operand)) if value is None else _number(value)

    def change(name: str, sign: str, amount: Operand) -> str:
        return f"{_named(name)} is {shown(name) if name in known else 0}{sign}{shown(amount)}={_result(changed, name)}"

    match step:
        case Compute(compute_op=op, args=args, var=var):
            text = f"{_named(var)} is {_SIGNS[op].join(map(shown, args))}={_result(changed, var)}"
        case Percent(base=base, rate=rate, var=var, op="percent_of"):
            text = f"{_named(var)} is {shown(rate)}% of {shown(base)}={_result(changed, var)}"
        case Percent(base=base, rate=rate, var=var, op=op):
            sign = "+" if op == "percent_increase" else "-"
            text = f"{_named(var)} is {shown(base)}{sign}{shown(rate)}%={_result(changed, var)}"
        case Consume(entity=entity, amount=amount):
            text = change(entity, "-", amount)
        case AddEntity(entity=entity, amount=amount):
            text = change(entity, "+", amount)
        case Transfer(amount=amount, from_=giver, to=taker):
            text = f"{change(giver, '-', amount)}, {change(taker, '+', amount)}"
        case Init(var=var) | InitFrom(var=var):
            text = _named(var)
        case _:
            text = "next"
    return _begun(_cut(text.split()))


def _named(name: str) -> str:
    return " ".join(re.split(r"[._]+", name)).strip() or "it"


def _number(value: Fraction) -> str:
    text = spell(value)
    return f"({text})" if not text.replace(".", "", 1).isdigit() else text


def _result(changed: Mapping[str, Fraction], name: str) -> str:
    """Return what a step gives, rounded as people do."""
    value = changed.get(name)
    return "?" if value is None else written(value)


# --- what a solution says --------------------------------------------------------------------------------------


def told_values(solution: str) -> list[Fraction]:
    """Return the results that a solution gives words to, in its order."""
    return [told.value for told in _told(solution)]


def _told(solution: str) -> Iterator[_Said]:
    """Yield what a solution says of each of its results, in its order."""
    for line in solution.splitlines():
        if "=" not in line or len(line) > _MOST_CHARACTERS:
            continue
        for sentence in _SENTENCE.split(cleaned(line)):
            results = [*RESULT.finditer(sentence)]
            for result, clause in zip(results, _clauses(sentence, results), strict=False):  # there may be none
                value = read_numeral(result["number"].replace(",", ""))
                if value is not None and (said := _bounded(clause)):
                    yield _Said(value, _computed(said))


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
        begins = [index for index in range(start, result - 1) if index and words[index - 1].endswith((",", ";"))]
        words = words[begins[0] if begins else start : end]
    while len(" ".join(words)) > LONGEST_COMMENT and "=" not in words[0]:
        del words[0]
    said = _begun(_DANGLING.sub("", _cut(words)))
    return said if _SAYING.search(said) and "=" in said else ""


def _computed(text: str) -> str:
    """Return a text with its results as the rule `as_computed` writes them, where they are what comes out."""

    def computed(result: re.Match[str]) -> str:
        value, told = outcome(text[: result.start()]), read_numeral(result["number"].replace(",", ""))
        if value is None or told is None or abs(value - told) > ROUNDED:
            return result[0]
        return f"{result['sign']}{written(value)}"

    return RESULT.sub(computed, text)


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
