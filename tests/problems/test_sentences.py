"""Sentences are cut where they end, and nothing of a question is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.problems.sentences import last_sentence, sentences_of


@pytest.mark.parametrize(
    ("question", "sentences"),
    [
        ("Mr. Ray has 2.5 kg. How much is left?", ["Mr. Ray has 2.5 kg.", "How much is left?"]),
        ("He left at 7 a.m. Was it late? Yes!", ["He left at 7 a.m. Was it late?", "Yes!"]),
        ('Ann said 3. "Four," said Bo.', ["Ann said 3.", '"Four," said Bo.']),
        (" one alone ", ["one alone"]),
    ],
)
def test_an_abbreviation_ends_none(question: str, sentences: list[str]) -> None:
    assert sentences_of(question) == sentences


def test_the_last_is_what_stands_behind_a_mark_and_a_space() -> None:
    assert last_sentence("There are 3. How many?") == "How many?"
    assert last_sentence("It costs $2.50 in all ") == "It costs $2.50 in all"


@given(st.text(alphabet='aB1.?! "', max_size=60))
def test_nothing_is_lost(question: str) -> None:
    for told in ("".join(sentences_of(question)), last_sentence(question)):
        assert question.replace(" ", "").endswith(told.replace(" ", ""))
    assert " ".join(sentences_of(question)).split() == question.split()
