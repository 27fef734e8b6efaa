"""Every example comes once an epoch, beside others of like length, within the tokens that a batch may hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.config import Prompt
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.synthetic.generator import draw
from mlx_trace.problems.synthetic.schema import load_schemas
from mlx_trace.train.examples import Batches, by_budget, examples

LENGTHS = [7 * n % 83 + 3 for n in range(101)]


@pytest.mark.parametrize("tokens", [None, 300, 160])
def test_every_example_is_in_an_epoch_once_whatever_its_length(tokens: int | None) -> None:
    batches = Batches(LENGTHS, 8, tokens, seed=5)
    epochs = [batches.epoch(at) for at in range(3)]
    for epoch in epochs:
        assert sorted(at for batch in epoch for at in batch) == list(range(101))
        if tokens is None:
            assert max(map(len, epoch)) == 8
        else:
            assert all(len(batch) * max(LENGTHS[at] for at in batch) <= tokens for batch in epoch)
    assert Batches(LENGTHS, 8, tokens, 5).epoch(1) == epochs[1]
    assert epochs[0] != epochs[1]
    assert {tuple(sorted(batch)) for batch in epochs[0]} != {tuple(sorted(batch)) for batch in epochs[1]}
    spread = [max(LENGTHS[at] for at in batch) - min(LENGTHS[at] for at in batch) for batch in epochs[2]]
    assert np.mean(spread) < 30, "batches hold examples of like length"


@pytest.mark.parametrize("tokens", [None, 300])
def test_updates_count_through_the_epochs(tokens: int | None) -> None:
    batches = Batches(LENGTHS, 8, tokens, seed=5)
    counts = [len(batches.epoch(at)) for at in range(4)]
    assert batches.updates(4) == sum(counts)
    found = [batches.locate(update) for update in range(sum(counts))]
    assert found == [(epoch, place) for epoch, count in enumerate(counts) for place in range(count)]
    fresh = Batches(LENGTHS, 8, tokens, seed=5)
    assert fresh[sum(counts) - 1] == batches.epoch(3)[-1], "an update's batch needs no update before it"


def test_a_curriculum_goes_from_few_steps_to_many_and_sees_every_example_once() -> None:
    rng = np.random.default_rng(0)
    lengths, steps = rng.integers(20, 300, 101).tolist(), rng.integers(2, 9, 101).tolist()
    batches = Batches(lengths, 8, None, seed=5, steps=steps)
    order = [at for batch in batches.epoch(0) for at in batch]
    assert sorted(order) == list(range(101))
    assert [steps[at] for at in order] == sorted(steps)
    assert [steps[at] for batch in batches.epoch(1) for at in batch] != sorted(steps), "the first epoch only"


@given(st.lists(st.integers(1, 100), min_size=1, max_size=50), st.integers(1, 400))
def test_a_budget_keeps_the_order_and_is_kept(lengths: list[int], tokens: int) -> None:
    batches = list(by_budget(range(len(lengths)), lengths, tokens))
    assert [at for batch in batches for at in batch] == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[at] for at in batch) <= tokens


def test_examples_are_taught_in_the_form_that_the_prompt_asks_for(prompter: Prompter) -> None:
    draws = (draw(load_schemas()["arithmetic/average_three"], 1, k) for k in range(100))
    problem = next(problem for problem in draws if "average score" in problem.question)
    named, said = (Prompter(prompter.tokenizer, Prompt(trace_form=form)) for form in ("name_first", "commented"))
    taught = [asked.decode(examples([problem], asked, 4096)[0].target) for asked in (prompter, named, said)]
    assert taught[0].startswith(problem.trace or "?")
    assert "{op: compute, var: average_score, compute_op: div, args: [" in taught[1] and "step1" not in taught[1]
    assert taught[2].startswith("expert: arithmetic\ntrace:\n# ")
    assert [line for line in taught[2].split("\n") if not line.startswith("#")] == taught[1].split("\n")
