"""The lint catches each known defect when it is planted, and passes what is right."""

import subprocess
import sys
from fractions import Fraction

import pytest

from mlx_trace.problems import english

NOUNS = {"apple": "apples", "box": "boxes", "shelf": "shelves", "coin": "coins", "sheep": "sheep", "glass": "glasses"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("It is ten% off.", "number word"),
        ("He sold one/2 of them.", "number word"),
        ("It takes 1 hours.", "one in the plural"),
        ("He ran for one miles.", "one in the plural"),
        ("She has 1 coins.", "number and noun"),
        ("She has 3 coin.", "number and noun"),
        ("She has three apple.", "number and noun"),
        ("he has 3 coins.", "lower case"),
        ("He sat. she stood.", "lower case"),
        ("A apple fell.", "article"),
        ("It is an box.", "article"),
        ("It costs an $9 fee.", "article"),
        ("It costs $7.5 today.", "one decimal"),
        ("It costs $4.0 today.", "one decimal"),
        ("It costs $4.00 today.", ".00"),
        ("It costs $4 dollars.", "dollars twice"),
        ("There are two boxs.", "plural"),
        ("There are two shelfs.", "plural"),
        ("He has some coinss.", "plural"),
        ("He  has it.", "two spaces"),
        ("He has it .", "before punctuation"),
        ("He has it", "no full stop"),
        ("He has {item}.", "unfilled"),
        ("He has ${price}.", "unfilled"),
        ("The the box is red.", "repeated word"),
        ("He have a box.", "agreement"),
        ("Today she give it away.", "agreement"),
        ("They has a box.", "agreement"),
        ("There is 3 coins.", "agreement"),
        ("There were 1 coin.", "agreement"),
        ("He has it,.", "doubled punctuation"),
    ],
)
def test_each_planted_defect_is_caught(text: str, fault: str) -> None:
    found = list(english.lint(text, NOUNS))
    assert any(fault in one for one in found), found


@pytest.mark.parametrize(
    "text",
    [
        "He has 1 apple, 3 coins and one box.",
        "An 8-hour day, a unit, an hour, an $8 fee and a $9 fee.",
        "It costs $7.50 or $7, 20% off, for a 1-hour ride.",
        'Does she have it? "Yes," he said.',
        "There were 12 sheep and there was one glass.",
        "Did he give it to her? He wants to make it.",
        "A hundred people came; 1.5 hours passed.",
    ],
)
def test_right_english_passes(text: str) -> None:
    assert list(english.lint(text, NOUNS)) == []


@pytest.mark.parametrize(
    ("amount", "text"),
    [(7, "$7"), (Fraction("7.5"), "$7.50"), (1234, "$1,234"), (Fraction("1234.25"), "$1,234.25"), (Fraction("0.05"), "$0.05")],
)  # fmt: skip
def test_money_prints_as_people_write_it(amount: Fraction, text: str) -> None:
    assert english.money(Fraction(amount)) == text


def test_money_has_whole_cents() -> None:
    with pytest.raises(ValueError, match="cents"):
        english.money(Fraction(1, 3))


def test_relation_words_come_from_the_number() -> None:
    assert [english.times(Fraction(n)) for n in (2, 3, 7)] == ["twice", "three times", "7 times"]
    assert english.times(Fraction(1, 2)) == "half"
    assert [english.part(Fraction(n)) for n in (2, 3, 4)] == ["half", "a third", "a quarter"]
    assert [english.fold(Fraction(n)) for n in (2, 3)] == ["doubled", "tripled"]
    for function in (english.part, english.fold):
        with pytest.raises(ValueError, match="no word"):
            function(Fraction(7))


def test_plurals_and_articles_of_phrases() -> None:
    assert [english.plural(noun) for noun in ("apple", "box", "red shelf", "box of pens")] == [
        "apples", "boxes", "red shelves", "boxes of pens"]  # fmt: skip
    assert [english.article(noun) for noun in ("apple", "unit", "8", "hour")] == [
        "an apple",
        "a unit",
        "an 8",
        "an hour",
    ]


def test_inflect_is_imported_without_its_functions_being_compiled_anew() -> None:
    probe = ("import sys; from mlx_trace.problems import english; english.plural('box'); import inflect, typeguard\n"
             "assert typeguard.typechecked.__module__.startswith('typeguard')\n"
             "print(any('check' in name for name in inflect.engine.plural_noun.__code__.co_names))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
