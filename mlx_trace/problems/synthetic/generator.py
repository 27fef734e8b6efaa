"""Schema + seed → `Problem`s with gold traces, every one of them solved and checked before it is handed out.

Draw k of a schema depends only on (seed, schema, k, options). Knows nothing of files or models.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Final

from mlx_trace.config_sources import NUMBER_WORD_RATE
from mlx_trace.errors import UserError
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import Failed, solve
from mlx_trace.language.syntax import NoTrace, parse_document
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.schema import Schema, Split
from mlx_trace.problems.synthetic.schema_file import Quantity
from mlx_trace.problems.synthetic.template import render_template, show_quantity
from mlx_trace.problems.synthetic.vocabulary import Word
from mlx_trace.seeds import derive_seed, stream

_NO_NAME: Final = re.compile(r"\W+")
MOST_REDRAWS: Final = 1000
MOST_REPEATS: Final = 200  # draws in a row that only repeat known questions: then the family is exhausted

SHARES: Final = {  # the historical mix of experts
    "entity_track": 20, "arithmetic": 30, "rate_equation": 10, "comparison": 15, "percentage": 10, "composition": 15,
}  # fmt: skip
GROUP_SHARES: Final = {  # and inside arithmetic; division chains, once never drawn, take a part of sequential's
    "sequential": 25, "interleaved": 30, "long_chain": 10, "gap_closing": 25, "division_chain": 10,
    "everyday": 100,  # half: the short questions that people ask, in many wordings
}  # fmt: skip


HELD_OUT_SHARE: Final = 10  # one question in ten


def is_held_out(question: str) -> bool:
    """Tell whether a question is kept for evaluation: nothing that trains ever sees one, the tiny base included."""
    return derive_seed("held out", question) % HELD_OUT_SHARE == 0


@dataclass(frozen=True, slots=True)
class Options:
    """How problems are worded: which templates, how many of each family (0 = all), how often small numbers are words.

    `held_out` asks for the questions of the training templates that are kept for evaluation, and only those.
    """

    split: Split = "train"
    templates_per_schema: int = 0
    number_word_rate: float = NUMBER_WORD_RATE
    held_out: bool = False

    def admits(self, question: str) -> bool:
        """Tell whether a question may be generated; the evaluation templates' need no holding out."""
        return self.split == "eval" or is_held_out(question) == self.held_out


@dataclass(frozen=True, slots=True)
class Drawing:
    """A question of a schema, and what it was made of."""

    id: str
    question: str
    split: Split
    number: int  # of its template
    values: dict[str, Fraction]
    slots: dict[str, Word]


def draw(schema: Schema, seed: int, k: int, options: Options = Options()) -> Problem:
    """Draw problem k of a schema. Raises UserError for a schema whose constraints or labels do not hold."""
    return _labelled(schema, _drawing(schema, seed, k, options))


def _drawing(schema: Schema, seed: int, k: int, options: Options) -> Drawing:
    rng = stream("problem", seed, schema.id, options.split, k)
    wordings = schema.wordings[options.split]
    number = rng.randrange(len(wordings[: options.templates_per_schema or None]))
    wording = wordings[number]
    slots = _draw_slots(schema, rng)
    values = _draw_values(schema, wording.quantities, rng)
    in_words = rng.random() < options.number_word_rate

    def show(name: str, form: str) -> str:
        return show_quantity(values[name], wording.quantities[name].kind, form, in_words)

    try:
        question = render_template(wording.template, rng, show, values, slots)
    except ValueError as error:
        raise UserError(f"{schema.id}: {options.split} template {number}: {error}") from None
    return Drawing(f"{schema.id}-{options.split}-{seed}-{k}", question, options.split, number, values, slots)


def _labelled(schema: Schema, drawing: Drawing) -> Problem:
    """Give a question its answer and its trace, checked: of ten that are drawn to be held out, nine are not asked."""
    values, answer = drawing.values, schema.answer(drawing.values)
    pieces = schema.wordings[drawing.split][drawing.number].pieces
    trace = "".join(_fill(piece, values, drawing.slots) if index % 2 else piece for index, piece in enumerate(pieces))
    _check(schema, trace, answer, values)
    return Problem.model_construct(  # every field is ours, and checked
        id=drawing.id, question=drawing.question, answer=spell(answer), expert=schema.expected,
        trace=trace, source=f"{schema.id}#{drawing.split}.{drawing.number}",
    )  # fmt: skip


def _draw_slots(schema: Schema, rng: Random) -> dict[str, Word]:
    """Draw a word for each slot; no two slots of a problem share one."""
    slots: dict[str, Word] = {}
    for name, words in schema.slots.items():
        taken = {word.one for word in slots.values()}
        free = [word for word in words if word.one not in taken]
        if not free:
            raise UserError(f"{schema.id}: slots.{name}: the vocabulary has no word left for it")
        slots[name] = free[rng.randrange(len(free))]
    return slots


def _draw_values(schema: Schema, quantities: Mapping[str, Quantity], rng: Random) -> dict[str, Fraction]:
    """Draw the quantities until every constraint holds."""
    for _ in range(MOST_REDRAWS):
        try:
            values = _draw_once(schema, quantities, rng)
            if all(condition(values) for condition in schema.where) and _sensible(schema, quantities, values):
                return values
        except ZeroDivisionError:
            continue
    raise UserError(f"{schema.id}: no draw out of {MOST_REDRAWS} satisfies its constraints")


