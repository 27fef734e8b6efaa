"""The form of each step, and how few tokens end a trace from within one: what a budget must keep in reserve.

Takes a vocabulary and the cheapest names of a scope; returns numbers of tokens. Knows nothing of what is chosen.
"""

from functools import lru_cache, partial
from itertools import product
from string import ascii_letters, digits
from typing import Final, NamedTuple

from mlx_trace.config import OPERATION_FIRST, TraceForm
from mlx_trace.decode.grammar.vocabulary import Vocabulary
from mlx_trace.language.experts import EXPERTS
from mlx_trace.model.prompts import FENCE

_ENOUGH: Final = 100  # new names; a part has fewer steps

# Each op's fields in canonical order, and what may stand in them.
FIELDS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "init": (("var", "new"), ("value", "value")),
    "compute": (("compute_op", "operation"), ("args", "args"), ("var", "new")),
    "percent_of": (("base", "variable"), ("rate", "variable"), ("var", "new")),
    "percent_off": (("base", "variable"), ("rate", "variable"), ("var", "new")),
    "percent_increase": (("base", "variable"), ("rate", "variable"), ("var", "new")),
    "consume": (("entity", "variable"), ("amount", "amount")),
    "add_entity": (("entity", "variable"), ("amount", "amount")),
    "transfer": (("from", "variable"), ("to", "receiver"), ("amount", "amount")),
    "query": (("var", "derived"),),
}
COMPUTING: Final = frozenset(op for op, fields in FIELDS.items() if fields[-1] == ("var", "new"))
_NAME_FIRST: Final = {op: (fields[-1], *fields[:-1]) if op in COMPUTING else fields for op, fields in FIELDS.items()}


class Cheapest(NamedTuple):
    """What takes the fewest tokens: a variable and a derived one (None where there is none), two new names, a number;
    how far the lines of the document are indented, and in which order their keys stand."""

    variable: str | None
    derived: str | None
    new: str
    newer: str
    number: str
    indent: str
    form: TraceForm = OPERATION_FIRST


def fields_of_step(op: str, form: TraceForm) -> tuple[tuple[str, str], ...]:
    """Return an op's fields in a form's order."""
    return (FIELDS if form == OPERATION_FIRST else _NAME_FIRST)[op]


@lru_cache(maxsize=1 << 16)
def ending(vocabulary: Vocabulary, least: Cheapest) -> int:
    """Return how many tokens the shortest ending takes from the end of a line, the closing fence included.

    What is derived may have a name so long that to compute something else, and to query that, is shorter.
    """
    ways = [least] if least.derived is None else [least, least._replace(derived=None)]
    return min(_ending(vocabulary, way) for way in ways)


def _ending(vocabulary: Vocabulary, least: Cheapest) -> int:
    """Return how many tokens it takes to query what is derived, or else to compute something and to query that."""
    lines = []
    variable, derived = least.variable, least.derived
    if derived is None and variable is None:
        variable = least.newer
        lines.append(f"{{op: init, var: {variable}, value: {least.number}}}")
    if derived is None:
        derived = least.new
        shown = {"compute_op": "add", "args": f"[{variable}, {variable}]", "var": derived}
        fields = (f", {key}: {shown[key]}" for key, _ in fields_of_step("compute", least.form))
        lines.append(f"{{op: compute{''.join(fields)}}}")
    lines.append(f"{{op: query, var: {derived}}}")
    text = "".join(f"{least.indent}- {line}\n" for line in lines) + FENCE
    return len(vocabulary.word(vocabulary.line(least.indent)[0] + text.removeprefix(least.indent)))


@lru_cache(maxsize=1 << 16)
def rest(vocabulary: Vocabulary, least: Cheapest, op: str, field: int) -> int:
    """Return how many tokens a step of `op` takes after a field, by number (-1: its op), with the shortest ending."""
    fields = fields_of_step(op, least.form)
    shown = {
        "new": least.new, "receiver": least.new, "operation": "add", "args": f"[{least.variable}, {least.variable}]",
        "variable": least.variable, "derived": least.derived, "value": least.number, "amount": least.number,
    }  # fmt: skip
    text = "".join(f" {key}: {shown[kind]}," for key, kind in fields[field + 1 :])
    left = len(vocabulary.word(text[:-1] + line_end(vocabulary, least.indent, op))) if text else 0
    if op == "query":
        return left + len(vocabulary.word(FENCE))
    if op in COMPUTING:
        is_named = ("var", "new") not in fields[max(field, 0) :]
        return left + ending(vocabulary, least if is_named else shorter_query(vocabulary, least, least.new))
    if op == "init":
        return left + ending(vocabulary, least._replace(variable=least.variable or least.newer))
    if op == "consume":
        return left + ending(vocabulary, least)
    return left + ending(vocabulary, least._replace(derived=None))  # who receives at 0 may lose being derived


def shorter_query(vocabulary: Vocabulary, least: Cheapest, name: str) -> Cheapest:
    """Return what is cheapest once `name` is derived, too."""
    names = filter(None, (least.derived, name))
    return least._replace(derived=min(names, key=partial(query_cost, vocabulary)))


def line_end(vocabulary: Vocabulary, indent: str, op: str) -> str:
    """Return what ends a step of `op`: after a query, the next line begins a part or ends the trace."""
    return "}" + vocabulary.line("" if op == "query" else indent)[1]


def args_cost(vocabulary: Vocabulary, name: str) -> int:
    """Return how many tokens a variable takes as both operands of the shortest ending."""
    return len(vocabulary.word(f" args: [{name}, {name}],"))


def query_cost(vocabulary: Vocabulary, name: str) -> int:
    """Return how many tokens a variable takes as what is queried, or as what a step defines."""
    return len(vocabulary.word(f" var: {name}}}\n"))


@lru_cache(maxsize=16)
def short_names(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return a hundred names or more that all take the same few tokens wherever they stand."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in (*ascii_letters, *map("".join, product(ascii_letters, ascii_letters + digits))):
        init = len(vocabulary.word(f" var: {name},"))
        costs = (query_cost(vocabulary, name), args_cost(vocabulary, name), init)
        groups.setdefault(costs, []).append(name)
    return tuple(min((costs, names) for costs, names in groups.items() if len(names) >= _ENOUGH)[1])


def shortest_part(vocabulary: Vocabulary, least: Cheapest) -> int:
    """Return how many tokens the shortest part takes, the closing fence included."""
    dash = "- " if least.indent else ""
    end = vocabulary.line(least.indent)[1]
    heads = (f"{dash}expert: {expert}\n{least.indent}trace:{end}" for expert in EXPERTS)
    bare = least._replace(variable=None, derived=None)
    return min(len(vocabulary.word(head)) for head in heads) + ending(vocabulary, bare)
