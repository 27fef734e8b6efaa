"""What the tiny base reads: generated word problems with their quantities restated, records, and copying drills.

Takes a seed, returns documents (a prompt that is read, a reply that is learnt) as text. No document is a trace.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Final

from mlx_trace.language.numbers import spell
from mlx_trace.language.steps import Init
from mlx_trace.language.syntax import Trace, parse_document
from mlx_trace.problems import english
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import Options, draw, is_held_out
from mlx_trace.problems.synthetic.schema import Schema
from mlx_trace.problems.synthetic.template import Field, fields_of, parse_template, render_template, show_quantity
from mlx_trace.problems.synthetic.vocabulary import Word
from mlx_trace.seeds import stream

Pair = tuple[str, str]  # what is counted or named, and its number


@dataclass(frozen=True, slots=True)
class Document:
    """A prompt, and the reply that follows it."""

    prompt: str
    reply: str


_MONEY: Final = frozenset(
    "price cost pay fee tip shipping tax money savings budget bill rent food travel wage debt paid".split()
)
_PERCENT: Final = frozenset(("rate", "discount"))
_SMALL: Final = frozenset(
    "hours days weeks time factor part rows rooms trips count children groups weight portion".split()
)


class TinyText:
    """Draws documents from sentence patterns, the bundled schemas' training templates and their vocabulary."""

    def __init__(self, schemas: Sequence[Schema]) -> None:
        content = json.loads((Path(__file__).parent / "text.json").read_text(encoding="utf-8"))
        self.sentences = [parse_template(text) for text in content["sentences"]]
        self.fields: list[str] = content["fields"]
        self.schemas = list(schemas)
        words = {word.one: word for schema in schemas for slot in schema.slots.values() for word in slot}
        self.people = [word for word in words.values() if word.pronoun is not None]
        self.things = [word for word in words.values() if word.pronoun is None]
        self.names = sorted({_name(word.one) for word in words.values()} | {_name(word.many) for word in self.things})

    def document(self, seed: int, index: int) -> Document:
        """Return document `index`: half of them a schema's problem, half made of loose sentences, some records."""
        rng = stream("tiny text", seed, index)
        kind = rng.random()
        if kind < 0.12:
            return self._record(rng)
        if kind < 0.5:
            return Document(*self._facts(rng))
        problem = self._problem(rng, seed, index)
        names = names_of(problem)
        if rng.random() < 0.3 and names:
            return Document(problem.question, _enumerate(rng, names))
        return Document(problem.question, _restate(rng, quantities_of(problem)))

    # --- word problems ---------------------------------------------------------------------------------------

    def _problem(self, rng: Random, seed: int, index: int) -> Problem:
        """Draw a schema's problem, in training's wording, that no evaluation will ask."""
        schema = rng.choice(self.schemas)
        for attempt in range(100):
            problem = draw(schema, seed, index * 100 + attempt, Options("train", number_word_rate=0.25))
            if not is_held_out(problem.question):
                break
        return problem

    def _facts(self, rng: Random) -> tuple[str, str]:
        """Draw one to four sentences that have nothing to do with one another, and restate them."""
        slots = self._slots(rng)
        in_words = rng.random() < 0.25
        said: list[str] = []
        pairs: dict[str, str] = {}
        for template in rng.sample(self.sentences, rng.choice((1, 2, 2, 3, 3, 4))):
            fields = fields_of(template)
            values = {field.name: _value(rng, field) for field in fields if field.name not in slots}
            keys = {_key(field, slots): spell(values[field.name]) for field in fields if field.name in values}
            if set(keys) & set(pairs) or len(keys) < len(values):
                continue

            def show(name: str, form: str, values: dict[str, Fraction] = values) -> str:
                return show_quantity(values[name], _kind(name), form, in_words)

            said.append(render_template(template, rng, show, values, slots))
            pairs |= keys
        text = " ".join(said)
        people = [_name(slots[who].one) for who in ("a", "b") if slots[who].one in text]
        if people and rng.random() < 0.1:
            return text, _enumerate(rng, people)
        return text, _restate(rng, list(pairs.items()))

    def _slots(self, rng: Random) -> dict[str, Word]:
        people, things = rng.sample(self.people, 2), rng.sample(self.things, 14)
        names = "item other box animal animal2 pet clothing worker plant furniture book collectible toy snack fruit"
        slots = dict(zip([*names.split()[:14]], things, strict=True))
        for name in ["fruit", "product", "produce", "stationery", "handmade"]:
            slots[name] = slots["item"]
        return slots | {"a": people[0], "b": people[1]}

    # --- records ---------------------------------------------------------------------------------------------

    def _record(self, rng: Random) -> Document:
        """Draw a list of small records, to be copied, or rewritten in another notation."""
        notations = (_flow, _block, _json, _equals)
        keys = rng.sample(self.fields, rng.randint(2, 4))
        rows = [[(key, self._field_value(rng)) for key in keys] for _ in range(rng.randint(1, 4))]
        if rng.random() < 0.5:
            rows = [[(rng.choice(self.fields), self._field_value(rng)) for _ in range(rng.randint(2, 4))] for _ in rows]
        first, second = rng.choice(notations), rng.choice(notations)
        return Document("\n".join(map(first, rows)), "\n".join(map(second, rows)))

    def _field_value(self, rng: Random) -> str:
        kind = rng.random()
        if kind < 0.35:
            return spell(_number(rng, 999))
        if kind < 0.55:
            return rng.choice(self.fields)
        if kind < 0.8:
            return rng.choice(self.names)
        if kind < 0.9:
            return f"{rng.choice(self.names)}.{rng.choice(self.names)}"
        return "[" + ", ".join(rng.choice((*self.fields, *self.names)) for _ in range(rng.randint(2, 3))) + "]"


