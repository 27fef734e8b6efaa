"""A fused model is compared with its adapter from what was written, and one that would lose it is not written."""

from pathlib import Path

import pytest

from mlx_trace.cli.main import main
from mlx_trace.config import Prompt
from mlx_trace.fidelity import compare, effect, write_traces
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.prompts import Prompter
from tests.conftest import byte_level_tokenizer, write_model
from tests.model.test_base import make_adapter

Out = pytest.CaptureFixture[str]


def adapted(model: Path, run: Path) -> Base:
    base = load_base(str(model))
    load_adapter(base, run)
    return base


def test_what_is_the_adapter_keeps_all_and_its_base_nothing(random_model: Path, tmp_path: Path) -> None:
    make_adapter(random_model, tmp_path / "run")
    base, plain = adapted(random_model, tmp_path / "run"), load_base(str(random_model))
    traces = write_traces(base, Prompter(base.tokenizer, Prompt()), 3)
    changed = effect(traces, plain)
    itself = compare(traces, changed, base)
    assert (itself.same, itself.same_tokens, itself.largest) == (itself.traces, itself.tokens, 0.0)
    assert itself.kept == 1 and not itself.is_lost
    nothing = compare(traces, changed, plain)
    assert nothing.kept == pytest.approx(0, abs=1e-6) and nothing.is_lost
    assert nothing.same < nothing.traces == 3 and nothing.same_tokens < nothing.tokens
    assert nothing.mean < nothing.largest
    assert "3 greedy traces" in str(nothing) and "0.0% of the adapter's effect" in str(nothing)


def test_an_adapter_that_does_nothing_cannot_be_lost(random_model: Path) -> None:
    base = load_base(str(random_model))
    traces = write_traces(base, Prompter(base.tokenizer, Prompt()), 1)
    fidelity = compare(traces, effect(traces, base), base)
    assert fidelity.kept is None and not fidelity.is_lost
    assert "effect" not in str(fidelity)


def test_quantised_weights_that_would_lose_the_adapter_are_refused_with_what_to_do(tmp_path: Path, capsys: Out) -> None:
    model = write_model(tmp_path / "q", byte_level_tokenizer(), hidden_size=64, intermediate_size=64,
                        quantization={"group_size": 32, "bits": 4})  # fmt: skip
    make_adapter(model, tmp_path / "run", lora_parameters={"rank": 8, "scale": 0.02, "dropout": 0.0})
    flags = ["fuse", "--adapter-path", str(tmp_path / "run"), "--check-n", "2", "--save-path"]
    assert main([*flags, str(tmp_path / "fused")]) == 2
    said = capsys.readouterr().err
    for word in ("4-bit weights", "nothing is written", "% of the adapter's effect", "--dequantize", "--adapter-path",
                 "--allow-loss"):  # fmt: skip
        assert word in said, word
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q", "run"]
    assert main([*flags, str(tmp_path / "lossy"), "--allow-loss"]) == 0
    lost = capsys.readouterr().out
    assert main([*flags, str(tmp_path / "whole"), "--dequantize"]) == 0
    kept = capsys.readouterr().out
    share = [float(text.partition("% of the adapter's effect")[0].rpartition(" ")[2]) for text in (lost, kept)]
    assert share[0] < 50 and share[1] > 99
    assert main([*flags[:-1], "--check-n", "0", "--save-path", str(tmp_path / "unread")]) == 0
    assert "not compared with the adapter" in capsys.readouterr().out
