"""What questions ask for and solutions tell of, as names; and that a result's name is always legal and new."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.language.steps import LONGEST_NAME
from mlx_trace.problems.compile.asked import asked
from mlx_trace.problems.compile.result_names import RESERVED, computed, result_name
from mlx_trace.problems.compile.told_results import told_results

QUESTIONS = {
    "How many eggs are left?": "eggs_left",
    "How much did she pay in total?": "total_cost",
    "How many hours does he work per week?": "hours_per_week",
    "How many red marbles are in the bag?": "red_marbles",
    "How many more pages does Ines need to read?": "pages_needed",
    "How many more stamps does Tim have than Lea?": "more_stamps",
    "How many fewer goals did they score in the second game?": "fewer_goals",
    "How many beads are in each box?": "beads_per_box",
    "How many pears does each child get?": "pears_per_child",
    "How many cups of flour are needed?": "flour_cups",
    "How many candles are there in all?": "total_candles",
    "How many kittens did the cat have at the beginning?": "kittens_at_first",
    "How much money does Rosa have left?": "money_left",
    "How much change does he get?": "change",
    "How much does one ticket cost?": "cost",
    "How much does Nils earn in 4 weeks?": "earnings",
    "How much profit did the stand make?": "profit",
    "How much taller is the oak than the birch?": "height_difference",
    "How much water is still in the tank?": "water_left",
    "How old is Vera?": "age",
    "How long did the trip take?": "time",
    "How long is the rope?": "length",
    "How long does the film last, in minutes?": "minutes",
    "How far is it to the lake?": "distance",
    "How tall is the tower in feet?": "height_feet",
    "How fast does the bus go?": "speed",
    "What is the total cost of the meal?": "total_cost",
    "What is the average score of the team?": "average_score",
    "What is the difference in weight between the dogs?": "weight_difference",
    "What percent of the pupils walk to school?": "percent",
    "What fraction of the cake was eaten?": "fraction",
    "Find the perimeter of the field.": "perimeter",
    "If 4 of the 9 birds fly off, how many birds remain?": "birds_left",
    "A box holds 6 eggs. How many boxes are filled if there are 30 eggs left?": "boxes",
}


@pytest.mark.parametrize(("question", "name"), QUESTIONS.items())
def test_a_question_names_its_answer(question: str, name: str) -> None:
    assert next(asked(question)) == name


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("That leaves 9 - 4 = <<9-4=5>>5 pears.", "pears"),
        ("He has 9 - 4 = <<9-4=5>>5 pears left.", "pears_left"),
        ("The total cost is 2 + 3 = $<<2+3=5>>5.", "total_cost"),
        ("She earns 20 / 4 = $<<20/4=5>>5 a day.", "earnings_per_day"),
        ("10 - 5 = 5", ""),
        ("There are 9 - 4 = 5 unicorns.", ""),  # which the question does not speak of
    ],
)
def test_a_solution_names_its_results(line: str, name: str) -> None:
    found = told_results(line, "Pears cost 2 dollars. How much does she earn a day with pears?")
    assert found.get(5, "") == name  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("op", "args", "name"),
    [
        ("sub", ["eggs", "eggs_eaten"], "eggs_left"),
        ("add", ["pens", "pens_red"], "total_pens"),
        ("add", ["pens_cost", "lamp_price"], "total_cost"),
        ("mul", ["books", "books_price"], "books_cost"),
        ("mul", ["eggs_per_box", "boxes"], "eggs"),
        ("div", ["eggs", "eggs_per_box"], "boxes"),
        ("div", ["candies", "children"], "candies_per_child"),
        ("div", ["cake", "parts"], "cake_part"),
        ("sub", ["tickets", "tickets_left"], "tickets_used"),
        ("percent_of", ["bill", "tip_percent"], "tip"),
        ("percent_off", ["price", "percent"], "discounted_price"),
        ("mul", ["speed1", "hours1"], "distance_1"),
    ],
)
def test_an_operation_names_what_it_makes(op: str, args: list[str], name: str) -> None:
    assert next(computed(op, args)) == name


_NAMES = st.one_of(
    st.sampled_from(["eggs", "step1", "result", "a.b", "price_per_box", "x" * 40, "", "eggs_left"]),
    st.text(max_size=12),
)


@given(
    st.lists(_NAMES, max_size=3),
    st.sampled_from(["add", "sub", "mul", "div", "percent_of", "percent_off", "percent_increase"]),
    st.tuples(_NAMES, _NAMES), st.sets(_NAMES), _NAMES, st.booleans(),
)  # fmt: skip
def test_any_words_make_a_legal_new_name(
    said: list[str], op: str, args: tuple[str, str], taken: set[str], noun: str, again: bool
) -> None:
    name = result_name(said, op, args, taken, noun, again)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name) and len(name) <= LONGEST_NAME
    assert name not in taken and not RESERVED.fullmatch(name)
    assert name == result_name(said, op, args, taken, noun, again)


@given(st.text(max_size=80))
def test_any_text_may_be_asked(text: str) -> None:
    assert all(isinstance(name, str) for name in asked(text))
    told_results(text + "= 5 eggs", text)
