"""A file is converted once, whole or not at all, whoever else does the same and whatever ends the process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.errors import UserError
from mlx_trace.model.base import load_base, locate_model
from mlx_trace.model.gguf import convert, weights
from mlx_trace.model.gguf.convert import PROVENANCE, model_directory
from mlx_trace.model.gguf.header import read_header
from mlx_trace.model.gguf.values import rows_of, values_of
from mlx_trace.model.gguf.write import write_gguf
from mlx_trace.model.remembered import YOUNG
from tests.model.gguf.models import TEMPLATE, byte_level, write_random
from tests.model.gguf.models import weights as weights_of

import mlx.core as mx  # isort: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model's file, old enough for its fingerprint to be remembered."""
    folder = tmp_path_factory.mktemp("file")
    write_gguf(write_random(folder / "m", "llama", byte_level("smollm")), folder / "m.gguf", "f32")
    os.utime(folder / "m.gguf", (1_700_000_000, 1_700_000_000))
    time.sleep(YOUNG / 1e9)
    return folder / "m.gguf"


def left(cache: Path) -> list[str]:
    """Return what of conversions lies in the cache, but for locks."""
    return sorted(path.name for path in (cache / "models").iterdir() if not path.name.endswith(".lock"))


def in_another_process(file: Path, cache: Path, slowly: bool = True) -> subprocess.Popen[str]:
    """Convert in another process, which waits when it has begun to write."""
    wait = ("from mlx_trace.model.gguf import weights; import time; real = weights._write_shard\n"
            "def slow(*parts): print('writing', flush=True); time.sleep(6); real(*parts)\n"
            "weights._write_shard = slow\n")  # fmt: skip
    code = ("import signal, sys; from pathlib import Path\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests themselves were started with\n"
            f"{wait if slowly else ''}"
            "from mlx_trace.model.gguf.convert import model_directory\nprint(model_directory(Path(sys.argv[1])))")  # fmt: skip
    return subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"MLX_TRACE_CACHE": str(cache)})  # fmt: skip