def quantities_of(problem: Problem) -> list[Pair]:
    """Return (name, number) for what a problem's gold trace begins with and its literal amounts, in order."""
    trace = parse_document(problem.trace or "")
    if not isinstance(trace, Trace):
        return []
    pairs = []
    for part in trace.parts:
        for step in part.steps:
            if isinstance(step, Init):
                pairs.append((step.var, spell(step.value)))
            elif isinstance(amount := getattr(step, "amount", None), Fraction):
                pairs.append((step.op, spell(amount)))
    return pairs


def names_of(problem: Problem) -> list[str]:
    """Return the names that a problem's gold trace gives to what the question speaks of, in order, once each."""
    trace = parse_document(problem.trace or "")
    steps = [step for part in trace.parts for step in part.steps] if isinstance(trace, Trace) else []
    named = [name for step in steps for name in (step.var if isinstance(step, Init) else "", getattr(step, "to", ""))]
    return list(dict.fromkeys(name for name in named if name))


def _value(rng: Random, field: Field) -> Fraction:
    name = field.name
    if field.form == "fold":
        return Fraction(rng.choice((2, 3, 4, 5)))
    if field.form in ("times", "part"):
        return Fraction(rng.choice((2, 3, 4, 5, 6)))
    if name in _MONEY:
        return _number(rng, 300) + (Fraction(rng.choice((1, 2, 3)), 4) if rng.random() < 0.25 else 0)
    if name in _PERCENT:
        return Fraction(5 * rng.randint(1, 19)) if rng.random() < 0.8 else Fraction(rng.randint(1, 99))
    if name in ("weight", "portion") and rng.random() < 0.5:
        return Fraction(rng.randint(1, 15), rng.choice((2, 4)))
    return _number(rng, 12 if name in _SMALL else 999)


def _number(rng: Random, most: int) -> Fraction:
    """Draw a whole number from 2, small ones more often, evenly in the logarithm."""
    return Fraction(round(2 * (most / 2) ** rng.random()))


def _kind(name: str) -> str:
    return "money" if name in _MONEY else "percent" if name in _PERCENT else "count"


def _key(field: Field, slots: dict[str, Word]) -> str:
    """Name a quantity: by the thing it counts, else by its own name."""
    if not field.noun:
        return field.name
    word = field.noun.split(" ")[-1]
    return _name(slots[word[1:]].many if word.startswith("@") else english.plural(word))


def _name(text: str) -> str:
    return text.lower().replace(" ", "_").replace("-", "_")


# --- ways to say what the quantities are -----------------------------------------------------------------------


def _restate(rng: Random, pairs: list[Pair]) -> str:
    """Say some or all of the pairs in one of many notations, or answer questions about them."""
    kind = rng.random()
    if kind >= 0.3:
        return rng.choice(_NOTATIONS)(pairs)
    clear = [pair for pair in pairs if sum(pair[0] == key or pair[1] == value for key, value in pairs) == 1]
    asked = rng.sample(clear, len(clear))[:3]
    if kind < 0.1 and asked:
        return "\n".join(f"Which number is {key}? {value}." for key, value in asked)
    if kind < 0.2 and asked:
        return "\n".join(f"What is {value}? {key}." for key, value in asked)
    return f"{_block(pairs)}\n[{', '.join(key for key, _ in rng.sample(pairs, len(pairs)))}]"


def _enumerate(rng: Random, names: list[str]) -> str:
    """List names, one way or another."""
    return rng.choice(("[" + ", ".join(names) + "]", "\n".join(f"- {name}" for name in names),
                       f"names: {', '.join(names)}", " and ".join(names)))  # fmt: skip


def _flow(pairs: list[Pair]) -> str:
    return "- {" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"


def _block(pairs: list[Pair]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in pairs)


def _json(pairs: list[Pair]) -> str:
    return json.dumps(dict(pairs))


def _equals(pairs: list[Pair]) -> str:
    return "; ".join(f"{key} = {value}" for key, value in pairs)


def _listed(pairs: list[Pair]) -> str:
    return "\n".join(f"- {{name: {key}, number: {value}}}" for key, value in pairs)


def _said(pairs: list[Pair]) -> str:
    return " ".join(f"The {key} is {value}." for key, value in pairs)


def _bracketed(pairs: list[Pair]) -> str:
    return f"[{', '.join(key for key, _ in pairs)}] [{', '.join(value for _, value in pairs)}]"


_NOTATIONS: Final = (_flow, _block, _json, _equals, _listed, _said, _bracketed, _listed, _block)


def documents(text: TinyText, seed: int, start: int = 0) -> Iterator[Document]:
    """Yield documents without end."""
    index = start
    while True:
        yield text.document(seed, index)
        index += 1
