"""Models load or say why not, and adapters go to stock mlx-lm and come back."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.fuse import fuse
from mlx_trace.model.adapter import adapter_weights, attach_adapter, load_adapter, read_adapter_config
from mlx_trace.model.base import load_base, locate_model, read_outline
from mlx_trace.model.prompts import Prompter
from mlx_trace.train.run_dir import open_run
from tests.conftest import byte_level_tokenizer, write_model

import mlx.core as mx  # isort: skip
from mlx_lm.utils import load as stock_load

IDS = mx.array([[5, 6, 7, 8, 9]])


def config(run: Path, **changes: Any) -> Config:
    content = {"adapter_path": str(run), "num_layers": 1, "lora_parameters": {"rank": 4, "scale": 2.0}} | changes
    return Config.model_validate(content)


def make_adapter(model: Path, run: Path, **changes: Any) -> mx.array:
    """Write an adapter whose weights are random; return what the adapted network says."""
    base = load_base(str(model))
    settings = config(run, **changes)
    attach_adapter(base, settings)
    mx.random.seed(3)
    moved = {name: value + 0.1 * mx.random.normal(value.shape) for name, value in adapter_weights(base.network)}
    base.network.load_weights(list(moved.items()), strict=False)
    run.mkdir(parents=True)
    open_run(base, settings)
    mx.save_safetensors(str(run / "adapters.safetensors"), moved)
    base.network.eval()
    return base.network(IDS)


def same(one: mx.array, other: mx.array, tolerance: float = 1e-5) -> bool:
    return bool(np.abs(np.array(one) - np.array(other)).max() < tolerance)


@pytest.mark.parametrize("kind", ["lora", "dora", "full"])
def test_an_adapter_loads_here_and_in_stock_mlx_lm(random_model: Path, tmp_path: Path, kind: str) -> None:
    said = make_adapter(random_model, tmp_path / "run", fine_tune_type=kind)
    base = load_base(str(random_model))
    plain = base.network(IDS)
    load_adapter(base, tmp_path / "run")
    assert same(base.network(IDS), said)
    assert not same(plain, said)
    stock, _ = stock_load(str(random_model), adapter_path=str(tmp_path / "run"))
    assert same(stock(IDS), said)


def test_an_adapter_of_stock_mlx_lm_loads_here(random_model: Path, tmp_path: Path) -> None:
    said = make_adapter(random_model, tmp_path / "run")
    written = {"num_layers": 1, "lora_parameters": {"rank": 4, "scale": 2.0, "dropout": 0.0}, "fine_tune_type": "lora"}
    (tmp_path / "run" / "adapter_config.json").write_text(json.dumps(written), encoding="utf-8")
    base = load_base(str(random_model))
    load_adapter(base, tmp_path / "run")
    assert same(base.network(IDS), said)


def test_stock_generate_and_fuse_work_on_an_adapter(random_model: Path, tmp_path: Path) -> None:
    said = make_adapter(random_model, tmp_path / "run")
    common = ["--model", str(random_model), "--adapter-path", str(tmp_path / "run")]
    generate = [sys.executable, "-m", "mlx_lm", "generate", *common, "--prompt", "How many?", "--max-tokens", "3"]
    subprocess.run(generate, check=True, capture_output=True)
    fuse = [sys.executable, "-m", "mlx_lm", "fuse", *common, "--save-path", str(tmp_path / "fused")]
    subprocess.run(fuse, check=True, capture_output=True)
    assert same(load_base(str(tmp_path / "fused")).network(IDS), said, 1e-4)


def test_new_lora_leaves_the_network_as_it_was(random_model: Path, tmp_path: Path) -> None:
    base = load_base(str(random_model))
    before = base.network(IDS)
    attach_adapter(base, config(tmp_path))
    assert same(base.network(IDS), before, 1e-7)


def test_an_adapter_of_another_base_is_refused(random_model: Path, tmp_path: Path) -> None:
    make_adapter(random_model, tmp_path / "run")
    other = write_model(tmp_path / "other", byte_level_tokenizer(), seed=1)
    wider = write_model(tmp_path / "wider", byte_level_tokenizer(), hidden_size=64)
    with pytest.raises(UserError, match="trained on another base"):
        load_adapter(load_base(str(other)), tmp_path / "run")
    load_adapter(load_base(str(other)), tmp_path / "run", any_base=True)
    with pytest.raises(UserError, match="does not fit"):
        load_adapter(load_base(str(wider)), tmp_path / "run", any_base=True)


def _empty(path: Path) -> None:
    path.mkdir()


def _bert(path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")


def _list(path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_text("[1, 2]", encoding="utf-8")


def _broken(path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_text('{"model_type": ', encoding="utf-8")


def _weightless(path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (path / "pytorch_model.bin").write_bytes(b"pickle")


def _half(path: Path) -> None:
    write_model(path, byte_level_tokenizer())
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def _incomplete(path: Path) -> None:
    write_model(path, byte_level_tokenizer())
    content = json.loads((path / "config.json").read_text(encoding="utf-8"))
    del content["hidden_size"]
    (path / "config.json").write_text(json.dumps(content), encoding="utf-8")


def _other_shape(path: Path) -> None:
    write_model(path, byte_level_tokenizer())
    content = json.loads((path / "config.json").read_text(encoding="utf-8")) | {"hidden_size": 48}
    (path / "config.json").write_text(json.dumps(content), encoding="utf-8")


def _odd_heads(path: Path) -> None:
    write_model(path, byte_level_tokenizer(), num_attention_heads=3, num_key_value_heads=3, head_dim=16)


def _no_tokenizer(path: Path) -> None:
    write_model(path, byte_level_tokenizer())
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (path / file).unlink(missing_ok=True)


def _file(path: Path) -> None:
    path.write_bytes(b"GGUF")


@pytest.mark.parametrize("name", ["a [b]", "what?", "all*", "[!x]y"])
def test_a_directory_is_found_by_its_name_and_not_by_a_pattern(random_model: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(random_model, tmp_path / name))
    (folder / "generation_config.json").write_text('{"eos_token_id": 1}', encoding="utf-8")
    base, other = load_base(str(folder)), load_base(str(random_model))
    assert base.path == folder
    assert mx.array_equal(base.network(IDS), other.network(IDS))
    fuse(base, Prompter(base.tokenizer, config(tmp_path).prompt), tmp_path / f"{name} fused", dequantize=True, n=0)
    assert (tmp_path / f"{name} fused" / "generation_config.json").is_file(), "what a base says of replies goes along"


@pytest.mark.parametrize(
    "make",
    [_empty, _bert, _list, _broken, _weightless, _half, _incomplete, _other_shape, _odd_heads, _no_tokenizer, _file],
)
def test_a_directory_that_is_no_model_says_why(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "m")
    with pytest.raises(UserError) as error:
        load_base(str(tmp_path / "m"))
    assert str(tmp_path / "m") in error.value.faults[0]


@pytest.mark.parametrize("name", ["no-such-model", "/no/such/path", "./here", "a/b/c", "", "../x"])
def test_a_name_that_is_nothing_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"there is no (model|such)"):
        locate_model(name)


def test_a_hub_model_offline_says_what_to_do() -> None:
    with pytest.raises(UserError, match="not in the local cache") as error:
        locate_model("TinyLlama/TinyLlama-1.1B-Chat-v1.0")
    assert "--model tiny" in error.value.faults[0]


@pytest.mark.parametrize(
    ("error_name", "said"), [("GatedRepoError", "accept its licence"), ("RepositoryNotFoundError", "hf auth login")]
)
def test_gated_and_missing_hub_models_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error_name: str, said: str
) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    def refuse(*_: Any, **__: Any) -> str:
        cls = getattr(errors, error_name)
        raise cls.__new__(cls)  # its constructor wants a response

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(UserError, match=said):
        locate_model("owner/private-model")


@pytest.mark.parametrize("missing", ["adapters.safetensors", "adapter_config.json"])
def test_a_directory_that_is_no_adapter_says_why(random_model: Path, tmp_path: Path, missing: str) -> None:
    make_adapter(random_model, tmp_path / "run")
    (tmp_path / "run" / missing).unlink()
    with pytest.raises(UserError, match=missing.replace(".", r"\.")):
        read_adapter_config(tmp_path / "run")
    with pytest.raises(UserError, match="no such adapter"):
        read_adapter_config(tmp_path / "absent")


def test_a_half_written_adapter_says_why(random_model: Path, tmp_path: Path) -> None:
    make_adapter(random_model, tmp_path / "run")
    weights = tmp_path / "run" / "adapters.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match="does not fit"):
        load_adapter(load_base(str(random_model)), tmp_path / "run")
    (tmp_path / "run" / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="adapter_config"):
        read_adapter_config(tmp_path / "run")


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3", "mistral"])
def test_other_llama_shaped_models_load_and_train(tmp_path: Path, model_type: str) -> None:
    tokenizer = byte_level_tokenizer()
    folder = write_model(tmp_path / "m", tokenizer)
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    content |= {"model_type": model_type, "max_position_embeddings": 512, "head_dim": 16}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    _random_weights(folder, content)
    base = load_base(str(folder))
    attach_adapter(base, config(tmp_path / "run"))
    assert base.network(IDS).shape == (1, 5, len(tokenizer))


def _random_weights(folder: Path, content: dict[str, Any]) -> None:
    from mlx.utils import tree_flatten
    from mlx_lm.utils import _get_classes

    model, args = _get_classes(content)
    network = model(args.from_dict(content))
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(network.parameters())))


def test_a_quantised_base_takes_an_adapter(tmp_path: Path) -> None:
    from mlx_lm.utils import quantize_model, save_config, save_model

    folder = write_model(tmp_path / "m", byte_level_tokenizer(), hidden_size=64, intermediate_size=128)
    base = load_base(str(folder))
    network, written = quantize_model(base.network, dict(base.config), group_size=32, bits=4)
    quantised = tmp_path / "q4"
    save_model(quantised, network)
    save_config(written, config_path=quantised / "config.json")
    for file in folder.glob("*token*"):
        shutil.copy(file, quantised)
    said = make_adapter(quantised, tmp_path / "run")
    again = load_base(str(quantised))
    load_adapter(again, tmp_path / "run")
    assert same(again.network(IDS), said)


def test_dora_is_refused_where_it_would_divide_by_zero(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"dora divides by the length of each row, and 44 rows of tiny's model\.layers\.2"
    ):
        attach_adapter(load_base("tiny"), Config(adapter_path=tmp_path, fine_tune_type="dora", num_layers=2))


def test_what_ends_a_reply_is_the_same_before_weights_are_read_and_after(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m", byte_level_tokenizer())
    for said, ends in ((None, {1}), ([1, 2], {1, 2}), (2, {1, 2})):  # the tokenizer's own always counts
        (model / "generation_config.json").write_text(json.dumps({"eos_token_id": said}), encoding="utf-8")
        outline = read_outline(str(model))
        base = load_base(str(model), outline=outline)
        assert outline.tokenizer.eos_token_ids == load_base(str(model)).tokenizer.eos_token_ids == ends
        assert base.tokenizer is outline.tokenizer
