"""Names for what a trace computes: what its question asks for or its solution says; else from operation and operands.

Takes an op, its operands' names and the names that words gave; returns one that is free, legal and says what it is.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, count
from typing import Final

from mlx_trace.language.steps import LONGEST_NAME
from mlx_trace.problems.compile.evidence import same_noun
from mlx_trace.problems.compile.nouns import many, one
from mlx_trace.problems.compile.words import AMOUNTS, IRREGULAR, MEASURES

RESERVED: Final = re.compile(r"step[0-9]+|result")  # names that say nothing
_ONE: Final = {several: single for single, several in IRREGULAR.items()}
_PREFIX: Final = re.compile(r"^(?:total|other|multiplied|reduced|increased|discounted|more|fewer|average)_")
_SUFFIX: Final = re.compile(r"_?\d+$|_(?:left|now|each|needed|at_first|at_end|part|so_far|after_[a-z]+|per_[a-z]+)$")
_DIGITS: Final = re.compile(r"[a-z]_?(\d+)$")
_MONEY: Final = (AMOUNTS | frozenset("price dollars cents cost earnings change charge".split())) - {"bonus"}
_FACTORS: Final = frozenset("times twice thrice double triple fold factor multiple multiplier half".split())
_PARTS: Final = frozenset("part parts divisor times factor two three four half third quarter".split())
_SIZES: Final = frozenset("age height weight length width depth speed temperature distance size price".split())
_COMPARED: Final = frozenset(
    "more fewer less older younger taller shorter longer heavier lighter faster slower".split()
)
_NOTHING: Final = (
    frozenset(
        "number numbers constant total sum it left difference amount share other count each value val part "
        "parts values rate group groups size base first second third one two three four five half whole extra wanted "
        "per percent fraction ratio divisor sub price_each made remaining needed units "
        "unit quantity limit capacity goal".split()
    )
    | _FACTORS
)
_PLAIN: Final = re.compile(r"percent|fraction|parts?|per|each|price|dollars|money|number|rate|total|left|\d+|[a-z]")


def says_nothing(name: str) -> bool:
    """Tell whether a name is none of a thing in the question: rate, factor1, each."""
    return all(word in _NOTHING or word == "time" for word in _SUFFIX.sub("", name.rstrip("_0123456789")).split("_"))


def result_name(
    said: Iterable[str], op: str, args: Sequence[str], taken: Collection[str], noun: str = "", again: bool = False
) -> str:
    """Return a name for the result of `op` on operands of these names: the first that is free.

    `said` are names for it from the words of question and solution, the best first, which others have `again`; `noun`
    is what it counts, if known.
    """
    names = [arg.rpartition(".")[2].lower() for arg in args]
    given = [_fitting(name, op) for name in map(_legal, said) if name]
    told_apart = chain.from_iterable(_told_apart(name, op, names, again) for name in given)
    first = given[0] if given else ""
    bare = not first.startswith(("total_", "more_", "fewer_"))
    is_its_own = op in ("add", "sub") and names[0] and first.endswith(f"_{names[0]}")  # bottle_caps, of caps
    first_apart = bare and (is_its_own or (again and op in ("mul", "div")))
    candidates = [*told_apart, *given] if first_apart else [*given, *told_apart]
    counted = noun_of(names[0]) or noun
    candidates += [
        *computed(op, names, noun),
        *_after(op, names, noun),
        *([f"{counted}_so_far"] if counted else []),
        "amount",
    ]
    for name in map(_legal, candidates):
        if name and name not in taken and not RESERVED.fullmatch(name):
            return name
    base = next(filter(None, map(_legal, candidates)))[: LONGEST_NAME - 3].rstrip("_")
    return next(name for n in count(2) if (name := f"{base}_{n}") not in taken)


def _fitting(name: str, op: str) -> str:
    """Return a name without what the operation belies: a difference is no total, and a product not what is left."""
    if op in ("mul", "div"):
        name = name.removesuffix("_left")
    if op in ("add", "mul"):
        return name.removesuffix("_each")
    return name if op == "percent_increase" else name.removeprefix("total_")


def _told_apart(name: str, op: str, args: Sequence[str], again: bool) -> Iterator[str]:
    """Yield a name that is taken with what its operands or its operation say of it: candy_tokens, eggs_left."""
    whole = name.startswith("total_") or name.endswith("_left")
    if op in ("sub", "percent_off") and not whole and name not in _MONEY:
        yield f"{name}_left"
    is_size = name in _SIZES
    if op == "add" or (op == "mul" and not again and not is_size):
        yield name if whole else f"total_{name}"
    if op != "add":
        yield from (f"{word}_{name.removeprefix('total_')}" for word in _telling(args, name))
    if op == "mul" and not whole and not is_size:
        yield f"total_{name}"
    elif op == "div":
        yield f"{name}_each"


def _telling(args: Sequence[str], name: str) -> Iterator[str]:
    """Yield the words of operands' names that tell one result from another."""
    own = name.split("_")
    for arg in reversed(args):
        for word in reversed(arg.split("_")):
            if not _PLAIN.fullmatch(word) and word not in _NOTHING and not any(same_noun(word, part) for part in own):
                yield word


def _after(op: str, args: Sequence[str], noun: str) -> Iterator[str]:
    """Yield money_after_frisbee: what is left of a thing when there is a name for what is left in the end."""
    counted = "money" if (noun_of(args[0]) or noun).rpartition("_")[2] in _MONEY else noun_of(args[0]) or noun
    if op in ("sub", "percent_off") and counted:
        yield from (f"{counted}_after_{word}" for word in _telling(args[1:], counted))


