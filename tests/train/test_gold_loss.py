"""The loss on gold traces is that of the whole network on what decoding offers, choice by choice, and names its kinds."""

import json
from pathlib import Path

import numpy as np
import pytest

from mlx_trace.cli.main import main
from mlx_trace.config import Prompt
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.grammar.vocabulary import vocabulary_of
from mlx_trace.errors import UserError
from mlx_trace.evaluate.losses import SPELLED
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import CLOSING, Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.train.choices import choices_of
from mlx_trace.train.gold_loss import gold_losses
from tests.train.conftest import whole_logprobs

import mlx.core as mx  # isort: skip

EGGS = Problem(id="eggs", question="Ann has 16 eggs and eats 3 of them. How many are left?", answer="13", trace=(
    "expert: arithmetic\ntrace:\n- {op: init, var: eggs, value: 16}\n- {op: init, var: eaten, value: 3}\n"
    "- {op: compute, compute_op: sub, args: [eggs, eaten], var: left}\n- {op: query, var: left}"
))  # fmt: skip
BARE = Problem(id="bare", question="Ann has 2 eggs. And 3?", answer="5")


def test_it_is_that_of_the_whole_network_at_each_choice(random_base: Base) -> None:
    prompter, decoding = Prompter(random_base.tokenizer, Prompt()), Decoding(rules="all")
    (found,) = gold_losses(random_base, prompter, [BARE, EGGS], decoding)
    assert found.problem is EGGS
    words = vocabulary_of(random_base.tokenizer)
    ids = words.word((EGGS.trace or "") + CLOSING)
    choices = choices_of(EGGS.question, ids, words, decoding, "operation_first")
    assert choices is not None
    logprobs = whole_logprobs(random_base.network, prompter.ids(EGGS.question), [*ids, 2])
    expected = []
    for place, choice in zip(choices.indexes, choices.offered(), strict=True):
        mask = np.zeros(logprobs.shape[-1], dtype=bool)
        if choice.mask is not None:
            mask[: words.size] = words.mask(choice.mask)
        mask[list(choice.ids)] = True
        offered = mx.where(mx.array(mask), logprobs[place], -mx.inf)
        expected.append((mx.logsumexp(offered) - offered[ids[place]]).item())
    assert sorted(loss for own in found.kinds.values() for loss in own) == pytest.approx(sorted(expected), abs=1e-4)
    kinds = set(found.kinds)
    assert {"expert", "op", "value", "compute_op", f"var{SPELLED}"} <= kinds
    assert len(found.deciding) == sum(len(own) for kind, own in found.kinds.items() if SPELLED not in kind)


@pytest.mark.parametrize(("problems", "decoding", "fault"), [
    ([BARE], Decoding(), "none of the problems has a gold trace"),
    ([EGGS], Decoding(constraint="none"), "--constraint scope"),
])  # fmt: skip
def test_what_cannot_be_measured_is_refused(
    random_base: Base, problems: list[Problem], decoding: Decoding, fault: str
) -> None:
    with pytest.raises(UserError, match=fault):
        list(gold_losses(random_base, Prompter(random_base.tokenizer, Prompt()), problems, decoding))


def test_eval_prints_and_keeps_it(random_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "eval",
        "--model",
        str(random_model),
        "--adapter-path",
        "none",
        "--gold-loss",
        "-n",
        "3",
        "--data",
        "phrasing",
    ]
    assert main([*command, "--json", "-o", str(tmp_path / "losses.jsonl")]) == 0
    report = json.loads(capsys.readouterr().out)
    loss = report["loss"]
    parts = [loss[name] for name in ("what decides", "words that are spelled")]
    assert report["n"] == 3
    assert loss["all"]["choices"] == sum(part["choices"] for part in parts)
    rows = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [value for row in rows for own in row["losses"].values() for value in own]
    assert len(kept) == loss["all"]["choices"]
    assert np.mean(kept) == pytest.approx(loss["all"]["mean"], abs=1e-3)
    assert main(command) == 0
    assert "what decides" in capsys.readouterr().out
    assert main([*command, "--samples", "2"]) == 2
