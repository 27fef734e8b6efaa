"""What being right costs is counted over the replies that a way to answer takes, no more and no fewer."""

from fractions import Fraction

import pytest

from mlx_trace.evaluate.costs import costs
from mlx_trace.evaluate.record import Record
from mlx_trace.evaluate.repair import Turn
from mlx_trace.language.grade import grade
from mlx_trace.problems.problem import Problem
from tests.evaluate.test_polled import reply

PROBLEM = Problem(id="p", question="What are 4 and 2?", answer="6")


def turn(text: str, tokens: int = 10) -> Turn:
    return Turn(text, grade(text, PROBLEM.expected), 100, tokens, 4, False, 0.5)


def record(*turns: Turn) -> Record:
    first, *others = turns
    made = Record(PROBLEM, first.output, first.grade, first.tokens, first.sampled, first.truncated, first.seconds,
                  first.prompt_tokens)  # fmt: skip
    for other in others:
        made = made.followed(other)
    return made


def test_each_turn_of_repair_adds_what_it_took() -> None:
    records = [[record(turn(reply(4)))], [record(turn("no"), turn("no", 20), turn(reply(4), 30))]]
    first, one, two = costs(records, 2)
    assert [cost.name for cost in (first, one, two)] == ["one reply", "1 repair", "2 repairs"]
    assert [cost.correct.total for cost in (first, one, two)] == [1, 1, 2]
    assert [cost.tokens for cost in (first, one, two)] == [10, 20, 35]
    assert [cost.prompt_tokens for cost in (first, one, two)] == [100, 150, 200]
    assert [cost.seconds for cost in (first, one, two)] == [0.5, 0.75, 1.0]


def test_votes_are_of_samples_of_their_own() -> None:
    texts = [reply(4), reply(4), reply(5), reply(5), "no", "no"]
    one, two, four, six = costs([[record(turn(text)) for text in texts]])
    assert [cost.name for cost in (one, two, four, six)] == ["one sample", "vote of 2", "vote of 4", "vote of 6"]
    assert one.correct.total == Fraction(2, 6)
    assert two.correct.total == Fraction(1, 3), "three votes of two, the first right"
    assert (four.correct.total, six.correct.total) == (1, 1), "the first four, in which 6 was said first"
    assert [cost.tokens for cost in (one, two, four, six)] == [10, 20, 40, 60]
    assert {cost.prompt_tokens for cost in (two, four, six)} == {100}, "samples share their prompt"
    assert four.as_json()["interval"][0] < 1


@pytest.mark.parametrize("samples", [1, 2, 3, 8])
def test_the_last_row_is_what_all_replies_took(samples: int) -> None:
    records = [[record(turn("no"), turn(reply(4 + number), 20)) for number in range(samples)] for _ in range(3)]
    last = costs(records, 1)[-1]
    assert last.tokens * 3 == sum(own.tokens for many in records for own in many)
    assert last.prompt_tokens == 100 + 100 * samples
