"""Adapters go to PEFT and come from it with the same logits, or are refused by name."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.cli.main import main
from mlx_trace.errors import UserError
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import load_base
from mlx_trace.model.exchange import export_peft, import_peft, read_peft
from tests.conftest import byte_level_tokenizer, write_model
from tests.model.test_base import IDS, make_adapter, same

import mlx.core as mx  # isort: skip

Out = pytest.CaptureFixture[str]

# Real PEFT, in a process without MLX: it loads some folders and makes others, and says what the networks say.
REAL = """
import json, sys, warnings
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

warnings.simplefilter("error", RuntimeWarning)
torch.set_num_threads(1)
asked = json.load(sys.stdin)

def base():
    return AutoModelForCausalLM.from_pretrained(asked["base"], dtype=torch.float32).eval()

def logits(model):
    with torch.no_grad():
        return model(torch.tensor(asked["ids"])).logits.tolist()

said = {}
for folder in asked["load"]:
    said[folder] = logits(PeftModel.from_pretrained(base(), folder).eval())
for folder, settings in asked["make"].items():
    torch.manual_seed(7)
    model = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    for name, value in model.named_parameters():
        if "lora_" in name:
            value.data += 0.1 * torch.randn_like(value)
    said[folder] = logits(model)
    model.save_pretrained(folder)
