"""A step is read strictly: exactly its fields, once each, with values of the right form."""

from fractions import Fraction

import pytest

from mlx_trace.language.steps import (
    AddEntity,
    Compute,
    Consume,
    Init,
    InitFrom,
    Malformed,
    Percent,
    Query,
    Step,
    Transfer,
    field_names,
    read_step,
    render_step,
)

GOOD: list[tuple[str, Step]] = [
    ("{op: init, var: eggs, value: 16}", Init("eggs", Fraction(16))),
    ("{op: init, var: e, value: 1/3}", Init("e", Fraction(1, 3))),
    ("{op: init, var: sale, source: prev.result}", InitFrom("sale", "prev.result")),
    ("{op: compute, compute_op: add, args: [a, 2, b.c], var: r}", Compute("add", ("a", Fraction(2), "b.c"), "r")),
    ("{op: percent_off, base: p, rate: 20, var: r}", Percent("p", Fraction(20), "r", "percent_off")),
    ("{op: consume, entity: a.eggs, amount: 3}", Consume("a.eggs", Fraction(3))),
    ("{op: add_entity, entity: a, amount: x}", AddEntity("a", "x")),
    ("{op: transfer, from: a, to: b, amount: 0.5}", Transfer("a", "b", Fraction(1, 2))),
    ("{op: query, var: r}", Query("r")),
]


def pairs(text: str) -> list[tuple[str, object]]:
    """Split a flow-style step; lists stay lists of text."""
    found: list[tuple[str, object]] = []
    for piece in text.strip("{}").replace(", ", ",").split(",") if "[" not in text else _with_list(text):
        key, _, value = piece.partition(":")
        value = value.strip()
        found.append((key.strip(), value.strip("[]").split(" ") if value.startswith("[") else value))
    return found


def _with_list(text: str) -> list[str]:
    before, inside, after = text.strip("{}").partition("[")[0], text[text.find("[") : text.find("]") + 1], ""
    after = text.strip("{}")[text.strip("{}").find("]") + 1 :]
    return [*before.split(", ")[:-1]] + [before.split(", ")[-1] + inside.replace(",", "")] + [
        piece for piece in after.split(", ") if piece
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "step"), GOOD)
def test_a_step_is_read_and_written(text: str, step: Step) -> None:
    assert read_step(pairs(text)) == step
    assert render_step(step) == text


def test_entity_spellings_of_transfer_are_accepted() -> None:
    assert read_step(pairs("{op: transfer, from_entity: a, to_entity: b, amount: 1}")) == Transfer(
        "a", "b", Fraction(1)
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{op: fly, var: x}", "unknown_op"),
        ("{op: add, var: x}", "unknown_op"),
        ("{op: Init, var: x, value: 1}", "unknown_op"),
        ("{op: [x]}", "unknown_op"),
        ("{var: x, value: 1}", "wrong_field"),
        ("{op: init, var: x}", "wrong_field"),
        ("{op: init, value: 1}", "wrong_field"),
        ("{op: init, var: x, value: 1, source: prev.result}", "wrong_field"),
        ("{op: init, var: x, value: 1, note: y}", "wrong_field"),
        ("{op: init, var: x, var: y, value: 1}", "wrong_field"),
        ("{op: query, var: x, amount: 2}", "wrong_field"),
        ("{op: compute, compute_op: sub, args: [a, b, c], var: r}", "wrong_field"),
        ("{op: compute, compute_op: add, args: [a], var: r}", "wrong_field"),
        ("{op: compute, compute_op: pow, args: [a, b], var: r}", "bad_value"),
        ("{op: compute, compute_op: add, args: a, var: r}", "bad_value"),
        ("{op: transfer, from: a, from_entity: a, to: b, amount: 1}", "wrong_field"),
        ("{op: transfer, from_: a, to: b, amount: 1}", "wrong_field"),
        ("{op: init, var: x, value: y}", "bad_value"),
        ("{op: init, var: x, value: 1e3}", "bad_value"),
        ("{op: init, var: x, value: 1_000}", "bad_value"),
        ("{op: init, var: x, value: .inf}", "bad_value"),
        ("{op: init, var: x, value: 2*3}", "bad_value"),
        ("{op: init, var: x, value: }", "bad_value"),
        ("{op: init, var: x, value: [1]}", "bad_value"),
        ("{op: consume, entity: a, amount: 2*3}", "bad_value"),
        ("{op: init, var: 5, value: 1}", "bad_name"),
        ("{op: init, var: a-b, value: 1}", "bad_name"),
        ("{op: init, var: a..b, value: 1}", "bad_name"),
        ("{op: init, var: é, value: 1}", "bad_name"),
        ("{op: query, var: 5}", "bad_name"),
        ("{op: init, var: x, source: prev}", "bad_source"),
        ("{op: init, var: x, source: sub0.resultX}", "bad_source"),
        ("{op: init, var: x, source: sub01.result}", "bad_source"),
    ],
)
def test_anything_else_is_malformed_with_its_kind(text: str, kind: str) -> None:
    step = read_step(pairs(text))
    assert isinstance(step, Malformed)
    assert step.kind == kind
    assert step.message
    assert step.text


def test_fields_are_named_as_they_are_written() -> None:
    assert field_names("transfer") == ["from", "to", "amount"]
    assert field_names("compute") == ["compute_op", "args", "var"]
