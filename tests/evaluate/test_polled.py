"""One sample, the vote and pass@k are of the same samples, and problems are their unit."""

import json
from fractions import Fraction

import pytest

from mlx_trace.evaluate.polled import Polled, polled, shown_k, summarise_polls
from mlx_trace.evaluate.record import Record
from mlx_trace.evaluate.strata import strata
from mlx_trace.language.grade import grade
from mlx_trace.problems.problem import Problem


def reply(first: int, second: int | None = 2) -> str:
    """Return a trace of a sum; one that does not run without a second number."""
    return (f"expert: arithmetic\ntrace:\n- {{op: init, var: a, value: {first}}}\n- {{op: init, var: b, value: {second}}}\n"
            "- {op: compute, compute_op: add, args: [a, b], var: c}\n- {op: query, var: c}\n")  # fmt: skip


def poll(*outputs: str, answer: str = "6", expert: str | None = None) -> Polled:
    problem = Problem(id="p", question="What are 4 and 2?", answer=answer, expert=expert)
    return polled([Record(problem, text, grade(text, problem.expected), 10, 4, False, 0.5) for text in outputs])


POLLS = [
    poll(reply(4), reply(4), reply(5), reply(4)),  # three of four are right
    poll(reply(5), reply(5), reply(4), reply(4, None)),  # as heavy: 7 uses one number, twice, and 6 uses both
    poll(reply(5), reply(7), "no trace", reply(4, None), expert="comparison"),
    poll("no", "no", "no", reply(4, None)),
]


def test_a_poll_is_right_where_what_wins_is() -> None:
    assert [one.right for one in POLLS] == [3, 1, 0, 0]
    assert [one.vote.winner and str(one.vote.winner) for one in POLLS] == ["6", "7", "7", None]
    assert [one.correct for one in POLLS] == [True, False, False, False]


def test_the_counts_are_of_the_same_samples() -> None:
    total = summarise_polls(POLLS, 4)
    assert total.one_sample.total == Fraction(3 + 1, 4)
    assert total.passes[1] == total.one_sample
    assert (total.vote.count, total.vote.n) == (1, 4)
    assert total.passes[4].total == 2
    assert total.passes[2].total == 1 + Fraction(1, 2)
    assert (total.parsed.total, total.valid.total) == (4 - Fraction(2 + 3 - 1, 4), Fraction(4 + 3 + 2 + 0, 4))
    assert total.paired == (0, 0, 1.0)
    late = [poll(reply(5), reply(4), reply(4)), poll(reply(4), reply(5), reply(5), reply(5))]
    assert summarise_polls(late[:1], 3).paired[:2] == (0, 1)
    assert summarise_polls(late[1:], 4).paired[:2] == (1, 0)
    told = total.as_json()
    assert (told["n"], told["vote"]["count"]) == (4, 1)
    assert list(told["pass"]) == ["1", "2", "4"]
    assert told["one_sample"]["interval"][0] < 0.25 < told["one_sample"]["interval"][1]
    assert {name: summarise_polls(own, 4).vote.n for name, own in strata("expert", POLLS)} == {"comparison": 1}


def test_a_record_holds_the_answers_the_votes_and_how_far_they_agree() -> None:
    row = json.loads(POLLS[1].as_json())
    assert (row["got"], row["correct"], row["right"], row["agreement"]) == ("7", False, 1, 0.5)
    assert [sample["got"] for sample in row["samples"]] == ["7", "7", "6", None]
    assert [sample["weight"] for sample in row["samples"]] == [0.5, 0.5, 1.0, 0.0]
    assert row["votes"] == [{"answer": "7", "count": 2, "weight": 1.0}, {"answer": "6", "count": 1, "weight": 1.0}]
    assert (row["tokens"], row["sampled"], row["seconds"]) == (40, 16, 2.0)


@pytest.mark.parametrize(("samples", "shown"), [(2, [1, 2]), (8, [1, 2, 4, 8]), (10, [1, 2, 4, 8, 10])])
def test_pass_at_k_is_shown_for_powers_of_two_and_all(samples: int, shown: list[int]) -> None:
    assert shown_k(samples) == shown
