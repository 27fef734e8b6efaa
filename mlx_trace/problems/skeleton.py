"""What is left of a problem without its numbers and people: the wording's skeleton, and the trace's shape.

Takes text; two problems of one skeleton are one problem told twice.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from mlx_trace.language.mentions import find_numbers
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
from mlx_trace.language.syntax import Trace
from mlx_trace.problems.synthetic.vocabulary import load_vocabulary
from mlx_trace.resources import schemas_dir

NUMBER: Final = "#"
PERSON: Final = "@"
_JOINED: Final = ("add", "mul")
_MASKED: Final = ("digits", "words", "percent")
_WORD: Final = re.compile(r"[A-Za-z]+(?:['’][a-z]+)?|[#$%]")


@lru_cache(maxsize=1)
def people() -> dict[str, str]:
    """Return the first names we know, each with its pronoun (he, she)."""
    vocabulary = load_vocabulary(schemas_dir() / "vocab", [])
    return {word.one: word.pronoun for words in vocabulary.values() for word in words if word.pronoun}


def words_of(question: str) -> list[str]:
    """Return the words of a question in lower case, its numbers and known people masked, a and an one."""
    for mention in reversed(find_numbers(question)):
        if mention.kind in _MASKED:
            question = f"{question[: mention.start]} {NUMBER} {question[mention.end :]}"
    known = people()
    words = [word if word.split("'")[0].split("’")[0] not in known else PERSON for word in _WORD.findall(question)]
    return ["a" if word == "an" else word.lower() for word in words]


def skeleton(question: str) -> bytes:
    """Return a hash (8 bytes) of a question's wording: the same for two that differ in numbers and people alone."""
    return hash_of(words_of(question))


def hash_of(words: Sequence[str]) -> bytes:
    """Return the skeleton of a question whose `words_of` are known."""
    return blake2b(" ".join(words).encode(), digest_size=8).digest()


def shape(trace: Trace) -> str:
    """Return a trace's computation without numbers and names: `mul(n,n) sub(n,0)`, references by their place.

    Sums of sums and products of products are one, gains and losses are sums and differences, as far as one uses them.
    """
    lines: list[tuple[str, list[int | str]]] = []
    for part in trace.parts:
        places: dict[str, int | str] = {}
        for step in part.steps:
            _read(step, places, lines)
    uses = Counter(arg for _, args in lines for arg in args)
    shown: list[str] = []
    new_places: dict[int | str, int] = {}
    for place, (op, args) in enumerate(lines):
        if op in _JOINED and uses[place] == 1 and any(place in later and other == op for other, later in lines):
            continue
        flat = _join(op, args, lines, uses)
        names = [str(new_places.get(arg, arg)) for arg in flat]
        new_places[place] = len(shown)
        shown.append(f"{op}({','.join(sorted(names) if op in _JOINED else names)})")
    return " ".join(shown)


def _join(
    op: str, args: list[int | str], lines: list[tuple[str, list[int | str]]], uses: Counter[int | str]
) -> list[int | str]:
    """Return the arguments of a sum or product with those of its own sums or products in place of these."""
    flat: list[int | str] = []
    for arg in args:
        if op in _JOINED and isinstance(arg, int) and lines[arg][0] == op and uses[arg] == 1:
            flat += _join(op, lines[arg][1], lines, uses)
        else:
            flat.append(arg)
    return flat


def _read(step: Step, places: dict[str, int | str], lines: list[tuple[str, list[int | str]]]) -> None:
    """Add what a step computes; `places` says which line a variable stands for, n for a number."""

    def seen(operand: Operand) -> int | str:
        return places.get(operand, "n") if isinstance(operand, str) else "n"

    match step:
        case Init(var=var):
            places[var] = "n"
        case InitFrom(var=var, source=source):
            places[var] = source.removesuffix(".result")
        case Compute(compute_op=op, args=args, var=var):
            lines.append((op, [seen(arg) for arg in args]))
            places[var] = len(lines) - 1
        case Percent(op=op, base=base, rate=rate, var=var):
            lines.append((op, [seen(base), seen(rate)]))
            places[var] = len(lines) - 1
        case Consume(entity=entity, amount=amount) | AddEntity(entity=entity, amount=amount):
            lines.append(("sub" if step.op == "consume" else "add", [seen(entity), seen(amount)]))
            places[entity] = len(lines) - 1
        case Transfer(from_=giver, to=taker, amount=amount):
            for op, entity in (("sub", giver), ("add", taker)):
                lines.append((op, [seen(entity), seen(amount)]))
                places[entity] = len(lines) - 1
        case Query() | Malformed():
            pass
