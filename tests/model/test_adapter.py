"""An adapter is known to its base by all weights, and nothing of its files is taken that is not whole and sound."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.errors import UserError
from mlx_trace.fuse import fuse
from mlx_trace.model.adapter import (
    adapter_weights,
    attach_adapter,
    check_same_base,
    load_adapter,
    read_adapter_config,
)
from mlx_trace.model.base import load_base
from mlx_trace.model.fingerprint import fingerprint, old_digest
from mlx_trace.model.prompts import Prompter
from mlx_trace.model.start import start_from
from mlx_trace.train import run as runs
from tests.conftest import byte_level_tokenizer, write_model
from tests.model.test_base import config, make_adapter

import mlx.core as mx  # isort: skip

Out = pytest.CaptureFixture[str]
Arrays = dict[str, mx.array]


@pytest.fixture
def run(random_model: Path, tmp_path: Path) -> Path:
    """An adapter of the random model."""
    make_adapter(random_model, tmp_path / "run")
    return tmp_path / "run"


def rewrite(file: Path, **changes: Any) -> None:
    """Change keys of a JSON file; `...` takes one out."""
    content = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}), encoding="utf-8")


def edit_weights(file: Path, edit: Callable[[Arrays], Arrays]) -> None:
    weights = dict(mx.load(str(file)))
    mx.eval(weights)
    mx.save_safetensors(str(file), edit(weights))


# --- whose it is -------------------------------------------------------------------------------------------------


def test_another_revision_is_refused_though_only_its_last_weights_differ(
    random_model: Path, run: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(random_model, tmp_path / "other")
    file = other / "model.safetensors"
    content = bytearray(file.read_bytes())
    size = int.from_bytes(content[:8], "little")
    tensor = json.loads(content[8 : 8 + size])["model.layers.0.mlp.up_proj.weight"]  # behind the first 64 KiB
    content[8 + size + tensor["data_offsets"][1] - 2] ^= 1
    file.write_bytes(content)
    assert old_digest(other) == old_digest(random_model)
    with pytest.raises(UserError, match=r"trained on another base .* of the same shape .*another revision"):
        load_adapter(load_base(str(other)), run)
    load_adapter(load_base(str(other)), run, any_base=True)
    with pytest.raises(UserError, match="started on other weights"):
        check_same_base(load_base(str(other)), run)


def test_a_base_of_another_shape_is_no_revision(run: Path, tmp_path: Path) -> None:
    deeper = write_model(tmp_path / "deeper", byte_level_tokenizer(), num_hidden_layers=3)
    with pytest.raises(UserError, match="trained on another base") as error:
        load_adapter(load_base(str(deeper)), run)
    assert "revision" not in str(error.value)


def test_a_model_with_the_adapter_merged_into_it_is_told(random_model: Path, run: Path, tmp_path: Path) -> None:
    base = load_base(str(random_model))
    load_adapter(base, run)
    fuse(base, Prompter(base.tokenizer, config(run).prompt), tmp_path / "ours", n=0)
    stock = [sys.executable, "-m", "mlx_lm", "fuse", "--model", str(random_model), "--adapter-path", str(run)]
    subprocess.run([*stock, "--save-path", str(tmp_path / "stock")], check=True, capture_output=True)
    for fused in ("ours", "stock"):
        with pytest.raises(UserError, match=r"has an adapter merged into it already.*--adapter-path none"):
            load_adapter(load_base(str(tmp_path / fused)), run)


def test_an_adapter_of_before_loads_with_one_line(random_model: Path, run: Path, capsys: Out) -> None:
    old = {"base_digest": old_digest(random_model), "base_shape": ..., "base_rest": ...}
    rewrite(run / "adapter_config.json", **old)
    load_adapter(load_base(str(random_model)), run)
    check_same_base(load_base(str(random_model)), run)
    said = [line for line in capsys.readouterr().err.splitlines() if "base_digest" in line]
    assert len(said) == 2 and "covers the first weights only" in said[0]
    rewrite(run / "adapter_config.json", base_digest="0" * 24)
    with pytest.raises(UserError, match="trained on another base"):
        load_adapter(load_base(str(random_model)), run)


# --- what it says ------------------------------------------------------------------------------------------------

LORA = {"rank": 4, "scale": 2.0, "dropout": 0.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"model": 5}, r"model: .*got 5"), ({"model": [1]}, "model: "), ({"model": ""}, "model: "),
     ({"fine_tune_type": 5}, "fine_tune_type: "), ({"fine_tune_type": "qlora"}, "fine_tune_type: .*'dora'.*'qlora'"),
     ({"num_layers": "1"}, "num_layers: "), ({"num_layers": 1.5}, "num_layers: "), ({"num_layers": True}, "num_layers: "),
     ({"num_layers": -5}, "num_layers: "), ({"num_layers": ...}, "num_layers: .*required"),
     ({"lora_parameters": ...}, "lora_parameters is missing"), ({"lora_parameters": None}, "lora_parameters is missing"),
     ({"lora_parameters": [1]}, "lora_parameters: "),
     ({"lora_parameters": {"scale": 2.0}}, r"lora_parameters\.rank: .*required"),
     ({"lora_parameters": {"rank": 4, "alpha": 16}}, r"lora_parameters\.scale: .*required"),
     ({"lora_parameters": LORA | {"scale": "2"}}, r"lora_parameters\.scale: .*got '2'"),
     ({"lora_parameters": LORA | {"scale": float("nan")}}, r"lora_parameters\.scale: .*finite"),
     ({"lora_parameters": LORA | {"rank": 32.5}}, r"lora_parameters\.rank: .*got 32.5"),
     ({"lora_parameters": LORA | {"rank": 0}}, r"lora_parameters\.rank: "),
     ({"lora_parameters": LORA | {"rank": 10**12}}, r"lora_parameters\.rank: "),
     ({"lora_parameters": LORA | {"dropout": 1.0}}, r"lora_parameters\.dropout: "),
     ({"lora_parameters": LORA | {"keys": "self_attn.q_proj"}}, r"lora_parameters\.keys: .*list"),
     ({"lora_parameters": LORA | {"keys": [5]}}, r"lora_parameters\.keys\.0: "),
     ({"base_digest": 5}, "base_digest: "), ({"base_rest": [1]}, "base_rest: "),
     ({"prompt": "chat"}, "prompt: input should be keys with values, got 'chat'"), ({"prompt": [1]}, "prompt: "),
     ({"prompt": {"template": "x"}}, r"prompt\.template: .*got 'x'"), ({"prompt": {"system": 7}}, r"prompt\.system: "),
     ({"prompt": {"more": 1}}, r"prompt\.more: ")],
)  # fmt: skip
def test_a_setting_that_is_none_is_named_with_its_file(run: Path, changes: dict[str, Any], said: str) -> None:
    rewrite(run / "adapter_config.json", **changes)
    with pytest.raises(UserError, match=rf"adapter_config\.json: {said}"):
        read_adapter_config(run)


@pytest.mark.parametrize(
    ("edit", "said"),
    [(lambda weights: {name: value for name, value in weights.items() if not name.endswith("lora_b")}, "missing"),
     (lambda weights: {name: value for name, value in weights.items() if "q_proj" not in name}, "missing"),
     (lambda weights: {}, "missing"),
     (lambda weights: weights | {"model.layers.1.self_attn.x_proj.lora_a": mx.zeros((32, 4))}, "not in the network"),
     (lambda weights: {name: value[:, :1] for name, value in weights.items()}, r"1\) in the file, .* in the network"),
     (lambda weights: {name: value.astype(mx.int32) for name, value in weights.items()}, "whole numbers"),
     (lambda weights: {name: value * float("nan") for name, value in weights.items()}, "no finite numbers"),
     (lambda weights: {name: mx.where(value == value.max(), float("inf"), value) for name, value in weights.items()},
      "no finite numbers")],
)  # fmt: skip
def test_weights_that_are_not_all_there_or_no_numbers_are_refused(
    random_model: Path, run: Path, edit: Callable[[Arrays], Arrays], said: str
) -> None:
    edit_weights(run / "adapters.safetensors", edit)
    base = load_base(str(random_model))
    with pytest.raises(UserError, match=f"does not fit.*\n.*{said}"):
        load_adapter(base, run)
    fresh = load_base(str(random_model))
    attach_adapter(fresh, config(run))
    with pytest.raises(UserError, match=f"resume_adapter_file.*\n.*{said}"):
        start_from(fresh, [run])


def test_an_adapter_kept_in_fewer_bits_computes_in_the_networks_type(random_model: Path, run: Path) -> None:
    edit_weights(run / "adapters.safetensors",
                 lambda weights: {name: value.astype(mx.bfloat16) for name, value in weights.items()})  # fmt: skip
    base = load_base(str(random_model))
    load_adapter(base, run)
    kept = mx.load(str(run / "adapters.safetensors"))
    for name, value in adapter_weights(base.network):
        assert value.dtype == mx.float32
        assert mx.array_equal(value, kept[name].astype(mx.float32)).item()


def test_what_is_adapted_beyond_the_layers_is_named(random_model: Path, run: Path) -> None:
    rewrite(run / "adapter_config.json", lora_parameters=LORA | {"keys": ["self_attn.q_proj", "lm_head"]})
    with pytest.raises(UserError, match="it adapts lm_head, and adapters here are of "):
        load_adapter(load_base(str(random_model)), run)
    rewrite(run / "adapter_config.json", lora_parameters=LORA, num_layers=99)
    with pytest.raises(UserError, match="num_layers is 99, and there are 2"):
        load_adapter(load_base(str(random_model)), run)


# --- what can be trained -----------------------------------------------------------------------------------------


def test_quantised_weights_are_not_trained_which_is_told_before_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tmp_path / "q4", byte_level_tokenizer(), hidden_size=64, intermediate_size=64,
                        quantization={"group_size": 32, "bits": 4})  # fmt: skip
    settings = config(tmp_path / "run", model=str(model), fine_tune_type="full")
    said = "fine_tune_type: full trains the weights themselves.*quantised"
    with pytest.raises(UserError, match=said):
        attach_adapter(load_base(str(model)), settings)
    monkeypatch.setattr(runs, "load_base", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(UserError, match=said):
        runs.plan(settings)


def test_the_fingerprint_was_begun_with_loading(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_base(str(random_model), identify=True)
    monkeypatch.setattr("mlx_trace.model.base.begun", lambda _: pytest.fail("it is read again"))
    assert base.fingerprint() == fingerprint(random_model)