def computed(op: str, args: Sequence[str], noun: str = "") -> Iterator[str]:
    """Yield names by an operation, its operands' names and, if it is known, what the result counts."""
    match op:
        case "add":
            yield from _sum(args, noun)
        case "sub":
            yield from _difference(args, noun)
        case "mul":
            yield from _product(args, noun)
        case "div":
            yield from _quotient(args[0], args[1], noun)
        case "percent_of":
            share = args[1].removesuffix("_percent").removesuffix("_rate")
            if share not in ("percent", "rate", "") and not same_noun(share, noun_of(args[0])):
                yield share
            yield f"{noun_of(args[0]) or noun or 'percent'}_part"
        case "percent_off":
            base = noun_of(args[0]) or noun
            yield f"discounted_{base}" if base.rpartition("_")[2] in _MONEY else f"{base}_left" if base else "rest"
        case "percent_increase":
            base = noun_of(args[0]) or noun
            yield f"increased_{base}" if base else "increased"
        case _:  # of what no name is known
            pass


def noun_of(name: str) -> str:
    """Return what a name counts: eggs of total_eggs, eggs_left, eggs_per_day; nothing of count2."""
    while (shorter := _SUFFIX.sub("", _PREFIX.sub("", name))) != name:
        name = shorter
    return "" if name in _NOTHING or RESERVED.fullmatch(name) else name


def _sum(args: Sequence[str], noun: str) -> Iterator[str]:
    heads = [head for head in map(noun_of, args) if head]
    compared = [head for head in heads if head.rpartition("_")[2] in _COMPARED - {"more"}]  # 3 more may be a gain
    if compared and (others := [head for head in heads if head not in compared]):
        yield f"other_{others[0]}"
        return
    kinds = {head.rpartition("_")[2] for head in heads}
    if heads and kinds <= _MONEY:
        yield "total_cost" if kinds & {"price", "cost", "tip", "tax", "fee"} else "total_money"
    elif len(kinds) == 1:
        yield f"total_{kinds.pop()}"
    firsts = {head.partition("_")[0] for head in heads}
    if len(firsts) == 1:
        yield f"total_{firsts.pop()}"
    yield f"total_{noun}" if noun else "total"


def _difference(args: Sequence[str], noun: str) -> Iterator[str]:
    whole, part = noun_of(args[0]) or noun, noun_of(args[1])
    if part.rpartition("_")[2] in _COMPARED:
        yield f"other_{whole}" if whole else "other"
    if whole.rpartition("_")[2] in _MONEY | {"money", "budget"}:
        yield "money_left"
    if args[1].endswith("_left") and same_noun(whole, part):
        yield f"{whole}_used"
    yield f"{whole}_left" if whole else "left"


def _product(args: Sequence[str], noun: str) -> Iterator[str]:
    heads = [noun_of(arg) for arg in args]
    ends = {digits[1] for arg in args if (digits := _DIGITS.search(arg))}
    number = f"_{ends.pop()}" if len(ends) == 1 else ""
    for index, arg in enumerate(args):
        others = [head for place, head in enumerate(heads) if place != index]
        kind, per, whole = arg.partition("_per_")
        if per and any(same_noun(whole, other) for other in others):
            yield "earnings" if kind == "pay" else f"{many(whole)}_cost" if kind in _MONEY else kind
        if arg.endswith("_price"):
            yield f"{arg.removesuffix('_price')}_cost"
        elif heads[index] == "price":
            yield from (f"{other}_cost" for other in others if other)
        if arg.endswith("_fraction"):
            share = arg.removesuffix("_fraction")
            yield f"{share}_part" if any(same_noun(share, other) for other in others) else share
    if set(heads) <= {"speed", "time", "hours", "minutes", "days", "travel"} and "speed" in heads:
        yield f"distance{number}"
    plain = [head for head in heads if head]
    if len(plain) == 1 and any(re.split(r"_|\d", arg)[0] in _FACTORS for arg in args):
        yield f"multiplied_{plain[0]}"
    if noun and not plain:
        yield f"{noun}{number}"
    rates = [head for head, arg in zip(heads, args, strict=True) if "_per_" in arg or arg.endswith("_each")]
    things = [thing for thing in (*rates, *plain) if thing not in MEASURES] or plain or [noun]
    yield f"total_{things[0]}" if things[0] else f"total{number}"


def _quotient(above: str, below: str, noun: str) -> Iterator[str]:
    kind, per, whole = below.partition("_per_")
    if per and (same_noun(kind, noun_of(above)) or not noun_of(above)):
        yield many(whole)
    counted, things = noun_of(above) or noun, noun_of(below).rpartition("_")[2]
    thing = _ONE.get(things, one(things))
    if re.split(r"_|\d", below)[0] in _PARTS:
        yield f"{counted}_part" if counted else "share"
    if counted and thing and not same_noun(counted, thing):
        yield f"{counted}_per_{thing}"
    yield f"{counted}_each" if counted else "share"


def _legal(name: str) -> str:
    """Return a name in the letters and the length that names have; nothing if none is left."""
    name = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME + 1].rpartition("_")[0] or name[:LONGEST_NAME]
    return name if name[:1].isalpha() else ""
