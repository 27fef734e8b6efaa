"""A model's folder says what it is in figures that a network can have, or it is refused in a line, at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.cli.main import main
from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.memory.shape import shape_of
from mlx_trace.model.base import load_base
from mlx_trace.model.config_json import positions_of, read_config_json
from tests.conftest import byte_level_tokenizer, write_model

import mlx.core as mx  # isort: skip

Out = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m", byte_level_tokenizer())


def rewrite(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.mark.parametrize(
    "changes",
    [{"num_attention_heads": 0}, {"num_key_value_heads": 0}, {"num_key_value_heads": 3}, {"num_hidden_layers": 1_000_000},
     {"num_hidden_layers": 0}, {"num_hidden_layers": -1}, {"num_hidden_layers": "2"}, {"num_hidden_layers": 2.0},
     {"hidden_size": 0}, {"hidden_size": "32"}, {"hidden_size": 10**9}, {"hidden_size": 33}, {"vocab_size": 0},
     {"vocab_size": 10**11}, {"vocab_size": None}, {"intermediate_size": 0}, {"head_dim": 0}, {"head_dim": "x"},
     {"head_dim": 15}, {"rope_scaling": 5}, {"rope_scaling": "linear"}, {"rope_theta": "x"}, {"rope_theta": 0},
     {"rope_theta": float("nan")}, {"rms_norm_eps": "x"}, {"max_position_embeddings": "x"}, {"max_position_embeddings": 0},
     {"tie_word_embeddings": "x"}, {"attention_bias": "x"}, {"eos_token_id": "x"}, {"eos_token_id": ["a"]},
     {"eos_token_id": {}}, {"quantization": 5}, {"quantization": {}}, {"quantization": {"bits": 99, "group_size": 1}}],
    ids=str,
)  # fmt: skip
def test_figures_that_no_network_has_are_named_with_their_file(model: Path, changes: dict[str, Any]) -> None:
    rewrite(model / "config.json", **changes)
    with pytest.raises(UserError) as error:
        load_base(str(model))
    assert f"{model}/config.json: " in error.value.faults[0]
    content = json.loads((model / "config.json").read_text(encoding="utf-8"))
    with pytest.raises(UserError, match=r"config\.json: "):
        shape_of(content, Config(model=str(model)))


@pytest.mark.parametrize(
    ("file", "changes"),
    [("config.json", {"rope_scaling": {"type": "x", "factor": 2}}), ("config.json", {"rope_scaling": {"type": "llama3"}}),
     ("config.json", {"rms_norm_eps": None}), ("config.json", {"quantization_config": 5}), ("config.json", {"text_config": 5}),
     ("config.json", {"layer_types": ["x", "y"]}), ("config.json", {"layer_types": 5}), ("config.json", {"architectures": 5}),
     ("tokenizer_config.json", {"tool_parser_type": "nope"}), ("tokenizer_config.json", {"tool_parser_type": 5}),
     ("tokenizer_config.json", {"chat_template_type": "nope"}), ("tokenizer_config.json", {"chat_template_type": 5}),
     ("tokenizer_config.json", {"tokenizer_class": 5}), ("tokenizer_config.json", {"eos_token": 5}),
     ("tokenizer_config.json", {"auto_map": 5}), ("tokenizer_config.json", {"added_tokens_decoder": {"x": 5}})],
    ids=str,
)  # fmt: skip
def test_what_the_libraries_stumble_over_is_a_line(model: Path, file: str, changes: dict[str, Any]) -> None:
    rewrite(model / file, **changes)
    with pytest.raises(UserError, match=r"cannot be loaded: |was not loaded"):
        load_base(str(model))


def test_a_list_is_no_tokenizers_settings(model: Path) -> None:
    (model / "tokenizer_config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match=r"tokenizer_config\.json: not an object"):
        load_base(str(model))


def test_rope_is_found_where_transformers_writes_it_now(model: Path, tmp_path: Path) -> None:
    """mlx-lm would turn Llamas by 10,000, whatever `rope_parameters` says."""
    ids = mx.array([[5, 6, 7, 8, 9]])
    rewrite(model / "config.json", rope_theta=500_000.0)
    said = load_base(str(model)).network(ids)
    content = json.loads((model / "config.json").read_text(encoding="utf-8"))
    del content["rope_theta"]
    content["rope_parameters"] = {"rope_theta": 500_000.0, "rope_type": "default"}
    (model / "config.json").write_text(json.dumps(content), encoding="utf-8")
    assert mx.array_equal(load_base(str(model)).network(ids), said).item()
    content["rope_parameters"] |= {"rope_type": "linear", "factor": 4.0}
    (model / "config.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_config_json(model)["rope_scaling"]["factor"] == 4.0
    assert not mx.allclose(load_base(str(model)).network(ids), said).item()


def test_positions_reach_as_far_as_rope_is_scaled() -> None:
    assert positions_of({}) is None
    assert positions_of({"max_position_embeddings": 64}) == 64
    assert positions_of({"max_position_embeddings": 64, "rope_scaling": {"factor": 4.0, "type": "yarn"}}) == 256
    assert positions_of({"max_position_embeddings": 64, "rope_scaling": None}) == 64


@pytest.mark.parametrize("command", ["chat", "train", "fuse"])
def test_a_network_of_another_kind_is_told_though_its_code_is_trusted(
    tmp_path: Path, capsys: Out, command: str
) -> None:
    gemma = {"model_type": "gemma", "head_dim": 16}
    model = write_model(tmp_path / "gemma", byte_level_tokenizer(), **gemma)
    given = {"chat": ["--adapter-path", "none"], "train": ["--plan", "--adapter-path", str(tmp_path / "run"), "--num-layers", "1"],
             "fuse": ["--adapter-path", "none", "--dequantize", "--save-path", str(tmp_path / "fused")]}[command]  # fmt: skip
    assert main([command, "--model", str(model), "--trust-remote-code", *given]) == 2
    assert "not a Llama-shaped model, and it cannot be run as one" in capsys.readouterr().err
    assert main([command, "--model", str(model), *given]) == 2
    assert "a model of type 'gemma'" in capsys.readouterr().err
