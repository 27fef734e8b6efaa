"""What a sentence asks for or tells of, as names: eggs_left of `How many eggs are left?`, total_cost, hours_per_week.

Takes a question, or what stands around a result in a worked solution. Word lists and word order, no parser.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile
from typing import Final

from mlx_trace.problems.compile.nouns import is_noun, many, one, words_in
from mlx_trace.problems.compile.words import GENERIC, MEASURES, NUMBERS, SKIPPED, STOPS, TIMES_OF_DAY, VERBS

_SENTENCES: Final = re.compile(r"(?<=[.!?])[\"”']?\s+")
_MARKS: Final = frozenset(".!?;:,")
_MOST_WORDS: Final = 2  # of a noun phrase in a name
_SIZES: Final = {  # adjective or verb: what is measured
    "old": "age", "older": "age", "younger": "age", "tall": "height", "taller": "height", "high": "height",
    "higher": "height", "heavy": "weight", "heavier": "weight", "lighter": "weight", "weigh": "weight",
    "weighs": "weight", "weighed": "weight", "long": "length", "longer": "length", "wide": "width", "wider": "width",
    "deep": "depth", "deeper": "depth", "far": "distance", "farther": "distance", "further": "distance",
    "fast": "speed", "faster": "speed", "warmer": "temperature", "colder": "temperature", "hot": "temperature",
    "shorter": "length", "big": "size", "bigger": "size", "expensive": "price", "cheaper": "price",
}  # fmt: skip
_MONEY: Final = {  # what is done with money, or what it is: what the amount is
    **dict.fromkeys("cost costs costing pay pays paid spend spends spent charge charges".split(), "cost"),
    **dict.fromkeys("earn earns earned earning earnings make makes made wage wages salary".split(), "earnings"),
    **dict.fromkeys("save saves saved saving savings".split(), "savings"),
    **dict.fromkeys("owe owes owed".split(), "debt"), **dict.fromkeys("profit profits".split(), "profit"),
    **dict.fromkeys("raise raised collect collected".split(), "money_raised"), "worth": "value", "bill": "bill",
    "price": "price", "tip": "tip", "tax": "tax", "change": "change", "discount": "discount", "revenue": "revenue",
    "budget": "budget", "rent": "rent", "fee": "fee", "loss": "loss", "lose": "loss", "donate": "donation",
    "donated": "donation", "money": "money",
}  # fmt: skip
KINDS: Final = frozenset((*_MONEY.values(), *_SIZES.values(), "time", "percent"))  # of what is not counted
_TOTAL: Final = frozenset("total altogether combined overall".split())
_LEFT: Final = frozenset("left remain remains leftover still".split())
_FIRST: Final = frozenset("originally initially beginning start started begin began".split())
_MORE: Final = frozenset("more fewer less additional extra".split())
_TAKES: Final = frozenset("take takes took taken last lasts lasted wait spend spent need needs does until".split())
_LENGTHY: Final = frozenset("rope board ribbon side string road river table bridge wire fence trail fish snake".split())
_OWNERS: Final = frozenset("the a an his her their its my our your these those this that each of all".split())
_PER: Final = frozenset("each every per".split())
_ORDERED: Final = frozenset("find calculate determine compute what".split())
_CLAUSES: Final = frozenset("; if when while once assuming given because".split())
_DONE: Final = {  # what somebody does: how what it is done to is called
    "give": "given", "gave": "given", "add": "added", "buy": "bought", "bought": "bought", "sell": "sold",
    "sold": "sold", "eat": "eaten", "ate": "eaten", "use": "used", "find": "found", "lose": "lost", "lost": "lost",
    "pick": "picked", "make": "made", "bake": "baked", "read": "read", "take": "taken", "took": "taken", "keep": "kept",
    "collect": "collected", "plant": "planted", "win": "won", "won": "won", "catch": "caught", "caught": "caught",
    "get": "received", "receive": "received", "put": "put", "remove": "removed", "bring": "brought",
    "borrow": "borrowed", "trade": "traded", "spend": "spent",
    "donate": "donated", "finish": "finished", "score": "scored",
}  # fmt: skip
_BEINGS: Final = frozenset("is was are were be will would did does do has have had if".split())


def asked(question: str) -> Iterator[str]:
    """Yield names for what a question asks for, the best first; none where its last sentence names no thing."""
    sentence = _asking(question)
    words = words_in(sentence).words
    index = max((index for index, word in enumerate(words) if word == "how"), default=-1)
    rest = words[index + 1 :]
    if index >= 0:
        thing = _how(rest)
    else:
        index = next((index for index, word in enumerate(words) if word in _ORDERED), 0)
        rest = words[index + (words[index : index + 1] != [] and words[index] in _ORDERED) :]
        thing = _what(rest)
    clause = list(takewhile(lambda word: word not in _CLAUSES, rest))
    if not thing and rest[:1] == ["many"] and clause[1:2] and clause[1] in _MORE:
        yield "still_needed" if "need" in clause else "difference"
    is_size = rest[:1] != [] and rest[0] in _SIZES and thing in _SIZES.values()
    whose = phrase([word for word in clause[1:] if word not in _BEINGS])[0] if is_size else ""
    people = {word for word in words_in(question).words if word[0].isupper()}
    yield from (*_told(thing, clause, len(people) > 1), *([f"{whose}_{thing}"] if whose else []))


def told(before: Sequence[str], behind: Sequence[str], money: bool) -> str:
    """Return a name for a result by the words before and behind it in its sentence; nothing if they name no thing."""
    noun, after = phrase(behind)
    if noun == "years" and after[:1] == ["old"]:
        return "age"
    if money or not noun:
        kinds = [_MONEY[word] for word in before if word in _MONEY] if money else []
        owner = _subject(before)
        noun = kinds[-1] if kinds else owner if not money or owner in _MONEY.values() else ""
        noun = noun or ("money" if money else "")
        after = list(behind)
    if not noun:
        return ""
    return next(_modified(noun, ["is", *after, *(word for word in before if word in _TOTAL)]), noun)


def phrase(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the noun phrase that words begin with, as a name, and the words behind it."""
    taken: list[str] = []
    index = 0
    for index, word in enumerate([*words, "."]):
        skipped = word in SKIPPED or word in _OWNERS or word in NUMBERS or not word[0].isalpha()
        if (
            not taken
            and word not in _MARKS
            and (skipped or (word in GENERIC and words[index + 1 : index + 2] == ["of"]))
        ):
            continue
        counted = not taken and word in VERBS and word.endswith("s") and not word.endswith("ss")
        if word in _MARKS or word in STOPS or (word in VERBS and not counted) or not word[0].islower():
            break
        if word.endswith("ly") and not is_noun(word):
            break
        taken.append(word)
    while taken and not (is_noun(taken[-1]) or (taken[-1] in VERBS and taken[-1].endswith("s"))):
        taken.pop()
        index -= 1
    if not taken:
        return "", list(words)
    rest = list(words[index:])
    if taken[-1] in MEASURES and rest[:1] == ["of"]:
        of, behind = phrase(rest[1:])
        if of:
            return f"{of}_{many(taken[-1])}", behind
    return "_".join(taken[-_MOST_WORDS:]), rest


