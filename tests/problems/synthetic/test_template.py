"""Quantities are written as they were asked to be: with a sign, or with their unit as a word."""

from fractions import Fraction

import pytest

from mlx_trace.problems.synthetic.template import show_quantity


@pytest.mark.parametrize(
    ("value", "kind", "form", "in_words", "text"),
    [
        ("4.5", "money", "", False, "$4.50"),
        ("4.5", "money", "dollars", False, "4.50 dollars"),
        ("4", "money", "dollars", False, "4 dollars"),
        ("4", "money", "dollars", True, "four dollars"),
        ("1", "count", "dollars", False, "1 dollar"),
        ("1200", "count", "euros", False, "1,200 euros"),
        ("2.25", "measure", "money", False, "$2.25"),
        ("20", "count", "money", True, "$20"),
        ("20", "percent", "", False, "20%"),
        ("20", "percent", "percent", False, "20 percent"),
        ("20", "percent", "percent", True, "twenty percent"),
        ("2.5", "measure", "", True, "2.5"),
        ("1984", "count", "", False, "1,984"),
        ("1984", "count", "year", True, "1984"),
    ],
)
def test_a_quantity_is_written_in_its_form(value: str, kind: str, form: str, in_words: bool, text: str) -> None:
    assert show_quantity(Fraction(value), kind, form, in_words) == text