def _draw_once(schema: Schema, quantities: Mapping[str, Quantity], rng: Random) -> dict[str, Fraction]:
    values: dict[str, Fraction] = {}
    for name, quantity in quantities.items():
        if name in schema.derived:
            values[name] = schema.derived[name](values)
        elif quantity.choices is not None:
            values[name] = quantity.choices[rng.randrange(len(quantity.choices))]
        elif quantity.range is not None:
            low, high = quantity.range
            values[name] = low + rng.randrange(int((high - low) / quantity.step) + 1) * quantity.step
    return values


def _sensible(schema: Schema, quantities: Mapping[str, Quantity], values: dict[str, Fraction]) -> bool:
    """Tell whether every quantity and the answer are positive, and whole where they count."""
    places = {"count": 1, "money": 100, "measure": 100, "percent": 100}
    shown = [(values[name], quantity.kind) for name, quantity in quantities.items()]
    numbers = [*shown, (schema.answer(values), schema.answer_as)]
    return all(number > 0 and (number * places[kind]).denominator == 1 for number, kind in numbers)


def _fill(reference: str, values: dict[str, Fraction], slots: dict[str, Word]) -> str:
    """Return what stands for a reference in the trace: a number, or a word as a name."""
    name, _, form = reference.partition(":")
    if name in values:
        return spell(values[name])
    word = slots[name].many if form else slots[name].one
    return _NO_NAME.sub("_", word.lower())


def _check(schema: Schema, trace: str, answer: Fraction, values: dict[str, Fraction]) -> None:
    """The invariant: the gold trace solves to the answer, exactly."""
    parsed = parse_document(trace)
    outcome = None if isinstance(parsed, NoTrace) else solve(parsed)
    if outcome is None or isinstance(outcome, Failed) or outcome.answer != answer:
        got = "no trace" if outcome is None else outcome.message if isinstance(outcome, Failed) else outcome.answer
        shown = ", ".join(f"{name}={spell(value)}" for name, value in values.items())
        raise UserError(f"{schema.id}: its trace gives {got}, its answer says {spell(answer)} ({shown})")


def generate(schema: Schema, seed: int, options: Options, seen: set[str]) -> Iterator[Problem]:
    """Yield problems of one schema whose questions are not in `seen`, adding each; UserError once there are none."""
    k = repeats = refused = count = 0
    while repeats < MOST_REPEATS and refused < MOST_REDRAWS:
        drawing = _drawing(schema, seed, k, options)
        k += 1
        if not options.admits(drawing.question):
            refused += 1
            continue
        refused = 0
        if drawing.question in seen:
            repeats += 1
            continue
        repeats, count = 0, count + 1
        seen.add(drawing.question)
        yield _labelled(schema, drawing)
    raise UserError(f"{schema.id}: {count} different questions, and {repeats + refused} draws found no other")


def generate_balanced(
    schemas: Sequence[Schema],
    n: int,
    seed: int,
    options: Options = Options(),
    seen: set[str] | None = None,
    weights: Mapping[str, float] = {},
) -> list[Problem]:
    """Generate n problems in the historical shares, exactly, shuffled; no question repeats or is in `seen`.

    Shares of absent experts and groups are spread over the others in proportion; `weights` multiply those of a
    family (by name or expert/name) or an expert.
    """
    seen = set() if seen is None else seen
    problems: list[Problem] = []
    for schema, count in count_by_schema(schemas, n, weights).items():
        source = generate(_by_id(schemas, schema), seed, options, seen)
        problems += [next(source) for _ in range(count)]
    stream("shuffle", seed).shuffle(problems)
    return problems


def _by_id(schemas: Sequence[Schema], key: str) -> Schema:
    return next(schema for schema in schemas if schema.id == key)


def count_by_schema(schemas: Sequence[Schema], n: int, weights: Mapping[str, float] = {}) -> dict[str, int]:
    """Return how many of n problems each schema gives (largest remainder); the counts add up to n.

    Raises UserError for a weight of nothing there is, and if all are 0.
    """
    known = {key for schema in schemas for key in (schema.id, schema.name, schema.expert)}
    if unknown := sorted(set(weights) - known):
        raise UserError(*(f"weights: there is no family or expert '{name}' among those chosen" for name in unknown))
    shares: dict[str, Fraction] = {}
    for schema in schemas:
        peers = [peer for peer in schemas if (peer.expert, peer.group) == (schema.expert, schema.group)]
        groups = {peer.group for peer in schemas if peer.expert == schema.expert}
        share = Fraction(SHARES[schema.expert])
        if schema.group is not None:
            share *= Fraction(GROUP_SHARES[schema.group], sum(GROUP_SHARES[group] for group in groups if group))
        for key in (schema.id, schema.name, schema.expert):
            share *= Fraction(weights.get(key, 1))
        shares[schema.id] = share / len(peers)
    if not any(shares.values()):
        raise UserError("weights: they are all 0")
    return apportion(shares, n)


def apportion(weights: dict[str, Fraction], n: int) -> dict[str, int]:
    """Split n by weights with the largest-remainder method; ties go to the earlier key."""
    total = sum(weights.values())
    exact = {key: weight * n / total for key, weight in weights.items()}
    counts = {key: int(value) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: counts[key] - exact[key])
    for key in by_remainder[: n - sum(counts.values())]:
        counts[key] += 1
    return counts
