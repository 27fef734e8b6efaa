"""Arithmetic in prose is read as people mean it: signs, units, brackets, x; and computed exactly."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_trace.language.steps import ComputeOp
from mlx_trace.problems.compile.expression import Expression, Number, Operation, Symbol, evaluate, leftmost
from mlx_trace.problems.compile.items import BREAK, MOST_DIGITS, MOST_ITEMS, Item, parse_expression, read_items


def read(line: str, unknowns: bool = False) -> Expression | None:
    return parse_expression(read_items(line, unknowns))


def number(value: int | str) -> Number:
    return Number(Fraction(value))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("3+4*5", 23), ("(3+4)*5", 35), ("20-6-5", 9), ("24/4/3", 2), ("24/(4*3)", 2), ("[2+3]*{4-1}", 15),
        ("2 × 3 · 4 ⋅ 5", 120), ("84 ÷ 7", 12), ("9 − 4 – 1 — 1", 3), ("9 x 4", 36), ("9 X 4", 36), ("9x4", 36),
        ("5(4)", 20), ("(5)(4)", 20), ("2(3+4)", 14), ("-5+8", 3), ("3*(-2)", -6), ("½ × 30", 15), ("¾ * 8", 6),
        ("2½ * 4", 10), ("2 1/2 * 4", 10), ("3 - 1/2", "5/2"), ("1 - 1/6", "5/6"), ("1-1/6", "5/6"), ("12-1/2", "23/2"),
        ("1/2 + 1/3", "5/6"), ("3/4 of 20", 15), ("half of 20", 20), ("0.5 of 20", 10), (".5*8", 4), ("1,250 + 750", 2000),
        ("1,000,000/1,000", 1000), ("$12.50 + $2.50", 15), ("€14+€6", 20), ("£3 * 2", 6), ("$ 5 + $ 6", 11),
        ("3 crates * 12 jars/crate", 36), ("60 miles/hour * 2 hours", 120), ("6 oars (of ash) * 4 kilos", 24),
        ("3 big red boxes + 4 boxes", 7), ("9 plus 4", 13), ("9 minus 4", 5), ("9 times 4", 36), ("36 divided by 4", 9),
        ("9 multiplied by 4", 36), ("he has 3 + 4", 7), ("3+4 apples", 7), ("Tom's 3 + 4", 7),
    ],
)  # fmt: skip
def test_lines_are_read_as_people_mean_them(line: str, value: int | str) -> None:
    expression = read(line)
    assert expression is not None
    assert evaluate(expression) == Fraction(value)


@pytest.mark.parametrize(
    ("line", "value"),
    [("20% of 50", 10), ("20% * 50", 10), ("50*20%", 10), ("100% - 20%", "4/5"), ("17/85 x 100%", "1/5"),
     ("15 percent of 60", 9), ("2.5 % of 80", 2)],
)  # fmt: skip
def test_a_percent_sign_counts_what_it_is_said_to(line: str, value: int | str) -> None:
    expression = read(line)
    assert expression is not None
    assert evaluate(expression, Fraction(1, 100)) == Fraction(value)


@pytest.mark.parametrize(
    "line",
    ["", "no numbers", "3 +", "+ 3 *", "3 + * 4", "3 4", "(3 + 4", "3 + 4)", "()", "3 + ()", "3. 4", "3, 4", "3; 4 + 5",
     "3 + 4 = 7", "<<3+4=7>>", "3 * 4: 12", "3 and 4", "1 1 1/2", "3 + (4", "3 pairs; 4"],
)  # fmt: skip
def test_what_is_no_expression_is_none(line: str) -> None:
    assert read(line) is None


@pytest.mark.parametrize(
    ("line", "unit"),
    [("12 apples", "apples"), ("12 red apples", "apples"), ("12 apples in a bag", "apples"), ("12 per bag", ""),
     ("12", ""), ("$12", ""), ("12 Apples", "apples")],
)  # fmt: skip
def test_a_number_keeps_its_noun(line: str, unit: str) -> None:
    found = read(line)
    assert isinstance(found, Number)
    assert found.unit == unit


def test_a_number_keeps_its_sign_and_places() -> None:
    assert read("12.50") == Number(Fraction(25, 2), "", False, 2)
    assert read("20%") == Number(Fraction(20), "", True, 0)
    assert read("2 1/2") == number("5/2")


def test_letters_are_unknowns_only_where_there_are_some() -> None:
    assert all(not isinstance(item.content, Symbol) for item in read_items("2x + 3y = x - 4(y + b)"))
    assert read("2x + 3", True) == Operation("add", Operation("mul", number(2), Symbol("x")), number(3))
    assert read("2(x + 3)", True) == Operation("mul", number(2), Operation("add", Symbol("x"), number(3)))
    assert read("X/3", True) == Operation("div", Symbol("x"), number(3))
    assert read("3 x 4", True) == Operation("mul", number(3), number(4))
    assert read("2a + 3", True) == Operation("add", Operation("mul", number(2), Symbol("a")), number(3))
    assert read("the box", True) is None


@pytest.mark.parametrize(
    "line", ["So a boy has 3 + 4", "Now I have 3 + 4", "a boy has 3 + 4", "A boy has 3 + 4", "I have 3 + 4"]
)
def test_articles_are_no_unknowns(line: str) -> None:
    assert read(line, True) == Operation("add", number(3), number(4))


def test_annotations_are_items_of_their_own() -> None:
    kinds = [item.kind for item in read_items("3*4=<<3*4=12>>12.")]
    assert kinds == ["number", "operator", "number", "equal", "annotation", "number", "break"]
    (note,) = [item for item in read_items("<<a<b>> <<3*4=12>>") if item.kind == "annotation"]
    assert note.text == "3*4=12"


def test_bounds_of_numbers_and_expressions() -> None:
    assert read("9" * MOST_DIGITS) == number("9" * MOST_DIGITS)
    assert read("9" * (MOST_DIGITS + 1)) is None
    most = MOST_ITEMS // 2
    assert read("+".join(["1"] * most)) is not None
    assert read("+".join(["1"] * (most + 1))) is None
    assert read("(" * 99 + "1" + ")" * 99) is not None
    assert read("(" * 5000 + "1" + ")" * 5000) is None


def test_evaluate_raises_for_zero_divisors_and_unknowns() -> None:
    with pytest.raises(ZeroDivisionError):
        evaluate(Operation("div", number(3), Operation("sub", number(2), number(2))))
    with pytest.raises(ValueError, match="x is unknown"):
        evaluate(Operation("add", number(3), Symbol("x")))


def test_leftmost() -> None:
    assert leftmost(read("12 apples * 3 + 4")) == Number(Fraction(12), "apples")
    assert leftmost(read("x + 3", True)) is None
    assert leftmost(None) is None


# --- properties ------------------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.integers(0, 10**6).map(str), st.integers(0, 10**6).map("{:,}".format), st.decimals(0, 1000, places=2).map(str)
)
SIGNS: dict[ComputeOp, tuple[str, ...]] = {
    "add": (" + ", "+", " plus "), "sub": (" - ", " − ", " – ", " minus "), "mul": ("*", " × ", " x ", " times "),
    "div": (" / ", "÷", " divided by "),
}  # fmt: skip


@st.composite
def written(draw: st.DrawFn, depth: int = 4) -> tuple[str, Fraction | None]:
    """Draw an expression as people write it, fully bracketed, and its value; None where it divides by zero."""
    if depth == 0 or draw(st.booleans()):
        text = draw(LEAVES)
        return draw(st.sampled_from(["", "$", "€"])) + text, Fraction(text.replace(",", ""))
    op = draw(st.sampled_from(sorted(SIGNS)))
    (left, one), (right, other) = draw(written(depth - 1)), draw(written(depth - 1))
    sign = draw(st.sampled_from(SIGNS[op]))
    return f"({left}){sign}({right})", computed(op, one, other)


def computed(op: ComputeOp, left: Fraction | None, right: Fraction | None) -> Fraction | None:
    if left is None or right is None or (op == "div" and right == 0):
        return None
    return {"add": left + right, "sub": left - right, "mul": left * right}.get(op) if op != "div" else left / right


@given(written())
@settings(max_examples=150)
def test_what_is_written_is_what_is_computed(case: tuple[str, Fraction | None]) -> None:
    text, value = case
    expression = read(text)
    if len(read_items(text)) > MOST_ITEMS:
        assert expression is None
    elif value is None:
        assert expression is not None
        with pytest.raises(ZeroDivisionError):
            evaluate(expression)
    else:
        assert expression is not None
        assert evaluate(expression) == value


@given(st.lists(st.tuples(st.integers(1, 99), st.sampled_from("+-*")), min_size=1, max_size=12), st.integers(1, 99))
@settings(max_examples=100)
def test_products_bind_before_sums_and_both_from_the_left(pairs: list[tuple[int, str]], last: int) -> None:
    expression = read("".join(f"{value}{sign}" for value, sign in pairs) + str(last))
    total, product, negative = 0, 1, False
    for value, sign in [*pairs, (last, "")]:
        product *= value
        if sign != "*":
            total += -product if negative else product
            product, negative = 1, sign == "-"
    assert expression is not None
    assert evaluate(expression) == total


PIECES = (
    "3 0.5 .2 20% 1/2 ½ 1,000 + - – * × x X / ÷ = ( ) [ ] << >> <<3+4=7>> $ . , ; of is times by a b apples".split()
)


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join)), st.booleans())
@settings(max_examples=200)
def test_any_text_is_read(text: str, unknowns: bool) -> None:
    items = read_items(text, unknowns)
    assert all(item.kind == "annotation" or item.text.isascii() for item in items)
    found = parse_expression(items)
    if found is not None:
        assert 0 < len(items) <= MOST_ITEMS


ITEMS = st.sampled_from([
    BREAK, Item("open"), Item("close"), Item("equal", "="), Item("annotation", "3+4=7"), Item("number", "", number(3)),
    Item("symbol", "", Symbol("x")), *(Item("operator", op) for op in SIGNS), Item("operator", "?"),
])  # fmt: skip


@given(st.lists(ITEMS, max_size=40))
@settings(max_examples=150)
def test_any_items_are_an_expression_or_none(items: list[Item]) -> None:
    assert parse_expression(items) is None or all(
        item.kind in ("open", "close", "number", "symbol", "operator") for item in items
    )