def test_a_file_is_a_model_wherever_a_model_stands(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = locate_model(str(file))
    monkeypatch.chdir(file.parent)
    assert locate_model("m.gguf") == locate_model("./m.gguf") == folder
    monkeypatch.setenv("HOME", str(file.parent))
    assert locate_model("~/m.gguf") == folder
    base = load_base("m.gguf")
    assert base.tokenizer.chat_template == TEMPLATE
    assert base.tokenizer.eos_token_ids == {base.tokenizer.convert_tokens_to_ids("<|im_end|>")}
    shutil.copy("m.gguf", "without-a-suffix")
    assert locate_model("without-a-suffix") == folder


def test_a_file_that_is_no_gguf_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a shopping list")
    with pytest.raises(UserError, match=r"notes\.txt: not a GGUF file: it begins with b'a sh'"):
        locate_model(str(tmp_path / "notes.txt"))


def test_the_second_start_converts_and_hashes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    folder = model_directory(file)
    assert capsys.readouterr().err.count("\n") == 2  # before and after
    for name in ("read_header", "_hash", "write_weights"):
        monkeypatch.setattr(convert, name, lambda *_: pytest.fail("the second start works"))
    assert model_directory(file) == folder
    assert capsys.readouterr().err == ""


def test_a_file_whose_bytes_change_is_another_model(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    shutil.copy(file, copy)
    first = model_directory(copy)
    content = bytearray(copy.read_bytes())
    content[-40] ^= 1
    copy.write_bytes(content)
    os.utime(copy, (1_700_000_000, 1_700_000_000))
    assert model_directory(copy) != first


def test_a_folder_that_lost_a_file_is_made_again(file: Path) -> None:
    folder = model_directory(file)
    (folder / "model.safetensors").unlink()
    assert model_directory(file) == folder
    assert (folder / "model.safetensors").stat().st_size == json.loads((folder / PROVENANCE).read_text())["files"][
        "model.safetensors"
    ]


def test_what_a_folder_came_from_is_written_down(file: Path) -> None:
    found = json.loads((model_directory(file) / PROVENANCE).read_text())
    assert found["source"] == "m.gguf"
    assert found["bytes"] == file.stat().st_size
    assert found["architecture"] == "llama"
    assert set(found["tensors"]) == {"F32"}


def test_two_processes_at_once_convert_once(file: Path, cache: Path) -> None:
    first = in_another_process(file, cache)
    assert first.stdout is not None
    assert first.stdout.readline() == "writing\n"
    second = in_another_process(file, cache)
    (one, _), (other, said) = first.communicate(timeout=60), second.communicate(timeout=60)
    assert "another process is converting it; waiting" in said
    assert one == other  # the folder alone: the second wrote nothing
    assert left(cache) == [Path(one.strip()).name]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_ended_leaves_nothing_that_counts(file: Path, cache: Path, end: signal.Signals) -> None:
    process = in_another_process(file, cache)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    assert len(left(cache)) == 1
    process.send_signal(end)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert all(name.startswith(".") for name in left(cache))
    assert end == signal.SIGKILL or left(cache) == []  # Ctrl-C cleans up
    folder = model_directory(file)
    assert left(cache) == [folder.name]  # what was killed is swept away


def test_leftovers_of_other_files_are_removed_too(file: Path, cache: Path) -> None:
    (cache / "models" / ".0123.part.x").mkdir(parents=True)
    folder = model_directory(file)
    assert left(cache) == [folder.name]


def test_a_disk_that_is_too_small_is_told_before(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match="0 MB are free") as error:
        model_directory(file)
    assert len(error.value.faults) == 1
    assert left(cache) == []


def test_a_disk_that_fills_up_leaves_nothing(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert, "write_weights", full)
    with pytest.raises(UserError, match="no space left on device") as error:
        model_directory(file)
    assert len(error.value.faults) == 1
    assert left(cache) == []


def test_a_cache_that_cannot_be_written_is_told(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in-the-way").write_text("")
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "in-the-way"))
    with pytest.raises(UserError, match="in-the-way"):
        model_directory(file)


def test_a_large_model_is_written_in_several_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = weights_of(model_directory(file))
    monkeypatch.setattr(weights, "_SHARD", 100_000)
    shutil.rmtree(model_directory(file))
    folder = model_directory(file)
    parts = sorted(path.name for path in folder.glob("model-*.safetensors"))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert len(parts) > 2
    assert set(index["weight_map"].values()) == set(parts)
    assert weights_of(folder).keys() == whole.keys() == index["weight_map"].keys()
    assert all(np.array_equal(value, whole[name][0]) for name, (value, _) in weights_of(folder).items())
    load_base(str(file))


# --- what is kept, and in which type ---------------------------------------------------------------------------


def test_embeddings_that_stand_twice_are_one_and_the_finer_copy(tmp_path: Path) -> None:
    """A file may hold tied embeddings coarsely and once more, finely, as its head."""
    folder = write_random(tmp_path / "m", "llama", byte_level("smollm"), tie_word_embeddings=True)
    coarse, fine = (with_kinds(folder, tmp_path / f"{kind}.gguf", kind) for kind in ("Q4_0", "Q8_0"))
    both = joined(coarse, fine, tmp_path / "both.gguf")
    found = model_directory(both)
    assert json.loads((found / "config.json").read_text())["tie_word_embeddings"] is True
    assert "lm_head.weight" not in weights_of(found)
    name = "model.embed_tokens.weight"
    assert np.array_equal(weights_of(found)[name][0], weights_of(model_directory(fine))[name][0])
    assert not np.array_equal(weights_of(found)[name][0], weights_of(model_directory(coarse))[name][0])


@pytest.mark.parametrize("changed", ["a tenth of everything", "one row"])
def test_a_head_that_differs_by_more_than_rounding_stays(tmp_path: Path, changed: str) -> None:
    folder = write_random(tmp_path / "m", "llama", byte_level("smollm"), tie_word_embeddings=True)
    fine = with_kinds(folder, tmp_path / "fine.gguf", "Q8_0")
    whole = mx.load(str(folder / "model.safetensors"))
    table = whole["model.embed_tokens.weight"]
    noise = 0.1 * mx.std(table) * mx.random.normal(table.shape)
    whole["model.embed_tokens.weight"] = table + (
        noise if changed != "one row" else noise * (mx.arange(len(table)) == 77)[:, None]
    )
    mx.save_safetensors(str(folder / "model.safetensors"), whole)
    other = with_kinds(folder, tmp_path / "other.gguf", "Q8_0")
    found = model_directory(joined(fine, other, tmp_path / "both.gguf"))
    assert json.loads((found / "config.json").read_text())["tie_word_embeddings"] is False
    assert "lm_head.weight" in weights_of(found)


def with_kinds(folder: Path, file: Path, kind: str) -> Path:
    """Write a folder's matrices in a type that the gguf package can write."""
    from mlx_trace.model.gguf import write

    write.KINDS["other"], write._FILE_TYPES[kind] = kind, 0
    try:
        write_gguf(folder, file, "other")
    finally:
        del write.KINDS["other"]
    return file


def joined(coarse: Path, fine: Path, into: Path) -> Path:
    """Write the first file again, with the second one's embeddings as its head."""
    from gguf import GGUFReader, GGUFWriter

    writer = GGUFWriter(into, "llama")
    reader, other = GGUFReader(coarse), GGUFReader(fine)
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            writer.add_key_value(
                key, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None
            )
    heads = [tensor for tensor in other.tensors if tensor.name == "token_embd.weight"]
    for tensor, name in [*((one, one.name) for one in reader.tensors), *((one, "output.weight") for one in heads)]:
        writer.add_tensor(name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return into


@pytest.mark.parametrize(("dtype", "kind", "wanted"), [
    (mx.float32, "f32", "float32"), (mx.float32, "q8_0", "float32"), (mx.float16, "f16", "float16"),
    (mx.bfloat16, "bf16", "bfloat16"), (mx.float32, "f16", "float32"),
])  # fmt: skip
def test_types_are_as_narrow_as_loses_nothing(tmp_path: Path, dtype: mx.Dtype, kind: str, wanted: str) -> None:
    """Half precision stays where all is of it; where norms are finer than the matrices, all is float32."""
    file = tmp_path / "m.gguf"
    write_gguf(write_random(tmp_path / "m", "llama", byte_level("smollm"), dtype=dtype), file, kind)
    folder = model_directory(file)
    assert {name for _, name in weights_of(folder).values()} == {f"mlx.core.{wanted}"}
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == wanted
    header = read_header(file)
    with file.open("rb") as content:
        tensor = header.tensors["blk.0.ffn_up.weight"]
        values = values_of(rows_of(content, tensor), tensor.kind)
    assert np.array_equal(weights_of(folder)["model.layers.0.mlp.up_proj.weight"][0], values)


def test_embeddings_without_tokens_are_kept(tmp_path: Path) -> None:
    file, tokenizer = tmp_path / "m.gguf", byte_level("qwen2")
    write_gguf(write_random(tmp_path / "m", "qwen2", tokenizer, vocab_size=len(tokenizer) + 40), file, "f32")
    base = load_base(str(file))
    assert base.network.model.embed_tokens.weight.shape[0] == len(tokenizer) + 40 == base.config["vocab_size"]
    assert len(base.tokenizer) == len(tokenizer)
