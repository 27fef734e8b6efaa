"""Weights are computed in what the device does fast, planned for in that type, and written back in their own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_trace.config import Config
from mlx_trace.fuse import fuse
from mlx_trace.memory.shape import shape_of
from mlx_trace.model.adapter import attach_adapter, load_adapter
from mlx_trace.model.base import load_base
from mlx_trace.model.precision import BYTES, computed_type, is_dequantised, reason, stored_type, written_type
from mlx_trace.model.prompts import Prompter
from mlx_trace.train.run import _shape
from tests.conftest import byte_level_tokenizer, write_model
from tests.model.test_base import IDS, make_adapter, same

import mlx.core as mx  # isort: skip
from mlx.utils import tree_flatten
from mlx_lm.utils import dequantize_model

ON_CPU = mx.default_device().type == mx.cpu
needs_cpu = pytest.mark.skipif(not ON_CPU, reason="a GPU computes half precision as it is")
Out = pytest.CaptureFixture[str]


@pytest.fixture(params=["bfloat16", "float16"])
def half(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A random model in half precision."""
    yield as_type(write_model(tmp_path / "half", byte_level_tokenizer(), torch_dtype=request.param), request.param)


def as_type(folder: Path, name: str) -> Path:
    file = str(folder / "model.safetensors")
    mx.save_safetensors(file, {key: value.astype(getattr(mx, name)) for key, value in mx.load(file).items()})
    return folder


def types(file: Path) -> set[str]:
    return {str(value.dtype) for value in mx.load(str(file)).values()}


@pytest.mark.parametrize("stored", list(BYTES))
@pytest.mark.parametrize("dequantised", [False, True])
def test_a_cpu_computes_in_float32_and_a_gpu_in_the_models_own_type(stored: str, dequantised: bool) -> None:
    assert computed_type(stored, "auto", on_cpu=True, dequantised=dequantised) == "float32"
    on_gpu = computed_type(stored, "auto", on_cpu=False, dequantised=dequantised)
    assert on_gpu == ("bfloat16" if dequantised and stored == "float32" else stored)
    for on_cpu in (True, False):
        assert computed_type(stored, "float16", on_cpu, dequantised) == "float16"
        assert (reason(stored, stored, "auto", on_cpu) is None) == (stored == "float32" or not on_cpu)


@pytest.mark.parametrize("stored", list(BYTES))
@pytest.mark.parametrize("computed", list(BYTES))
def test_what_is_written_is_never_wider_than_what_was_stored(stored: str, computed: str) -> None:
    assert BYTES[written_type(stored, computed)] <= BYTES[stored]
    assert written_type(stored, stored) == stored


@pytest.mark.parametrize(
    ("content", "expected"),
    [({"torch_dtype": "float16"}, "float16"), ({"dtype": "float32", "torch_dtype": "float16"}, "float32"), ({}, "bfloat16"),
     ({"torch_dtype": "torch.float32"}, "float32"), ({"torch_dtype": 7}, "bfloat16")],
)  # fmt: skip
def test_the_stored_type_is_read_from_the_configuration(content: dict[str, object], expected: str) -> None:
    assert stored_type(content) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [('{"tensors": {"Q4_1": 9, "F32": 3}}', True), ('{"tensors": {"F16": 9, "F32": 3}}', False), ("{", False),
     ("[]", False), ('{"tensors": 3}', False)],
)  # fmt: skip
def test_what_was_a_quantised_file_is_known_by_what_lies_beside_it(tmp_path: Path, said: str, expected: bool) -> None:
    assert not is_dequantised(tmp_path)
    (tmp_path / "gguf.json").write_text(said)
    assert is_dequantised(tmp_path) == expected


@needs_cpu
def test_half_precision_is_computed_in_float32_and_says_so(half: Path, tmp_path: Path, capsys: Out) -> None:
    base = load_base(str(half))
    assert {value.dtype for _, value in tree_flatten(base.network.parameters())} == {mx.float32}
    assert capsys.readouterr().err.count("weights computed in float32: a CPU is some 40 times slower") == 1
    exact = load_base(str(as_type(write_model(tmp_path / "same", byte_level_tokenizer()), "float32")))
    exact.network.load_weights([(key, value.astype(mx.float32)) for key, value in
                                mx.load(str(half / "model.safetensors")).items()])  # fmt: skip
    assert same(base.network(IDS), exact.network(IDS), 1e-6)
    assert not capsys.readouterr().err


