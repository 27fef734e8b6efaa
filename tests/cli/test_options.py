"""One rule says which model and adapter are meant, for every command that takes them."""

import io
import json
import shutil
from pathlib import Path

import pytest

from mlx_trace.api.loading import settle_adapter
from mlx_trace.cli.main import main
from mlx_trace.config_file import find_config, load_config
from mlx_trace.memory.published import published
from mlx_trace.model.named import NAMED
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
    bundled = adapters_dir() / name  # some come along
    assert settle_adapter(name, None) == (bundled if bundled.is_dir() else None)
    run = put(f"adapters/{name}", "adapters.safetensors", "adapter_config.json")
    assert settle_adapter(name, None) == run
    assert settle_adapter(name.upper(), None) == run
    own = put(f"adapters/{name}-run", "adapters.safetensors", "adapter_config.json")
    assert settle_adapter(name, None) == own, "which the bundled configuration leaves there"
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
        assert trained.adapter_path == Path("adapters") / f"{model.name}-run"


def test_an_empty_name_is_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--model", ""]) == 2
    assert "--model: the name is empty" in capsys.readouterr().err


def test_a_modelfile_of_another_file_is_not_replaced_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one.gguf", "two.gguf"):
        assert main(["fuse", "--gguf", name]) == 0
    assert "Modelfile: was another GGUF file's, and is two.gguf's now" in capsys.readouterr().err
    assert "FROM ./two.gguf\n" in Path("Modelfile").read_text()


@pytest.mark.parametrize("base", ["models/here", "./models/here"])
def test_an_adapters_base_that_is_not_found_says_from_where(base: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(BUNDLED, "run")
    file = Path("run/adapter_config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model": base}))
    assert main(["chat", "--adapter-path", "run"]) == 2
    said = capsys.readouterr().err
    assert (
        f"run/adapter_config.json: its base {base!r} is not found, from {Path.cwd()} if it is a path; --model" in said
    )


def test_all_layers_are_counted(capsys: pytest.CaptureFixture[str], random_model: Path) -> None:
    data = ["--data", "[{source: synthetic, n: 8}]", "--contamination", "[]", "--max-seq-length", "2048"]
    assert main(["train", "--plan", "--model", str(random_model), "--num-layers", "-1", *data]) == 0
    assert "lora on all 2 layers" in capsys.readouterr().out


# --- long questions ----------------------------------------------------------------------------------------------


def test_a_prompt_beyond_the_models_positions_is_refused_and_a_long_reply_told(
    random_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(random_model, "m")
    file = Path("m/config.json")
    content = json.loads(file.read_text())
    chat = ["chat", "--model", "./m", "--adapter-path", "none", "--max-tokens", "99", "--cap", "8", "--json"]
    file.write_text(json.dumps(content | {"max_position_embeddings": 200}))
    monkeypatch.setattr(
        "sys.stdin", io.StringIO(f"How many is 1?\n{'How many? 1 ' * 40}\n{'1' * 50_000}\nHow many is 1?\n")
    )
    assert main(chat) == 0
    shown = capsys.readouterr()
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert rows[0]["trace"] and rows[0] == rows[3]
    assert "tokens, and ./m was made for 200" in rows[1]["detail"] and not rows[1]["trace"]
    assert "a question of 50,000 characters" in rows[2]["detail"]
    assert shown.err.count("./m was made for 200 tokens: a reply may be worse after") == 1
    Path("long.jsonl").write_text(json.dumps({"question": "How many? " * 40, "answer": "7", "id": "a"}) + "\n")
    assert main(["eval", "--model", "./m", "--adapter-path", "none", "--data", "long.jsonl", "--max-tokens", "99"]) == 2
    assert "was made for 200" in capsys.readouterr().err
    assert main(["train", "--plan", "--model", "./m", "--num-layers", "1", "--contamination", "[]", "--max-seq-length", "2048",
                 "--reinforce.iters", "1"]) == 2  # fmt: skip
    said = capsys.readouterr().err
    assert "./m was made for sequences of 200 tokens, and the longest example has" in said
    assert "the longest prompt with reinforce.max_tokens (400) makes" in said