# --- what is asked ---------------------------------------------------------------------------------------------


def _asking(question: str) -> str:
    """Return the last sentence that asks, or else the last one."""
    sentences = [sentence for sentence in _SENTENCES.split(question.strip()) if sentence.strip()]
    asking = [sentence for sentence in sentences if "?" in sentence or "how m" in sentence.lower()]
    return (asking or sentences or [question])[-1]


def _how(rest: Sequence[str]) -> str:
    """Return what is asked for by the words behind `how`."""
    kind, *after = [*rest, "."]
    said = set(after)
    if kind == "many":
        if after[:2] == ["years", "old"]:
            return "age"
        if after[:1] in (["times"], ["percent"]):
            return after[0]
        noun, _ = phrase(_past_more(after))
        return noun
    if kind == "much":
        return _how_much(after)
    if kind == "long":
        unit = _unit(after)
        if unit in TIMES_OF_DAY:
            return unit
        is_thing = after[:1] in (["is"], ["are"], ["was"]) and after[1:2] and after[1] in _OWNERS
        return "length" if said & _LENGTHY or (is_thing and not said & _TAKES) else "time"
    if kind == "often":
        return "times"
    thing = _SIZES.get(kind, "")
    unit = _unit(after)
    return f"{thing}_{unit}" if thing and unit and thing != "age" else thing


def _how_much(after: Sequence[str]) -> str:
    sized = next((_SIZES[word] for word in after if word in _SIZES and word != "long"), "")
    noun, _ = phrase(_past_more(after))
    if noun and noun != "money":
        return "time" if noun == "time" else noun
    kinds = [_MONEY[word] for word in after if word in _MONEY]
    if "change" in kinds:
        return "change"
    others = [kind for kind in kinds if kind != "money"]
    if sized and not (set(others) & {"cost", "price"}):
        return sized
    if others and not set(after) & _LEFT:
        return others[0]
    return "money"