def test_a_type_that_is_asked_for_is_used(half: Path) -> None:
    for name in ("float32", "bfloat16", "float16"):
        base = load_base(str(half), dtype=name)  # type: ignore[arg-type]
        assert base.computed == name
        assert base.network(IDS).dtype == getattr(mx, name)


@needs_cpu
def test_a_fused_model_has_its_bases_type_again(half: Path, tmp_path: Path) -> None:
    stored = types(half / "model.safetensors")
    make_adapter(half, tmp_path / "run")
    base = load_base(str(half))
    load_adapter(base, tmp_path / "run")
    fidelity = fuse(base, Prompter(base.tokenizer, Config().prompt), tmp_path / "fused", n=2)
    assert types(tmp_path / "fused" / "model.safetensors") == stored
    assert base.written_type == str(stored.pop()).removeprefix("mlx.core.")
    assert json.loads((tmp_path / "fused" / "config.json").read_text())["torch_dtype"] == base.written_type
    assert fidelity is not None and fidelity.kept is not None and 0.9 < fidelity.kept < 1


@needs_cpu
@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_weights_stay_so_and_are_computed_in_float32(tmp_path: Path, bits: int) -> None:
    quantisation = {"group_size": 32, "bits": bits}
    folder = write_model(tmp_path / "q", byte_level_tokenizer(), hidden_size=64, intermediate_size=64,
                         quantization=quantisation, torch_dtype="bfloat16")  # fmt: skip
    file = str(folder / "model.safetensors")
    mx.save_safetensors(file, {key: value.astype(mx.bfloat16) if mx.issubdtype(value.dtype, mx.floating) else value
                               for key, value in mx.load(file).items()})  # fmt: skip
    base, dense = load_base(str(folder)), dequantize_model(load_base(str(folder)).network)
    said = base.network(IDS)
    assert (said.dtype, base.written_type) == (mx.float32, "bfloat16")
    assert base.network.model.layers[0].mlp.up_proj.weight.dtype == mx.uint32
    assert same(said, dense(IDS), 1e-4)
    make_adapter(folder, tmp_path / "run")
    load_adapter(base, tmp_path / "run")
    fuse(base, Prompter(base.tokenizer, Config().prompt), tmp_path / "fused", n=0)
    assert types(tmp_path / "fused" / "model.safetensors") == {"mlx.core.uint32", "mlx.core.bfloat16"}


@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("kind", ["bfloat16", "float32"])
def test_memory_is_planned_in_the_type_that_is_computed_in(tmp_path: Path, bits: int | None, kind: str) -> None:
    changes = {"quantization": {"group_size": 32, "bits": bits}} if bits else {}
    folder = write_model(tmp_path / "m", byte_level_tokenizer(), hidden_size=64, intermediate_size=64, torch_dtype=kind,
                         **changes)  # fmt: skip
    file = str(folder / "model.safetensors")
    mx.save_safetensors(file, {key: value.astype(getattr(mx, kind)) if mx.issubdtype(value.dtype, mx.floating) else value
                               for key, value in mx.load(file).items()})  # fmt: skip
    base = load_base(str(folder))
    settings = Config.model_validate({"num_layers": 1, "lora_parameters": {"rank": 4}})
    attach_adapter(base, settings)
    loaded, planned = _shape(base, settings), shape_of(base.config, settings, ON_CPU)
    assert loaded.item == planned.item
    assert loaded.weights == pytest.approx(planned.weights, rel=0.03)  # norms are not counted
    assert shape_of(base.config, settings, on_cpu=False).item == BYTES[kind]
    assert shape_of(base.config, settings, on_cpu=False, dequantised=True).item == BYTES["bfloat16"]


def test_mixed_types_keep_what_is_finer(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mixed", byte_level_tokenizer())
    file = str(folder / "model.safetensors")
    mx.save_safetensors(file, {key: value if "norm" in key else value.astype(mx.bfloat16)
                               for key, value in mx.load(file).items()})  # fmt: skip
    base = load_base(str(folder))
    kinds = {name: "float32" if "norm" in name else "bfloat16" for name in base.written}
    assert {name: str(kind).removeprefix("mlx.core.") for name, kind in base.written.items()} == kinds
