"""What numbers are measured in is known where the words beside all their mentions say so."""

import pytest

from mlx_trace.language.measures import measures


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("A pen costs $3 and a book 4 dollars.", {"3": "money", "4": "money"}),
        ("He works 8 hours a day for 9 weeks.", {"8": "time", "9": "time"}),
        ("Of 60 children 25% swim.", {"25": "percent", "0.25": "percent"}),
        ("Tom has 13 bracelets and drives 40 miles.", {"13": "things", "40": "things"}),
        ("Half a dozen eggs and 2.5 million dollars.", {"6": "things", "0.5": "things", "2500000": "money",
                                                         "2.5": "money", "1000000": "money"}),
        ("She has 7 apples, and 7 of them are red.", {}),  # not all mentions say
        ("He is 9 years old, and she was born 5 years ago.", {}),
        ("She has 3 times as many, less 4.", {}),
        ("There are 60 pens. He writes for 5 minutes of an hour.", {"5": "time"}),  # 60 is common knowledge, too
        ("", {}),
    ],
)  # fmt: skip
def test_measures(question: str, expected: dict[str, str]) -> None:
    assert measures(question) == {number: frozenset([measure]) for number, measure in expected.items()}


def test_a_number_that_is_stated_twice_may_be_either() -> None:
    assert measures("He pays $5 for 5 pens.") == {"5": frozenset(["money", "things"])}