def _what(words: Sequence[str]) -> str:
    """Return what is asked for by `what is the …`, or `find the …`."""
    rest = list(words)
    while rest and (rest[0] in _BEINGS or rest[0] in _OWNERS or rest[0] in _TOTAL or rest[0] in ("s", "new", "final")):
        rest.pop(0)
    head = rest[0] if rest else ""
    if head in ("percent", "percentage"):
        return "percent"
    if head in ("difference", "sum"):
        noun = next((name for index, word in enumerate(rest) if word in ("in", "between", "of")
                     and (name := phrase(rest[index + 1 :])[0])), "")  # fmt: skip
        return f"{noun}_{head}" if noun else head
    if head in ("fraction", "ratio", "average", "mean", "speed", "rate", "probability"):
        noun = (phrase(rest[1:])[0] or (rest[1] if rest[1:2] and rest[1] in VERBS else "")) if head != "mean" else ""
        return f"average_{noun}" if noun and head == "average" else "average" if head == "mean" else head
    noun, _ = phrase(rest)
    if noun in ("amount", "number", "value", "total") and (of := _behind_of(rest)):
        return of
    if noun:
        return noun
    return next((_MONEY[word] for word in rest if word in _MONEY), "")


def _behind_of(words: Sequence[str]) -> str:
    return phrase(words[words.index("of") + 1 :])[0] if "of" in words else ""


def _past_more(words: Sequence[str]) -> list[str]:
    return list(words[1:]) if words[:1] and words[0] in _MORE else list(words)


def _unit(words: Sequence[str]) -> str:
    """Return the unit an answer is wanted in: minutes of `in minutes`."""
    return next(
        (many(unit) for word, unit in pairwise(words) if word == "in" and unit in MEASURES and many(unit) == unit), ""
    )


# --- what it is called -----------------------------------------------------------------------------------------


def _told(thing: str, words: Sequence[str], several: bool) -> Iterator[str]:
    """Yield names for a thing by the words it is asked for with; told from others by who has it, of `several`."""
    modified = list(_modified(thing, words))
    yield from modified
    who = next((word.lower() for word in words if word[0].isupper() and word.isalpha()), "")
    ends = thing and "end" in words
    owned = [f"{who}_{thing}"] if who and thing and several and not ends else []
    done = [f"{thing}_{_DONE[word]}" for word in words if thing and word in _DONE][:1]
    yield from (*owned, *done, *([f"{thing}_at_end"] if ends else []))


def _modified(thing: str, words: Sequence[str]) -> Iterator[str]:
    """Yield a thing with what the words around it say of it: eggs_left, total_cost, more_pages, cups_per_day."""
    said = set(words)
    more = next((word for word in words[1:2] if word in _MORE), "")
    if not thing:
        return
    if thing.startswith(("average_", "total_")) or thing in ("change", "percent", "fraction", "ratio"):
        yield thing
        return
    if said & _LEFT and not thing.endswith("left"):
        yield f"{thing}_left"
    elif more and said & {"need", "needs", "needed", "must", "require"}:
        yield f"{thing}_needed"
    elif thing in KINDS and (more or ("than" in said and thing in _SIZES.values())):
        yield f"{thing}_difference"
    elif more:
        yield f"{'more' if more in ('additional', 'extra') else more}_{thing}"
    if (per := _per(words)) and per not in thing:
        yield f"{thing}_per_{per}" if per != "each" else f"{thing}_each"
    if said & _TOTAL or ("all" in said and "in" in said) or {"both"} & said:
        yield f"total_{thing}" if not thing.startswith("total") else thing
    if any(word in _FIRST and before != "first" for before, word in pairwise(words)):
        yield f"{thing}_at_first"
    yield thing


def _per(words: Sequence[str]) -> str:
    """Return box of `in each box`, day of `per day` or `a day`; each of `each`, and `apiece`."""
    for index, word in enumerate(words):
        if any(other[0].isdigit() for other in words[max(0, index - 2) : index]):
            continue  # 100 miles per hour
        behind = [*takewhile(lambda other: other not in _MARKS, words[index + 1 :])]
        if word in _PER:
            if behind[:1] == ["of"]:
                return "each"
            noun = phrase(behind[:2])[0].rpartition("_")[2]
            if noun:
                return one(noun)
            return "each" if word == "each" else ""
        if word in ("a", "an") and behind[:1] and behind[0] in TIMES_OF_DAY:
            return behind[0]
        if word == "apiece":
            return "each"
    return ""


def _subject(words: Sequence[str]) -> str:
    """Return the noun phrase a sentence is about: cost of `The cost of 5 pens is`."""
    start = next((index for index, word in enumerate(words) if word in _OWNERS and word != "of"), None)
    return phrase(words[start:])[0] if start is not None else ""
