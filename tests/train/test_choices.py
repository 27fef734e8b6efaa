"""The loss on choices: among what the constraint offers, at those tokens alone, however it is cut."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.config import Config
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.grammar.vocabulary import Vocabulary, vocabulary_of
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.decode.sampler import Masks
from mlx_trace.language.steps import LONGEST_NAME
from mlx_trace.model.adapter import read_adapter_config
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import CLOSING
from mlx_trace.problems.forms import in_form
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import draw
from mlx_trace.problems.synthetic.schema import load_schemas
from mlx_trace.run_files import ADAPTER_CONFIG
from mlx_trace.train.choices import Choices, choices_of, loss_chunks
from mlx_trace.train.examples import Example
from mlx_trace.train.loop import Interrupted
from mlx_trace.train.run import plan, train
from mlx_trace.train.work import work_of
from tests.train.conftest import adapt, close, gradient, make_learner, plain_gradient, sft_batches, whole_logprobs
from tests.train.test_run import adapter, config, metrics

import mlx.core as mx  # isort: skip

HELD_TO = Decoding(rules="all")
EGGS = "Ann has 16 eggs and eats 3 of them. How many are left?"
GOLD = (
    "expert: arithmetic\ntrace:\n- {op: init, var: eggs, value: 16}\n- {op: init, var: eaten, value: 3}\n"
    "- {op: compute, compute_op: sub, args: [eggs, eaten], var: left}\n- {op: query, var: left}"
)


def choices(question: str, trace: str, words: Vocabulary, held_to: Decoding = HELD_TO) -> Choices | None:
    return choices_of(question, words.word(trace + CLOSING), words, held_to, "operation_first")


@pytest.fixture
def rows(random_base: Base) -> list[Example]:
    """Gold traces of several lengths, with short prompts; of the last all tokens count."""
    words = vocabulary_of(random_base.tokenizer)
    made = []
    schemas = {schema.name: schema for schema in load_schemas().values()}
    for at, name in enumerate(("rate_distance", "percent_off", "comparison_half", "rate_earning")):
        problem = draw(schemas[name], 3, at)
        assert problem.trace is not None
        found = choices(problem.question, problem.trace, words) if at < 3 else None
        made.append(Example([5, 6, *range(8, 9 + at)], [*words.word(problem.trace + CLOSING), 2], 0, found))
    assert [len(row.counted) < len(row.target) // 2 for row in made] == [True, True, True, False]
    return made


def plain(
    network: Any, rows: list[Example], words: Vocabulary, masks: list[np.ndarray], name_weight: float = 1.0
) -> mx.array:
    """Return the mean of −log p over what counts, p among what was offered, by way of every position's whole logits.

    Where a name is spelled, −log p weighs `name_weight`: the numbers of these questions are all listed.
    """
    losses, weights, shown = [], [], iter(masks)
    for row in rows:
        logits = whole_logprobs(network, row.prompt, row.target)
        choices = [None] * len(row.target) if row.choices is None else row.choices.offered()
        for at, choice in zip(row.counted, choices, strict=True):
            mask = np.ones(logits.shape[-1], dtype=bool) if row.choices is None else next(shown)
            offered = mx.where(mx.array(mask), logits[at], -mx.inf)
            losses.append(mx.logsumexp(offered) - offered[row.target[at]])
            weights.append(1.0 if choice is None or choice.mask is None else name_weight)
    return (mx.stack(losses) * mx.array(weights)).sum() / sum(weights)


def masks_of(rows: list[Example], words: Vocabulary, size: int) -> list[np.ndarray]:
    """Return what each choice offers, (size,) booleans."""
    found = []
    for choice in (choice for row in rows if row.choices for choice in row.choices.offered()):
        mask = np.zeros(size, dtype=bool)
        if choice.mask is not None:
            mask[: words.size] = words.mask(choice.mask)
        mask[list(choice.ids)] = True
        found.append(mask)
    return found


@pytest.mark.parametrize(("tokens", "name_weight"), [(10_000, 1.0), (200, 1.0), (1, 0.25), (10_000, 0.0)])
def test_gradients_are_those_of_the_whole_network(
    random_base: Base, rows: list[Example], tokens: int, name_weight: float
) -> None:
    network, words = adapt(random_base, 2), vocabulary_of(random_base.tokenizer)
    learner = make_learner(network, 2)
    masks = masks_of(rows, words, whole_logprobs(network, [5], [6]).shape[-1])
    batches = sft_batches(random_base, learner, rows, tokens, name_weight=name_weight)
    assert sum(learner.measure(batch)[0] for batch in batches) == pytest.approx(
        plain(network, rows, words, masks, name_weight).item(), rel=1e-5
    )
    assert close(gradient(learner, batches), plain_gradient(network, plain, rows, words, masks, name_weight))


def test_the_head_runs_at_choices_alone(random_base: Base, rows: list[Example]) -> None:
    learner = make_learner(adapt(random_base, 1))
    (batch,) = sft_batches(random_base, learner, rows[:3])
    assert sum(chunk.size for chunk in batch.chunks) == sum(len(row.choices or ()) for row in rows[:3])
    assert len(learner.measure(batch)[1]["loss"]) < sum(len(row.target) for row in rows[:3]) / 2


def test_what_is_forced_costs_nothing(random_base: Base) -> None:
    width = 32
    chunks, order = loss_chunks(
        random_base.network, [7, 9], [Choice(None, (7,)), Choice(None, (4, 9))], [1.0, 1.0], 1.0, Masks(None), width
    )
    (chunk,) = chunks
    states = mx.random.normal((2, width))
    slope = mx.grad(lambda states: chunk.loss(states)[0])(states)
    losses = np.array(chunk.loss(states)[1]["loss"])[order]
    assert losses[0] == 0
    assert losses[1] > 0
    assert not mx.abs(slope[0]).max().item()
    assert mx.abs(slope[1]).max().item()


def test_what_is_learnt_is_what_decoding_offers(random_base: Base) -> None:
    words = vocabulary_of(random_base.tokenizer)
    found = choices(EGGS, GOLD, words)
    assert found is not None
    ids = words.word(GOLD + CLOSING)
    assert len(found) == len(found.masks) == len(found.ends) < len(ids)
    for at, choice in zip(found.indexes, found.offered(), strict=True):
        assert ids[at] in choice.ids or (choice.mask is not None and words.mask(choice.mask)[ids[at]])
        assert choice.mask is not None or len(choice.ids) > 1, "a choice is between two at least"


def test_a_weight_is_that_of_words_and_not_of_numbers(random_base: Base) -> None:
    words = vocabulary_of(random_base.tokenizer)
    found = choices(EGGS, GOLD, words, Decoding(grounding="off"))
    assert found is not None
    weights = dict(zip(found.indexes, found.weights(0.2), strict=True))
    shown, ids = {1.0: "", 0.2: ""}, words.word(GOLD + CLOSING)
    for at, weight in weights.items():
        shown[weight] += random_base.tokenizer.decode([ids[at]])
    assert {"16", "3"} <= set("".join(c if c.isdigit() else " " for c in shown[1.0]).split())
    assert "query" in shown[1.0]
    assert not any(map(str.isdigit, shown[0.2]))
    assert "eaten" in shown[0.2].replace(" ", "")
    assert found.weights(1.0) == [1.0] * len(found)


def test_the_words_of_reasons_are_choices(random_base: Base) -> None:
    words = vocabulary_of(random_base.tokenizer)
    problem = Problem(id="1", question=EGGS, answer="13", trace=GOLD, solution="She has 16-3=13 eggs left.")
    trace = in_form(problem, "commented") or ""
    ids, said = words.word(trace + CLOSING), words.word(" She has 16-3=13 eggs left\n")
    found = choices_of(EGGS, ids, words, HELD_TO, "commented")
    assert found is not None
    start = next(at for at in range(len(ids)) if ids[at : at + len(said)] == said)
    result = range(start + len(words.word(" She has 16-3=")), start + len(words.word(" She has 16-3=13")))
    assert {*range(start, start + len(said))} - {*result} <= {*found.indexes}
    assert {*result}.isdisjoint(found.indexes), "it is computed"
    masks = [
        choice.mask
        for at, choice in zip(found.indexes, found.offered(), strict=True)
        if at in range(start, start + len(said))
    ]
    assert all(masks) and masks[0].kind == "opening"
    assert choices_of(EGGS, ids, words, HELD_TO, "name_first") is None


def test_a_gold_that_breaks_a_rule_is_held_to_what_it_keeps(random_base: Base) -> None:
    words = vocabulary_of(random_base.tokenizer)
    below = GOLD.replace("[eggs, eaten]", "[eaten, eggs]")
    assert choices(EGGS, below, words) == choices(EGGS, below, words, Decoding())
    ungrounded = GOLD.replace("16", "1234")
    assert choices(EGGS, ungrounded, words) == choices(EGGS, ungrounded, words, Decoding(grounding="off"))
    assert choices(EGGS, GOLD.replace("eaten", "e" * (LONGEST_NAME + 9)), words) is None


def test_a_run_that_was_stopped_ends_with_the_same_bytes(random_model: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"loss": "choices", "reinforce": {"iters": 0}, "val_examples": 4, "steps_per_eval": 2,
                               "decoding": {"rules": ["once", "no_self"]}, "epochs": 2, "num_layers": 1}  # fmt: skip
    whole, stopped = (config(random_model, tmp_path / name, **changes) for name in ("whole", "stopped"))

    def run(settings: Config, resume: bool = False, stop_at: int = 0) -> None:
        def report(phase: str, done: int, *_: Any) -> None:
            if done == stop_at:
                os.kill(os.getpid(), signal.SIGINT)

        train(plan(settings), report, resume)

    run(whole)
    with pytest.raises(Interrupted):
        run(stopped, stop_at=3)
    run(stopped, resume=True)
    assert adapter(tmp_path / "stopped") == adapter(tmp_path / "whole")
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "whole")
    found = metrics(tmp_path / "whole")
    assert float(found[0]["loss"]) > float(found[9]["loss"])


def test_memory_is_planned_for_what_counts(random_model: Path, tmp_path: Path) -> None:
    from mlx_trace.model.prompts import Prompter

    targets = {}
    for loss in ("all", "choices"):
        planned = plan(config(random_model, tmp_path / loss, loss=loss, reinforce={"iters": 0}))
        work = work_of(planned.config, planned.material, Prompter(planned.base.tokenizer, planned.config.prompt))
        assert work.examples is not None
        assert work.examples.is_masked == (loss == "choices")
        targets[loss] = work.examples.target
    assert 0 < targets["choices"] < targets["all"] / 2

    finished = plan(config(random_model, tmp_path / "both", loss="choices", finish_on_all=1, reinforce={"iters": 0}))
    work = work_of(finished.config, finished.material, Prompter(finished.base.tokenizer, finished.config.prompt))
    assert work.examples is not None
    assert work.examples.target == targets["all"]


def test_the_last_updates_can_learn_all_tokens(random_model: Path, tmp_path: Path) -> None:
    def told_halfway(phase: str, done: int, *_: Any) -> None:
        told["halfway"] = json.loads((settings.adapter_path / ADAPTER_CONFIG).read_text(encoding="utf-8")).get("loss")

    told: dict[str, str | None] = {}
    runs = {name: config(random_model, tmp_path / name, reinforce={"iters": 0}, num_layers=1, iters=3, **changes)
            for name, changes in {"all": {}, "choices": {"loss": "choices"},
                                  "both": {"loss": "choices", "finish_on_all": 1}}.items()}  # fmt: skip
    for settings in runs.values():
        train(plan(settings), told_halfway)
    counts = {name: [row["target_tokens"] for row in metrics(tmp_path / name)] for name in runs}
    assert counts["both"] == [*counts["choices"][:2], counts["all"][2]]
    assert counts["choices"][2] < counts["all"][2]
    told |= {name: read_adapter_config(tmp_path / name).loss for name in runs}
    assert told == {"halfway": "choices", "all": None, "choices": "choices", "both": None}, "which fuse warns of"


@pytest.mark.parametrize(("settings", "fault"), [
    ({"loss": "choices", "decoding": {"constraint": "none"}}, r"decoding.constraint: scope"),
    ({"loss": "all", "name_weight": 0.2}, r"set loss: choices"),
    ({"loss": "choices", "name_weight": 2}, r"less than or equal to 1"),
    ({"loss": "choices", "finish_on_all": 2, "val_examples": 4, "patience": 1}, r"set one of the two"),
])  # fmt: skip
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Config.model_validate(settings)
