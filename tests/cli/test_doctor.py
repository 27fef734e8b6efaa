"""The doctor lists models at hand and to be had, what training takes here, and does not stumble over what is broken."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from mlx_trace.cli.main import main
from mlx_trace.model.inventory import models
from mlx_trace.model.named import NAMED
from tests.model.test_named import in_hub_cache

Out = pytest.CaptureFixture[str]
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches of ours and of the hub, both absent."""
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture
def report(capsys: Out) -> Callable[[], dict[str, Any]]:
    """Run the doctor; return its models by name."""

    def run() -> dict[str, Any]:
        assert main(["doctor", "--json"]) == 0
        return {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]["value"]}

    return run


def converted(caches: Path, model: Path, source: str, folder: str = "0abc") -> Path:
    """Put a model where a GGUF file's conversion would be."""
    target = caches / "cache" / "models" / folder
    shutil.copytree(model, target)
    (target / "gguf.json").write_text(json.dumps({"source": source, "tensors": {"Q4_1": 3, "F32": 1}}))
    return target


def test_without_any_cache_there_is_tiny_and_what_may_be_had(report: Callable[[], dict[str, Any]]) -> None:
    rows = report()
    assert list(rows) == ["tiny", *(entry.name for entry in NAMED)]
    assert rows["tiny"]["path"]
    assert not any(rows[entry.name]["path"] for entry in NAMED)
    assert all(row["training_bytes"] or row["training_bytes"] is None for row in rows.values())
    assert not any(row["fault"] for row in rows.values())


def test_models_at_hand_are_found_wherever_they_came_from(
    report: Callable[[], dict[str, Any]], caches: Path, random_model: Path
) -> None:
    converted(caches, random_model, "my-own.gguf")
    named = converted(caches, random_model, FILE, "0def")
    (caches / "cache" / "files").mkdir()
    (caches / "cache" / "files" / FILE).write_bytes(b"x" * 1000)
    in_hub_cache(caches / "hub", "owner/mine", random_model)
    in_hub_cache(caches / "hub", "Qwen/Qwen3-0.6B", random_model)
    rows = report()
    assert rows["my-own.gguf"]["source"] == "GGUF file, converted"
    assert (rows["smollm2-135m"]["source"], rows["smollm2-135m"]["path"]) == ("package index", str(named))
    assert (rows["owner/mine"]["source"], rows["qwen3-0.6b"]["source"]) == ("hub", "hub")
    assert "Qwen/Qwen3-0.6B" not in rows
    assert FILE not in rows
    for name in ("my-own.gguf", "smollm2-135m", "owner/mine", "qwen3-0.6b"):
        assert rows[name]["training_bytes"] is None or not rows[name]["fault"]


def test_what_is_broken_is_named_and_what_is_foreign_left_alone(
    report: Callable[[], dict[str, Any]], caches: Path, random_model: Path, capsys: Out
) -> None:
    (converted(caches, random_model, "half.gguf") / "model.safetensors").unlink()
    (converted(caches, random_model, "odd.gguf", "0def") / "config.json").write_text("[")
    (caches / "cache" / "models" / "foreign").mkdir()
    (caches / "cache" / "models" / "a-file").write_text("")
    partial = in_hub_cache(caches / "hub", "owner/partial", random_model)
    (partial / "tokenizer.json").unlink()
    other = in_hub_cache(caches / "hub", "owner/bert", random_model)
    (other / "config.json").write_text('{"model_type": "bert"}')
    (caches / "hub" / "models--broken").mkdir()
    (caches / "hub" / "a-file").write_text("")
    rows = report()
    assert "broken; remove" in rows["half.gguf"]["fault"]
    assert rows["odd.gguf"]["fault"]
    assert rows["owner/partial"]["fault"] == "not all of it was downloaded"
    assert "foreign" not in rows
    assert "owner/bert" not in rows
    assert main(["doctor"]) == 0
    assert "holds 1 more, of kinds that mlx-trace does not train" in capsys.readouterr().out


def test_a_file_that_is_not_converted_yet_is_at_hand(report: Callable[[], dict[str, Any]], caches: Path) -> None:
    (caches / "cache" / "files").mkdir(parents=True)
    (caches / "cache" / "files" / FILE).write_bytes(b"x")
    assert report()["smollm2-135m"]["source"] == "package index, not converted yet"


def test_the_table_fits_a_terminal_and_says_how_to_go_on(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    table = out[out.index("model at hand") :].splitlines()
    assert max(map(len, table)) <= 110
    assert max(len(line) for line in table if "GB" in line or "MB" in line) <= 110
    assert "mlx-trace chat --model smollm2-135m" in out
    assert out.count("smollm2-135m") == 2


def test_no_weights_are_read(random_model: Path, caches: Path) -> None:
    folder = converted(caches, random_model, "mine.gguf")
    (folder / "model.safetensors").write_bytes(b"not weights at all")
    assert "mine.gguf" in {found.name for found in models()}