print(json.dumps(said))
"""
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MADE: dict[str, dict[str, Any]] = {
    "plain": {"r": 4, "lora_alpha": 12, "target_modules": EVERY},
    "rslora": {"r": 3, "lora_alpha": 5, "use_rslora": True, "target_modules": ["q_proj", "v_proj"]},
    "lowest layer": {"r": 4, "lora_alpha": 8, "target_modules": ["up_proj"], "layers_to_transform": [0]},
    "patterns": {
        "r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "o_proj", "down_proj"],
        "rank_pattern": {"down_proj": 5, "layers.1.self_attn.q_proj": 3}, "alpha_pattern": {r"layers\.0\..*": 11},
    },
    "whole names": {"r": 2, "lora_alpha": 2, "target_modules": ["model.layers.1.self_attn.k_proj", "mlp.gate_proj"]},
    "dora": {"r": 4, "lora_alpha": 8, "use_dora": True, "target_modules": ["q_proj", "down_proj"]},
    "dora of one layer": {
        "r": 4, "lora_alpha": 8, "use_dora": True, "target_modules": ["v_proj"], "layers_to_transform": [0],
    },
}  # fmt: skip
RANK = 4  # of what is made without saying so
OURS: dict[str, dict[str, Any]] = {
    "lora": {},
    "top layer": {"num_layers": 1, "lora_parameters": {"rank": 3, "scale": 0.7, "dropout": 0.0}},
    "some": {"lora_parameters": {"rank": 2, "scale": 5.0, "dropout": 0.1, "keys": ["self_attn.q_proj", "mlp.up_proj"]}},
    "dora": {"fine_tune_type": "dora"},
}


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_logits_are_those_of_the_real_peft(tmp_path: Path, kind: str) -> None:
    for package in ("torch", "peft"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package} (extra interop)")
    model = write_model(tmp_path / "base", byte_level_tokenizer(), model_type=kind)
    said = {name: make_adapter(model, tmp_path / name, **changes) for name, changes in OURS.items()}
    for name in OURS:
        export_peft(tmp_path / name, tmp_path / "peft" / name, str(model))
    asked = {
        "base": str(model), "ids": IDS.tolist(), "load": [str(tmp_path / "peft" / name) for name in OURS],
        "make": {str(tmp_path / "made" / name): settings for name, settings in MADE.items()},
    }  # fmt: skip
    command = [sys.executable, "-c", REAL]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    plain = load_base(str(model)).network(IDS)
    for name, logits in said.items():
        real = np.array(theirs[str(tmp_path / "peft" / name)])
        assert same(logits, mx.array(real), 1e-4), name
        assert not same(plain, mx.array(real), 1e-2), f"{name} does nothing"
    for name in MADE:
        folder, run = tmp_path / "made" / name, tmp_path / "taken" / name
        assert main(["import", str(folder), "--adapter-path", str(run)]) == 0, "its file names the base"
        base = load_base(str(model))
        load_adapter(base, run)
        assert same(base.network(IDS), mx.array(np.array(theirs[str(folder)])), 1e-4), name


@pytest.mark.parametrize("name", OURS)
def test_to_peft_and_back_is_the_same_adapter(random_model: Path, tmp_path: Path, name: str) -> None:
    said = make_adapter(random_model, tmp_path / "run", **OURS[name])
    export_peft(tmp_path / "run", tmp_path / "peft", None)
    import_peft(tmp_path / "peft", *read_peft(tmp_path / "peft"), load_base(str(random_model)), tmp_path / "again")
    first, again = (dict(mx.load(str(tmp_path / run / "adapters.safetensors"))) for run in ("run", "again"))
    assert first.keys() == again.keys()
    assert all(mx.array_equal(value, again[key]).item() for key, value in first.items())
    base = load_base(str(random_model))
    load_adapter(base, tmp_path / "again")
    assert same(base.network(IDS), said)
    before, after = (json.loads((tmp_path / run / "adapter_config.json").read_text()) for run in ("run", "again"))
    if "lora_parameters" in before:
        assert after["lora_parameters"]["scale"] == pytest.approx(before["lora_parameters"]["scale"], rel=1e-15)
    assert all(after[key] == before[key] for key in ("prompt", "base_digest", "fine_tune_type", "num_layers"))


@pytest.fixture
def peft(random_model: Path, tmp_path: Path) -> Path:
    """An adapter of the random model in PEFT's form."""
    make_adapter(random_model, tmp_path / "run")
    export_peft(tmp_path / "run", tmp_path / "peft", str(random_model))
    return tmp_path / "peft"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another method": ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
    "biases": ({"bias": "all"}, "bias: 'all' has biases"),
    "whole modules": ({"modules_to_save": ["lm_head"]}, r"modules_to_save: \['lm_head'\] is not what"),
    "another base, too": ({"init_lora_weights": "pissa"}, "init_lora_weights: 'pissa' changes the base"),
    "turned weights": ({"fan_in_fan_out": True}, "fan_in_fan_out: True is not"),
    "tokens": ({"trainable_token_indices": [1, 2]}, "trainable_token_indices"),
    "what nobody knows": ({"from_the_future": {"x": 1}}, "from_the_future"),
    "no rank": ({"r": 0}, "r: "),
    "a pattern that takes for ever": ({"alpha_pattern": {"(a+)+": 3}}, "alpha_pattern"),
    "another such": ({"alpha_pattern": {".*" * 12 + "x": 3}}, "alpha_pattern"),
    "no DoRA after all": ({"use_dora": True}, "use_dora is True, and its tensors are otherwise"),
    "another tool's": ({"peft_type": None}, "no peft_type"),
    "mlx-lm's": ({"fine_tune_type": "lora"}, "in mlx-lm's format already"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_over_is_refused_by_name(
    peft: Path, tmp_path: Path, random_model: Path, case: str, capsys: Out
) -> None:
    changes, said = REFUSED[case]
    file = peft / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_peft(peft)
    assert main(["import", str(peft), "--adapter-path", str(tmp_path / "new"), "--model", str(random_model)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def rewritten(peft: Path, **changes: mx.array) -> None:
    file = peft / "adapter_model.safetensors"
    tensors = dict(mx.load(str(file)))
    mx.eval(tensors)
    mx.save_safetensors(str(file), tensors | changes)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("base_model.model.lm_head.lora_A.weight", mx.zeros((8, 32)), "lm_head.lora_A.weight: is no LoRA of a layer"),
        ("base_model.model.model.layers.1.mlp.up_proj.lora_B.bias", mx.zeros((64,)), "lora_B.bias: is no LoRA"),
        ("base_model.model.model.layers.1.mlp.up_proj.lora_A.weight", mx.zeros((7, 32)), "do not belong together"),
        ("base_model.model.model.layers.1.mlp.up_proj.lora_A.weight", mx.zeros((RANK, 33)), r"\(33, \d+\) in the file"),
        ("base_model.model.model.layers.1.mlp.up_proj.lora_A.weight", mx.full((RANK, 32), mx.nan), "no finite numbers"),
    ],
)
def test_tensors_that_have_no_place_are_named(
    peft: Path, tmp_path: Path, random_model: Path, name: str, value: mx.array, said: str
) -> None:
    rewritten(peft, **{name: value})
    with pytest.raises(UserError, match=said):
        import_peft(peft, *read_peft(peft), load_base(str(random_model)), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_pickle_is_not_read_and_folders_are_not_written_over(peft: Path, tmp_path: Path, capsys: Out) -> None:
    assert main(["export", "--adapter-path", str(tmp_path / "run"), "--peft", str(peft)]) == 2
    assert main(["import", str(peft), "--adapter-path", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("exists already") == 2
    (peft / "adapter_model.safetensors").rename(peft / "adapter_model.bin")
    assert main(["import", str(peft), "--adapter-path", str(tmp_path / "new")]) == 2
    assert "pickle" in capsys.readouterr().err
    shutil.rmtree(peft)
    assert main(["import", str(peft), "--adapter-path", str(tmp_path / "new")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_whole_weights_are_no_adapter_for_peft(random_model: Path, tmp_path: Path, capsys: Out) -> None:
    make_adapter(random_model, tmp_path / "run", fine_tune_type="full")
    assert main(["export", "--adapter-path", str(tmp_path / "run"), "--peft", str(tmp_path / "peft")]) == 2
    assert "fine_tune_type is full" in capsys.readouterr().err
    assert not (tmp_path / "peft").exists()


def test_a_name_of_ours_is_the_hubs_for_peft(peft: Path, tmp_path: Path, capsys: Out) -> None:
    for model, base_name in (("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"), ("tiny", None)):
        file = tmp_path / "run" / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"model": model}), encoding="utf-8")
        assert main(["export", "--adapter-path", str(tmp_path / "run"), "--peft", str(tmp_path / model)]) == 0
        written = json.loads((tmp_path / model / "adapter_config.json").read_text())
        assert written["base_model_name_or_path"] == base_name
    assert "tiny is on no hub" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "tiny"), "--adapter-path", str(tmp_path / "new")]) == 2
    assert "names no base; --model names it" in capsys.readouterr().err
    content = json.loads((tmp_path / "tiny" / "adapter_config.json").read_text()) | {
        "base_model_name_or_path": "./gone"
    }
    (tmp_path / "tiny" / "adapter_config.json").write_text(json.dumps(content), encoding="utf-8")
    assert main(["import", str(tmp_path / "tiny"), "--adapter-path", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert f"its base './gone' is not found, from {Path.cwd()} if it is a path; --model names it" in said
    assert main(["import", str(tmp_path / "tiny"), "--adapter-path", str(tmp_path / "new"), "--model", "./out"]) == 2
    assert "./out" in (said := capsys.readouterr().err) and "--model names it" not in said
