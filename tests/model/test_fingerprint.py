"""A fingerprint follows every byte of the weights, and nothing else; it is read once."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.errors import UserError
from mlx_trace.model import fingerprint as module
from mlx_trace.model import remembered
from mlx_trace.model.fingerprint import Fingerprint, begun, fingerprint
from tests.conftest import byte_level_tokenizer, write_model

import mlx.core as mx  # isort: skip


@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_bit_counts(random_model: Path, tmp_path_factory: pytest.TempPathFactory, share: float, bit: int) -> None:
    content = bytearray((random_model / "model.safetensors").read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[start + int(share * (len(content) - start))] ^= 1 << bit
    other = tmp_path_factory.mktemp("other")
    (other / "model.safetensors").write_bytes(content)
    one, two = fingerprint(random_model), fingerprint(other)
    assert one.digest != two.digest
    assert one.shape == two.shape
    changed = {name for name, line in one.tensors.items() if two.tensors[name] != line}
    assert len(changed) == 1
    assert one.without({name.rpartition(".")[0] for name in changed}) == two.without(
        {name.rpartition(".")[0] for name in changed}
    )


def test_how_weights_are_spread_over_files_does_not_count(random_model: Path, tmp_path: Path) -> None:
    weights = dict(mx.load(str(random_model / "model.safetensors")))
    names = sorted(weights)
    for at, part in enumerate((names[::2], names[1::2]), start=1):
        mx.save_safetensors(
            str(tmp_path / f"model-0000{at}-of-00002.safetensors"), {name: weights[name] for name in part}
        )
    assert fingerprint(tmp_path).digest == fingerprint(random_model).digest
    mx.save_safetensors(str(tmp_path / "model-00001-of-00002.safetensors"), {"more": mx.zeros(3)})
    assert fingerprint(tmp_path).shape != fingerprint(random_model).shape


def test_a_type_counts_though_the_bytes_are_the_same() -> None:
    assert Fingerprint({"a": "3 x"}).digest != Fingerprint({"a": "1x3 x"}).digest
    assert Fingerprint({"a": "3 x"}).shape == Fingerprint({"a": "3 y"}).shape


def test_weights_are_read_once_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "YOUNG", -1)
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "cache"))
    folder = write_model(tmp_path / "m", byte_level_tokenizer())
    read: list[Path] = []
    hashed = module._hashed
    monkeypatch.setattr(module, "_hashed", lambda file: read.append(file) or hashed(file))
    first = fingerprint(folder)
    assert fingerprint(folder) == first and len(read) == 1
    status = (folder / "model.safetensors").stat()
    write_model(folder, byte_level_tokenizer(), seed=1)
    os.utime(folder / "model.safetensors", ns=(status.st_atime_ns, status.st_mtime_ns))  # its other time tells
    assert fingerprint(folder).digest != first.digest and len(read) == 2


def test_a_file_too_young_to_tell_its_times_apart_is_not_remembered(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", byte_level_tokenizer())
    fingerprint(folder)
    assert remembered.recall(folder / "model.safetensors", "tensors1", dict) is None


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "YOUNG", -1)
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "file"))
    assert fingerprint(random_model).tensors


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0[]", b"\x05\0\0\0\0\0\0\0{\"a\":",
                                     b'\x3a\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}       '])  # fmt: skip
def test_a_file_that_is_none_says_so_to_whoever_waits(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors: (no safetensors file|ends before)"):
        begun(tmp_path)()
