"""Numbers change only where their digits are what they say: a rent of €1.250 is no 1.25 in another variant."""

from fractions import Fraction

import pytest

from mlx_trace.language.syntax import Trace, parse
from mlx_trace.problems.compile.compiler import Compiled, compile_row
from mlx_trace.problems.variants.slots import find_slots


@pytest.mark.parametrize(
    ("rent", "changes"), [("$1,250", True), ("1250 euros", True), ("€1.250", False), ("1.250 €", False), ("€1.250,00", False)]
)  # fmt: skip
def test_only_what_its_digits_say_may_change(rent: str, changes: bool) -> None:
    question = f"A rent of {rent} is paid by 5 friends. What does each pay?"
    found = compile_row({"question": question, "answer": "1250/5=250\n#### 250"}, "r:1")
    assert isinstance(found, Compiled)
    trace = parse(found.trace)
    assert isinstance(trace, Trace)
    values = {slot.value for slot in find_slots(question, trace)}
    assert (Fraction(1250) in values) is changes
    assert Fraction(5) in values
