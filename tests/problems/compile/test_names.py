"""Names come from the question's nouns, each number has one of its own, and none looks like a step's."""

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_trace.language.knowledge import CONSTANTS
from mlx_trace.language.steps import LONGEST_NAME, NAME
from mlx_trace.problems.compile.compiler import Compiled, compile_row
from mlx_trace.problems.compile.grounding import Grounding
from mlx_trace.problems.compile.names import RESERVED, Namer


def names(question: str) -> list[str]:
    """Name every number of a question, in its order."""
    grounding = Grounding(question)
    namer = Namer(question, grounding.mentions)
    return [namer.name(grounding.leaf(index, mention.value)) for index, mention in enumerate(grounding.mentions)]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("There are 12 cows, 30 hens and 18 goats.", ["cows", "hens", "goats"]),
        ("A coat costs $45 with a tax of 20%.", ["coat_price", "tax_percent"]),
        ("A coat costs 45€, and he pays with a 50 £ bill.", ["coat_price", "bill_money"]),
        ("Each hat costs ₹45 and each scarf costs 30$.", ["price_per_hat", "price_per_scarf"]),
        ("She drives 60 miles per hour for 3 hours.", ["miles_per_hour", "hours"]),
        ("Ida has 26 shells, and Bo has 3 times as many.", ["shells", "times"]),
    ],
)
def test_names_are_the_questions_nouns(question: str, found: list[str]) -> None:
    assert names(question) == found


@pytest.mark.parametrize(
    "question",
    ["7 result? 8 errors?", "There is 7 result. There are 8 errors.", "A result: 7. The result is 8.",
     "7 step1 and 8 step2", "5 pens 5 pens 5 pens 5 pens", "3 Cats, 4 cats and 5 CATS", "5, 5, 5 and 5"],
)  # fmt: skip
def test_names_are_neither_steps_nor_shared(question: str) -> None:
    found = names(question)
    assert len(found) > 1
    assert len(set(found)) == len(found)
    assert not any(RESERVED.fullmatch(name) for name in found)


def test_a_number_from_nowhere_is_not_named_like_a_step() -> None:
    question = "There are 7 pens."
    namer, grounding = Namer(question, []), Grounding(question)
    assert not RESERVED.fullmatch(namer.name(grounding.unknown(Fraction(83), "result")))


def test_a_question_about_results_compiles() -> None:
    row = {"question": "There is 7 result. There are 8 errors.", "answer": "7+8=<<7+8=15>>15\n#### 15"}
    assert isinstance(compile_row(row, "rows:1"), Compiled)


WORDS = (
    "3 4 5 twelve half twice 20% $5 2/3 1/2 dozen pens cups cup Ann Bo per each hour hours week miles of and the a is "
    "costs earns bought step step1 number number_2 in with é 猫 . , ? ! - ' pen's red-hot verylongcompoundedwordsthatgoonandon"
).split()


@given(
    st.one_of(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join), st.text(max_size=80)),
    st.sampled_from(["", "pens", "hours", "day", "of", "猫"]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150)
def test_every_number_has_a_legal_name_of_its_own(question: str, unit: str, random: Random) -> None:
    grounding = Grounding(question)
    namer = Namer(question, grounding.mentions)
    leaves = [grounding.leaf(at, mention.value) for at, mention in enumerate(grounding.mentions)]
    leaves += [grounding.leaf(None, value, unit) for value in sorted(CONSTANTS)]
    leaves.append(grounding.unknown(Fraction(83), unit))
    random.shuffle(leaves)
    found = [namer.name(leaf) for leaf in leaves]
    assert len(set(found)) == len(found)
    assert all(NAME.fullmatch(name) and name == name.lower() for name in found)
    assert all(len(name) <= LONGEST_NAME + 4 for name in found)
    assert not any(RESERVED.fullmatch(name) for name in found)
