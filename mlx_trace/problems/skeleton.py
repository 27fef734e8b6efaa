"""What is left of a problem without its numbers and people: the wording's skeleton, and the trace's shape.

Takes text; two problems of one skeleton are one problem told twice.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from mlx_trace.language.numbers import find_numbers
from mlx_trace.language.steps import AddEntity, Compute, Consume, Init, InitFrom, Operand, Percent, Step, Transfer
from mlx_trace.language.syntax import Trace
from mlx_trace.problems.vocabulary import load_vocabulary
from mlx_trace.resources import schemas_dir

NUMBER: Final = "#"
PERSON: Final = "@"
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
    return blake2b(" ".join(words_of(question)).encode(), digest_size=8).digest()


def shape(trace: Trace) -> str:
    """Return a trace's computation without its numbers and names: mul(n,n) sub(n,0), references by their place."""
    lines: list[str] = []
    for part in trace.parts:
        places: dict[str, str] = {}
        for step in part.steps:
            lines += _line(step, places, len(lines))
    return " ".join(lines)


def _line(step: Step, places: dict[str, str], place: int) -> list[str]:
    def seen(operand: Operand) -> str:
        return places.get(operand, "n") if isinstance(operand, str) else "n"

    match step:
        case Init(var=var):
            places[var] = "n"
        case InitFrom(var=var, source=source):
            places[var] = source.removesuffix(".result")
        case Compute(compute_op=op, args=args, var=var):
            shown = [seen(arg) for arg in args]
            places[var] = str(place)
            return [f"{op}({','.join(sorted(shown) if op in ('add', 'mul') else shown)})"]
        case Percent(op=op, base=base, rate=rate, var=var):
            line = f"{op}({seen(base)},{seen(rate)})"
            places[var] = str(place)
            return [line]
        case Consume(entity=entity, amount=amount) | AddEntity(entity=entity, amount=amount):
            line = f"{step.op}({seen(entity)},{seen(amount)})"
            places[entity] = str(place)
            return [line]
        case Transfer(from_=giver, to=taker, amount=amount):
            line = f"transfer({seen(giver)},{seen(taker)},{seen(amount)})"
            places[giver] = places[taker] = str(place)
            return [line]
    return []
