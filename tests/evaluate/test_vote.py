"""A vote is of answers, whoever wrote them and however; pass@k is the mean over all choices of k samples."""

from fractions import Fraction
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.evaluate.vote import Ballot, Vote, cast, pass_at

answers = st.one_of(st.none(), st.integers(-3, 3).map(Fraction), st.just(Fraction(1, 3)))
weights = st.integers(0, 4).map(lambda quarters: Fraction(quarters, 4))
ballots = st.lists(
    st.builds(lambda answer, weight: Ballot(answer, Fraction() if answer is None else weight), answers, weights),
    min_size=1, max_size=12,
)  # fmt: skip


def alike(*given: str | None) -> Vote:
    """Return a vote of ballots that weigh the same."""
    return Vote([Ballot(None if one is None else Fraction(one), Fraction(one is not None)) for one in given])


def told(vote: Vote) -> dict[str, int]:
    return {str(one): len(one.samples) for one in vote.candidates}


@given(ballots)
def test_every_answer_is_counted_once_and_failures_do_not_vote(papers: list[Ballot]) -> None:
    vote = Vote(papers)
    said = [number for one in vote.candidates for number in one.samples]
    assert sorted(said) == [number for number, ballot in enumerate(papers) if ballot.answer is not None]
    assert all({papers[n].answer for n in one.samples} == {one.answer} for one in vote.candidates)
    assert (vote.winner is None) == (not said)
    assert 0 <= vote.agreement <= 1


@given(ballots)
def test_the_winner_is_the_heaviest_then_the_one_most_say_then_the_first(papers: list[Ballot]) -> None:
    vote = Vote(papers)
    ranks = [(one.weight, len(one.samples), -one.samples[0]) for one in vote.candidates]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == len(ranks), "nothing is left to chance"


@given(ballots, st.integers(0, 10**6))
def test_the_order_of_samples_decides_ties_alone(papers: list[Ballot], seed: int) -> None:
    vote, other = Vote(papers), Vote(Random(seed).sample(papers, len(papers)))
    assert {(one.answer, one.weight, len(one.samples)) for one in vote.candidates} == {
        (one.answer, one.weight, len(one.samples)) for one in other.candidates}  # fmt: skip
    first = vote.candidates[:2]
    if len(first) == 2 and (first[0].weight, len(first[0].samples)) != (first[1].weight, len(first[1].samples)):
        assert other.winner and vote.winner and other.winner.answer == vote.winner.answer


@given(ballots)
def test_one_more_for_the_winner_changes_nothing(papers: list[Ballot]) -> None:
    vote = Vote(papers)
    if vote.winner is not None:
        more = Vote([*papers, Ballot(vote.winner.answer, Fraction(1))])
        assert more.winner is not None
        assert more.winner.answer == vote.winner.answer


@given(ballots)
def test_the_speaker_says_what_wins_and_uses_most(papers: list[Ballot]) -> None:
    vote = Vote(papers)
    if vote.winner is not None:
        assert vote.speaker in vote.winner.samples
        assert papers[vote.speaker].weight == max(papers[n].weight for n in vote.winner.samples)


def test_a_majority_wins_and_says_by_how_much() -> None:
    vote = alike("12", "7", None, "12", "12", "12", "12", "12")
    assert told(vote) == {"12": 6, "7": 1}
    assert (vote.agreement, vote.is_split) == (Fraction(3, 4), False)
    assert alike("3", "4", "4", "3").is_split
    assert str(alike("3", "4", "4", "3").winner) == "3"
    assert not alike(None, None).is_split
    assert alike(None, None).winner is None


def test_an_answer_from_all_numbers_outweighs_more_that_leave_some_out() -> None:
    half, whole = Fraction(1, 3), Fraction(1)
    vote = Vote([Ballot(Fraction(4), half), Ballot(Fraction(4), half), Ballot(Fraction(9), whole)])
    assert str(vote.winner) == "9"
    assert vote.is_split
    nothing = Vote([Ballot(Fraction(4), Fraction()), Ballot(Fraction(9), Fraction()), Ballot(Fraction(9), Fraction())])
    assert str(nothing.winner) == "9", "where none uses any number, they are counted"


def test_ballots_are_of_traces_that_ran() -> None:
    def text(value: str, operation: str = "add") -> str:
        return (f"expert: arithmetic\ntrace:\n- {{op: init, var: a, value: 4}}\n- {{op: init, var: b, value: {value}}}\n"
                f"- {{op: compute, compute_op: {operation}, args: [a, b], var: c}}\n- {{op: query, var: c}}\n```")  # fmt: skip

    texts = [text("2"), text("2.0"), text("0", "div"), "six", text("9"), text("2")]
    given = cast("Four and 2 are how many? There are 3 of us.", texts)
    assert [ballot.answer for ballot in given] == [6, 6, None, None, 13, 6]
    assert [ballot.weight for ballot in given] == [Fraction(2, 3), Fraction(2, 3), 0, 0, Fraction(1, 3), Fraction(2, 3)]
    assert told(Vote(given)) == {"6": 3, "13": 1}


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_mean_over_all_choices(right: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(right)))
    chosen = [any(some) for some in combinations(right, k)]
    assert pass_at(k, len(right), sum(right)) == Fraction(sum(chosen), len(chosen))


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_pass_at_k_goes_from_the_share_to_whether_any_is_right(pair: tuple[int, int]) -> None:
    samples, right = pair
    curve = [pass_at(k, samples, right) for k in range(1, samples + 1)]
    assert curve == sorted(curve)
    assert (curve[0], curve[-1]) == (Fraction(right, samples), right > 0)


def test_more_than_was_sampled_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="5 of 4 samples"):
        pass_at(5, 4, 1)
