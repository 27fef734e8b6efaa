"""One rule says which model and adapter are meant, for every command that takes them."""

import json
import shutil
from pathlib import Path

import pytest

from mlx_trace.cli.main import main
from mlx_trace.cli.options import settle_adapter
from mlx_trace.cli.train import find_config
from mlx_trace.config_file import load_config
from mlx_trace.model.named import NAMED
from mlx_trace.model.published import published
from mlx_trace.resources import adapters_dir

BUNDLED = adapters_dir() / "tiny"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def put(folder: str, *files: str) -> Path:
    path = Path(folder)
    path.mkdir(parents=True)
    for file in files:
        (path / file).touch()
    return path


def test_without_a_word_it_is_the_tiny_adapter() -> None:
    assert settle_adapter(None, None) == BUNDLED
    assert settle_adapter("tiny", None) == BUNDLED
    assert settle_adapter("TINY", None) == BUNDLED


def test_what_is_named_is_taken_and_none_is_none() -> None:
    assert settle_adapter(None, Path("run")) == Path("run")
    assert settle_adapter("tiny", Path("run")) == Path("run")
    assert settle_adapter("some/hub-name", Path("run")) == Path("run")
    assert settle_adapter("tiny", Path("none")) is None
    assert settle_adapter(None, Path("none")) is None


@pytest.mark.parametrize("name", [entry.name for entry in NAMED])
def test_a_model_with_a_name_has_the_adapter_of_that_name(name: str) -> None:
    assert settle_adapter(name, None) is None
    run = put(f"adapters/{name}", "adapters.safetensors", "adapter_config.json")
    assert settle_adapter(name, None) == run
    assert settle_adapter(name.upper(), None) == run
    assert settle_adapter(None, None) == BUNDLED


def test_one_trained_here_comes_before_the_one_that_came_along_once_it_is_whole() -> None:
    run = put("adapters/tiny", "adapter_config.json")
    assert settle_adapter(None, None) == BUNDLED
    (run / "adapters.safetensors").touch()
    assert settle_adapter(None, None) == run


def test_folders_files_and_hub_names_bring_no_adapter() -> None:
    put("adapters/mine", "adapters.safetensors", "adapter_config.json")
    put("mine", "config.json")
    for name in ("mine", "./mine", "owner/mine", "mine.gguf"):
        assert settle_adapter(name, None) is None


def test_commands_say_what_they_took(capsys: pytest.CaptureFixture[str], random_model: Path) -> None:
    few = ["-n", "1", "--max-tokens", "99", "--json"]
    assert main(["eval", *few]) == 0
    assert json.loads(capsys.readouterr().out)["adapter"] == str(BUNDLED)
    assert main(["eval", "--adapter-path", "none", *few]) == 0
    assert json.loads(capsys.readouterr().out)["adapter"] is None
    shutil.copytree(BUNDLED, "adapters/tiny")
    assert main(["eval", *few[:-1]]) == 0
    assert "tiny with adapters/tiny: " in capsys.readouterr().out
    assert main(["fuse", "--model", str(random_model), "--save-path", "fused"]) == 2
    assert "there is no adapter to merge" in capsys.readouterr().err
    assert not Path("fused").exists()


def test_a_model_without_an_adapter_is_told_how_to_make_one_where_it_is_looked_for() -> None:
    for model in NAMED:
        configuration = published(model.name)
        assert configuration is not None
        trained = load_config(find_config(configuration.configuration), {})
        assert trained.adapter_path == Path("adapters") / model.name


def test_an_empty_name_is_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--model", ""]) == 2
    assert "--model: the name is empty" in capsys.readouterr().err


def test_a_modelfile_of_another_file_is_not_replaced_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one.gguf", "two.gguf"):
        assert main(["fuse", "--gguf", name]) == 0
    assert "Modelfile: was another GGUF file's, and is two.gguf's now" in capsys.readouterr().err
    assert "FROM ./two.gguf\n" in Path("Modelfile").read_text()
