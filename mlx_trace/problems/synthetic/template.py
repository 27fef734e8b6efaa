"""Question templates: parsed once, rendered many times.

{price}              a quantity: $7.50, 20%, 12 or twelve, as the quantity is declared
{eggs @item}         a quantity with its noun, which agrees: 1 apple, 3 apples; also {hours hour}, {n more @item}
{factor:times}       twice, three times; also :fold (doubled), :part (half, a third), :a (an 8), :digits
{price:dollars}      4.50 dollars, four dollars; also :euros, :percent (20 percent), :money ($4.50, whatever the kind)
{born:year}          1984, without a comma
{item} {item:s} {item:a}         a slot: singular, plural, with article
{person} {person:they}           a slot with pronouns: they, them, their, theirs, 's
[buys|picks up]      one of several wordings
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Final

from mlx_trace.language.numbers import spell
from mlx_trace.problems import english
from mlx_trace.problems.synthetic.vocabulary import PRONOUNS, Word


@dataclass(frozen=True, slots=True)
class Field:
    """A placeholder: a name with a form, or with the noun it counts."""

    name: str
    form: str
    noun: str


@dataclass(frozen=True, slots=True)
class Wordings:
    """Several wordings, one of which is taken."""

    options: "tuple[tuple[Node, ...], ...]"


Node = str | Field | Wordings
Template = tuple[Node, ...]
Show = Callable[[str, str], str]  # (quantity, form) → text

SLOT_FORMS: Final = ("", "s", "a", "'s")
UNIT_FORMS: Final = {"dollars": "dollar", "euros": "euro"}
QUANTITY_FORMS: Final = ("", "times", "fold", "part", "a", "digits", "money", "percent", "year", *UNIT_FORMS)
_FIELD: Final = re.compile(r"\{([a-z_][a-z0-9_]*)(?::([a-z']+)| ([A-Za-z@][A-Za-z0-9_@' -]*))?\}")
_REFERENCE: Final = re.compile(r"@([a-z_][a-z0-9_]*)")


def parse_template(text: str) -> Template:
    """Parse a template; ValueError says where it is malformed."""
    nodes, rest = _parse_nodes(text, 0, nested=False)
    if rest != len(text):
        raise ValueError(f"unexpected {text[rest]!r} at column {rest + 1}")
    return nodes


def _parse_nodes(text: str, position: int, nested: bool) -> tuple[tuple[Node, ...], int]:
    nodes: list[Node] = []
    literal = ""
    while position < len(text) and not (nested and text[position] in "|]"):
        node: Node | None = None
        if text[position] == "{":
            match = _FIELD.match(text, position)
            if match is None:
                raise ValueError(f"malformed placeholder at column {position + 1}: {text[position : position + 24]!r}")
            node, position = Field(match[1], match[2] or "", match[3] or ""), match.end()
        elif text[position] == "[":
            node, position = _parse_choice(text, position)
        elif text[position] in "}]|":
            raise ValueError(f"unexpected {text[position]!r} at column {position + 1}")
        else:
            literal, position = literal + text[position], position + 1
        if node is not None:
            nodes += [literal, node] if literal else [node]
            literal = ""
    return (*nodes, literal) if literal else tuple(nodes), position


def _parse_choice(text: str, start: int) -> tuple[Wordings, int]:
    options, position = [], start
    while position == start or text[position] == "|":
        option, position = _parse_nodes(text, position + 1, nested=True)
        options.append(option)
        if position >= len(text):
            raise ValueError(f"the [ at column {start + 1} is not closed")
    return Wordings(tuple(options)), position + 1


def certain_names(template: Template) -> set[str]:
    """Return the quantities and slots that every wording of a template shows."""
    names: set[str] = set()
    for node in template:
        if isinstance(node, Field):
            names |= names_in(node)
        elif isinstance(node, Wordings):
            names |= set.intersection(*(certain_names(option) for option in node.options))
    return names


def literal_texts(template: Template) -> Iterator[str]:
    """Yield the fixed text of a template, piece by piece."""
    for node in template:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Wordings):
            for option in node.options:
                yield from literal_texts(option)


def fields_of(template: Template) -> list[Field]:
    """Return every placeholder of a template once, in order, in whichever option it stands."""
    fields: dict[Field, None] = {}
    for node in template:
        if isinstance(node, Field):
            fields[node] = None
        elif isinstance(node, Wordings):
            fields |= dict.fromkeys(field for option in node.options for field in fields_of(option))
    return list(fields)


def names_in(field: Field) -> set[str]:
    """Return the quantity or slot a placeholder shows, and the slots its noun refers to."""
    return {field.name, *_REFERENCE.findall(field.noun)}


def render_template(
    template: Template, rng: Random, show: Show, values: Mapping[str, Fraction], slots: Mapping[str, Word]
) -> str:
    """Word a template: choose options with `rng`, fill the placeholders, begin every sentence in upper case."""
    return english.capitalise_sentences("".join(_render(template, rng, show, values, slots)))


def _render(
    template: Template, rng: Random, show: Show, values: Mapping[str, Fraction], slots: Mapping[str, Word]
) -> Iterator[str]:
    for node in template:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Wordings):
            yield from _render(node.options[rng.randrange(len(node.options))], rng, show, values, slots)
        elif node.name in slots:
            yield _slot_form(slots[node.name], node.form)
        elif node.noun:
            yield f"{show(node.name, node.form)} {_counted(node.noun, values[node.name], slots)}"
        else:
            yield show(node.name, node.form)


def _slot_form(word: Word, form: str) -> str:
    if form == "":
        return word.one
    if form == "s":
        return word.many
    if form == "a":
        return english.article(word.one)
    if form == "'s":
        return word.one + "'s"
    if word.pronoun is None:
        raise ValueError(f"{word.one!r} has no pronouns")
    return PRONOUNS[word.pronoun][form]


def _counted(noun: str, count: Fraction, slots: Mapping[str, Word]) -> str:
    """Return a noun phrase that agrees with a count; the last word, or slot, is the noun."""
    *before, last = noun.split(" ")
    reference = _REFERENCE.fullmatch(last)
    if reference:
        word = slots[reference[1]]
        last = word.one if count == 1 else word.many
    elif count != 1:
        last = english.plural(last)
    adjectives = [_REFERENCE.sub(lambda match: slots[match[1]].one, text) for text in before]
    return " ".join([*adjectives, last])


def show_quantity(value: Fraction, kind: str, form: str, in_words: bool) -> str:
    """Return a quantity as text: `kind` is count, measure, money or percent; `in_words` asks for number words."""
    if form == "times":
        return english.times(value)
    if form == "fold":
        return english.fold(value)
    if form == "part":
        return english.part(value)
    if form == "year":
        return spell(value)
    if form in UNIT_FORMS or form == "percent":
        return _with_unit(value, form, in_words)
    text = _plainly(value, "money" if form == "money" else kind, in_words and form != "digits")
    return english.article(text) if form == "a" else text


def _plainly(value: Fraction, kind: str, in_words: bool) -> str:
    if kind == "money":
        return english.money(value)
    if kind == "percent":
        return f"{spell(value)} percent" if in_words else f"{spell(value)}%"
    if value.denominator != 1:
        return spell(value)
    return english.number_words(int(value)) if in_words and 0 < value <= 20 else f"{int(value):,}"


def _with_unit(value: Fraction, form: str, in_words: bool) -> str:
    """Return an amount with its unit as a word: 4.50 dollars, one euro, twenty percent."""
    if form == "percent":
        return f"{_plainly(value, 'count', in_words)} percent"
    amount = _plainly(value, "count", in_words) if value.denominator == 1 else english.money(value)[1:]
    return f"{amount} {UNIT_FORMS[form] if value == 1 else UNIT_FORMS[form] + 's'}"
