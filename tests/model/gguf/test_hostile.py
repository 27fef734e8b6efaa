"""Whatever a file holds, reading it ends at once, in little memory, in one line: no traceback, nothing left behind."""

import os
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlx_trace.errors import UserError
from mlx_trace.model.base import locate_model
from mlx_trace.model.gguf.convert import model_directory
from mlx_trace.model.gguf.header import read_header
from mlx_trace.model.gguf.write import write_gguf
from tests.model.gguf.models import byte_level, sentencepiece, write_random

LONGEST = 1.0  # seconds
MOST = 256 << 20  # bytes of memory, above what there was
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, in which a system tells memory


def text(value: str | bytes) -> bytes:
    content = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(content)) + content


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str | bytes, dims: list[int], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def file_of(pairs: list[bytes], tensors: list[bytes] = [], data: bytes = b"", **counts: int) -> bytes:  # noqa: B006
    num_tensors, num_keys = counts.get("num_tensors", len(tensors)), counts.get("keys", len(pairs))
    head = struct.pack("<4sIQQ", b"GGUF", counts.get("version", 3), num_tensors, num_keys)
    content = head + b"".join(pairs) + b"".join(tensors)
    return content + b"\0" * (-len(content) % 32) + data


ARCHITECTURE = pair("general.architecture", 8, text("llama"))
HUGE = 2**63
CASES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a GGUF file: it is too short"),
    "short magic": (b"GG", "not a GGUF file: it is too short"),
    "other magic": (b"PK\3\4" + b"\0" * 100, "not a GGUF file: it begins with"),
    "magic only": (b"GGUF", "cut short"),
    "version 1": (file_of([], version=1), "GGUF version 1"),
    "version 99": (file_of([], version=99), "GGUF version 99"),
    "big-endian": (struct.pack(">4sIQQ", b"GGUF", 3, 0, 0), "big-endian"),
    "many keys": (file_of([], keys=HUGE), "keys in a file of this size"),
    "many tensors": (file_of([], num_tensors=HUGE), "tensors in a file of this size"),
    "more keys than there are": (file_of([ARCHITECTURE], keys=2, data=b"\xff" * 64), "damaged"),
    "long key": (file_of([struct.pack("<Q", HUGE)], data=b"\0" * 64), "a string of"),
    "long string": (file_of([text("a") + struct.pack("<IQ", 8, HUGE)], data=b"\0" * 64), "a string of"),
    "string beyond the end": (file_of([text("a") + struct.pack("<IQ", 8, 1 << 20)]), "beyond the end"),
    "unknown value type": (file_of([pair("a", 77, b"\0" * 8)]), "unknown type 77"),
    "array of arrays": (file_of([pair("a", 9, struct.pack("<IQ", 9, 1) * 50)]), "array of arrays"),
    "array of unknowns": (file_of([pair("a", 9, struct.pack("<IQ", 50, 1))], data=b"\0" * 64), "array of unknown type 50"),
    "long array": (file_of([pair("a", 9, struct.pack("<IQ", 4, HUGE))], data=b"\0" * 64), "array of"),
    "long array of strings": (file_of([pair("a", 9, struct.pack("<IQ", 8, 1 << 20))], data=b"\0" * 64), "in a file of this size"),
    "key not UTF-8": (file_of([pair(b"\xff\xfe", 4, b"\0" * 4)]), "not UTF-8"),
    "string not UTF-8": (file_of([pair("a", 8, text(b"\xff\xfe"))]), "a is not UTF-8"),
    "token not UTF-8": (file_of([pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 1) + text(b"\xc3"))]), "not UTF-8"),
    "key twice": (file_of([ARCHITECTURE, ARCHITECTURE]), "stands twice"),
    "not a number": (file_of([pair("a", 6, struct.pack("<f", float("nan")))]), "a is nan"),
    "alignment 0": (file_of([pair("general.alignment", 4, struct.pack("<I", 0))]), "general.alignment"),
    "alignment 7": (file_of([pair("general.alignment", 4, struct.pack("<I", 7))]), "general.alignment"),
    "no dimensions": (file_of([], [tensor("a", [])]), "0 dimensions"),
    "many dimensions": (file_of([], [text("a") + struct.pack("<I", 1 << 31)], b"\0" * 64), "dimensions"),
    "dimension 0": (file_of([], [tensor("a", [4, 0])]), "dimension of size 0"),
    "overflowing dimensions": (file_of([], [tensor("a", [1 << 32, 1 << 32, 1 << 32])]), "beyond the end"),
    "unknown tensor type": (file_of([], [tensor("a", [4], kind=999)], b"\0" * 64), "type 999"),
    "retired tensor type": (file_of([], [tensor("a", [32], kind=4)], b"\0" * 64), "type 4"),
    "half a block": (file_of([], [tensor("a", [33], kind=8)], b"\0" * 64), "multiple of 32"),
    "tensor beyond the end": (file_of([], [tensor("a", [1 << 20])], b"\0" * 64), "beyond the end"),
    "offset beyond the end": (file_of([], [tensor("a", [4], offset=HUGE)], b"\0" * 64), "beyond the end"),
    "crooked offset": (file_of([], [tensor("a", [4], offset=1)], b"\0" * 64), "multiple of 32"),
    "overlap": (file_of([], [tensor("a", [16]), tensor("b", [16], offset=32)], b"\0" * 128), "overlap"),
    "tensor twice": (file_of([], [tensor("a", [4]), tensor("a", [4], offset=32)], b"\0" * 64), "stands twice"),
    "second part": (file_of([ARCHITECTURE, pair("split.no", 2, b"\1\0"), pair("split.count", 2, b"\3\0")]), "00001-of-00003"),
    "no architecture": (file_of([]), "architecture None"),
    "other architecture": (file_of([pair("general.architecture", 8, text("gemma3"))]), "architecture 'gemma3'"),
    "architecture a number": (file_of([pair("general.architecture", 4, b"\0" * 4)]), "architecture 0"),
    "an adapter": (file_of([pair("general.architecture", 8, text("x")), pair("general.type", 8, text("adapter"))]), "'adapter'"),
    "no keys": (file_of([ARCHITECTURE]), "its metadata has no llama"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused(file: Path, cache: Path) -> str:
    """Return the one line in which a file is refused; fails if that takes long, or leaves something behind."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(UserError) as error:
        locate_model(str(file))
    assert time.monotonic() - started < LONGEST
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * UNIT < MOST
    assert len(error.value.faults) == 1
    assert "\n" not in error.value.faults[0]
    assert file.name in error.value.faults[0]
    assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size]
    return error.value.faults[0]


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_file_is_refused_in_one_line(case: str, tmp_path: Path, cache: Path) -> None:
    content, said = CASES[case]
    file = tmp_path / "model-00002-of-00003.gguf"
    file.write_bytes(content)
    assert said in refused(file, cache)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small sound file."""
    folder = tmp_path_factory.mktemp("sound")
    write_gguf(write_random(folder / "m", "llama", byte_level("smollm")), folder / "m.gguf", "q8_0")
    return (folder / "m.gguf").read_bytes()


def test_a_file_cut_short_anywhere_is_refused(sound: bytes, tmp_path: Path) -> None:
    file = tmp_path / "cut.gguf"
    for end in [*range(0, 2000, 13), *range(2000, len(sound) - 32, 1999), len(sound) - 32]:
        file.write_bytes(sound[:end])
        with pytest.raises(UserError):
            model_directory(file)


@settings(max_examples=300)
@example(at=16_131, change=b"\x00\x00|")  # a scale that is infinite
@given(at=st.integers(0, 20_000), change=st.binary(min_size=1, max_size=12))
def test_a_file_with_other_bytes_is_read_or_refused(sound: bytes, tmp_path_factory: pytest.TempPathFactory, at: int,
                                                    change: bytes) -> None:  # fmt: skip
    file = tmp_path_factory.getbasetemp() / "changed.gguf"
    file.write_bytes(sound[:at] + change + sound[at + len(change) :])
    try:
        model_directory(file)
    except UserError as error:
        assert len(error.faults) == 1


def test_what_is_no_ordinary_file_is_refused(tmp_path: Path, cache: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "not an ordinary file" in refused(tmp_path / "pipe.gguf", cache)
    assert "not an ordinary file" in refused(Path("/dev/zero"), cache)
    assert "no such file" in refused(tmp_path / "absent.gguf", cache)
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(UserError, match="directory"):
        read_header(tmp_path / "folder.gguf")


@pytest.mark.parametrize("command", ["eval", "chat", "train"])
def test_a_command_refuses_a_file_before_it_imports_anything_large(command: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a shopping list")
    code = ("import sys; from mlx_trace.cli.main import main; code = main(sys.argv[1:])\n"
            "assert not {'mlx_lm', 'transformers'} & set(sys.modules); sys.exit(code)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, command, "--model", str(tmp_path / "notes.txt")], cwd=tmp_path,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mlx-trace: {tmp_path / 'notes.txt'}: not a GGUF file: it begins with b'a sh'\n"


def test_a_long_file_of_zeros_is_refused_at_once(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "sparse.gguf"
    with file.open("wb") as sparse:
        sparse.write(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1 << 40))
        sparse.truncate(1 << 40)
    assert "" in refused(file, cache)
    with file.open("r+b") as sparse:
        sparse.write(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 8, 1 << 30))
    assert "array of" in refused(file, cache)


# --- sound bytes that make no model ----------------------------------------------------------------------------


def written(folder: Path, edit: Callable[[dict[str, Any], dict[str, Any]], None], tokenizer: Any = None) -> Path:
    """Write a random model with its metadata and tensors edited."""
    from gguf import GGUFReader, GGUFWriter

    write_gguf(write_random(folder / "m", "llama", tokenizer or byte_level("smollm")), folder / "m.gguf", "f32")
    reader = GGUFReader(folder / "m.gguf")
    metadata = {
        key: (field.contents(), field.types) for key, field in reader.fields.items() if not key.startswith("GGUF.")
    }
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    edit(metadata, tensors)
    writer = GGUFWriter(folder / "edited.gguf", "llama")
    for key, (value, types) in metadata.items():
        writer.add_key_value(key, value, types[0], types[-1] if len(types) > 1 else None)
    for name, data in tensors.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "edited.gguf"


def setting(key: str, value: Any, **scaling: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def edit(metadata: dict[str, Any], _: dict[str, Any]) -> None:
        from gguf import GGUFValueType

        kinds = {int: GGUFValueType.UINT32, float: GGUFValueType.FLOAT32, str: GGUFValueType.STRING}
        others = {f"llama.rope.scaling.{name}": setting for name, setting in scaling.items()}
        for name, new in ({key: value} | others).items():
            metadata[name] = new, metadata[name][1] if name in metadata else [kinds[type(new)]]

    return edit


def dropping(name: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda metadata, tensors: [found.pop(name, None) for found in (metadata, tensors)] and None


EDITS: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], None], str]] = {
    "no width": (dropping("llama.embedding_length"), "no llama.embedding_length"),
    "no layers": (dropping("llama.block_count"), "no llama.block_count"),
    "no norm": (dropping("llama.attention.layer_norm_rms_epsilon"), "layer_norm_rms_epsilon"),
    "no tokens": (dropping("tokenizer.ggml.tokens"), "no tokenizer"),
    "no end": (dropping("tokenizer.ggml.eos_token_id"), "eos_token_id"),
    "no tokenizer": (dropping("tokenizer.ggml.model"), "kind None"),
    "no heads": (setting("llama.attention.head_count", 0), "head_count is 0"),
    "no key heads": (setting("llama.attention.head_count_kv", 0), "head_count_kv is 0"),
    "heads that do not fit": (setting("llama.attention.head_count", 3), "not a multiple"),
    "a wide head": (setting("llama.attention.head_count", 1 << 15), "has the shape"),
    "many layers": (setting("llama.block_count", 4000), "there is no tensor"),
    "too many layers": (setting("llama.block_count", 1 << 30), "block_count is"),
    "experts": (setting("llama.expert_count", 8), "llama.expert_count = 8"),
    "part of a head rotated": (setting("llama.rope.dimension_count", 8), "rotating 8 of 24"),
    "base 0": (setting("llama.rope.freq_base", 0.0), "freq_base is 0.0"),
    "longrope": (setting("llama.rope.scaling.type", "longrope"), "'longrope'"),
    "odd yarn": (setting("llama.rope.scaling.attn_factor", 2.0, type="yarn", factor=2.0), "attn_factor is 2.0"),
    "unknown cut": (setting("tokenizer.ggml.pre", "poro-chat"), "'poro-chat'"),
    "unknown tokenizer": (setting("tokenizer.ggml.model", "t5"), "kind 't5'"),
    "fewer embeddings": (lambda m, t: t.update({"token_embd.weight": t["token_embd.weight"][:9], "output.weight": t["output.weight"][:9]}),
                         "embeddings for 9"),
    "no embeddings": (dropping("token_embd.weight"), "no tensor token_embd.weight"),
    "no q": (dropping("blk.1.attn_q.weight"), "no tensor blk.1.attn_q.weight"),
    "a stranger": (lambda m, t: t.update({"blk.0.attn_gate.weight": t["blk.0.attn_q.weight"]}), "no place"),
    "odd factors": (lambda m, t: t.update({"rope_freqs.weight": t["output_norm.weight"][:12] * 0 + 1.5}), "no other is known"),
}  # fmt: skip


@pytest.mark.parametrize("case", EDITS)
def test_a_file_that_makes_no_model_is_refused_by_name(case: str, tmp_path: Path, cache: Path) -> None:
    edit, said = EDITS[case]
    file = written(tmp_path, edit)
    assert said in refused(file, cache)


def test_a_weight_that_is_no_number_is_refused(tmp_path: Path, cache: Path) -> None:
    def edit(_: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors["blk.1.ffn_up.weight"] = tensors["blk.1.ffn_up.weight"] * float("nan")

    assert "blk.1.ffn_up.weight holds numbers that are not finite" in refused(written(tmp_path, edit), cache)


def test_pieces_without_scores_are_refused(tmp_path: Path, cache: Path) -> None:
    assert "scores of 0" in refused(written(tmp_path, dropping("tokenizer.ggml.scores"), sentencepiece()), cache)
