"""Configurations resolve to one thing, say what is wrong with them, and come back from disk as they were."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlx_trace import cli
from mlx_trace.cli.train import config_keys
from mlx_trace.config import RENAMED, Config
from mlx_trace.config_decoding import RULES, Decoding
from mlx_trace.config_file import dump_config, find_config, load_config, validate_config
from mlx_trace.config_sources import FileSource, SyntheticSource
from mlx_trace.errors import UserError
from mlx_trace.resources import configs_dir
from mlx_trace.train.run_dir import read_run_config
from mlx_trace.yaml_text import read_yaml

BUNDLED = sorted(configs_dir().glob("*.yaml"))


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_bundled_configurations_are_valid_and_leave_room_for_rl(path: Path) -> None:
    config = load_config(path, {})
    assert config.reinforce.max_tokens < config.max_seq_length
    assert config.adapter_path.parent == Path("adapters")


def test_the_bundled_models_are_there() -> None:
    small = {"smollm2-135m", "qwen25-coder-0.5b", "qwen3-0.6b"}
    assert {path.stem for path in BUNDLED} >= small | {"tiny", "tinyllama", "llama32-1b", "llama32-3b", "smollm2"}


@pytest.mark.parametrize("name", ["tiny", "tiny.yaml", "configs/tiny.yaml"])
def test_a_bundled_configuration_is_found_by_name_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == configs_dir() / "tiny.yaml"
    with pytest.raises(UserError, match="bundled configurations are"):
        find_config("elsewhere/tiny.yaml")
    (tmp_path / "tiny.yaml").write_text("seed: 9", encoding="utf-8")
    assert find_config("tiny.yaml") == Path("tiny.yaml")


def test_flags_override_the_file_and_reach_into_sections(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("batch_size: 2\nreinforce: {iters: 3, group_size: 4}\n", encoding="utf-8")
    config = load_config(tmp_path / "c.yaml", {"batch_size": 5, "reinforce.iters": 7, "lora_parameters.rank": 2})
    assert (config.batch_size, config.reinforce.iters, config.reinforce.group_size) == (5, 7, 4)
    assert config.lora_parameters.rank == 2
    both = load_config(tmp_path / "c.yaml", {"reinforce.iters": 7, "reinforce": {"batch_size": 9}})
    assert (both.reinforce.iters, both.reinforce.batch_size) == (7, 9)


def test_a_switch_needs_no_value(tmp_path: Path) -> None:
    from mlx_trace.cli.main import make_parser
    from mlx_trace.cli.train import _resolve

    parser = make_parser("train")
    assert _resolve(parser.parse_args(["--grad-checkpoint", "--seed", "4"])).grad_checkpoint
    assert not _resolve(parser.parse_args(["--grad-checkpoint", "false"])).grad_checkpoint


def test_sources_are_told_apart() -> None:
    content = {"data": [{"source": "synthetic", "n": 5}, {"source": "file", "path": "x.jsonl"}]}
    first, second = validate_config(content, "here").data
    assert isinstance(first, SyntheticSource)
    assert isinstance(second, FileSource)


def test_the_resolved_configuration_comes_back_as_it_was(tmp_path: Path) -> None:
    content = {
        "learning_rate": 1e-5,
        "seed": 3,
        "data": [{"source": "file", "path": "x.jsonl"}],
        "prompt": {"system": "a: b"},
    }
    config = validate_config(content, "here")
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "config.yaml", {}) == config


@pytest.mark.parametrize("text", ["1e-5", "1.0e-5", "0.00001"])
def test_small_learning_rates_are_numbers_however_they_are_written(text: str) -> None:
    assert validate_config({"learning_rate": read_yaml(text, "flag")}, "here").learning_rate == 1e-5


def test_faults_name_the_flag_or_the_file_and_what_is_allowed() -> None:
    content = {
        "batch_size": 0,
        "colour": 1,
        "reinforce": {"itres": 1},
        "data": [{"source": "synthetic", "n": 1, "m": 2}],
    }
    with pytest.raises(UserError) as error:
        validate_config(content, "c.yaml", lambda keys: "--batch-size" if keys == ["batch_size"] else None)
    faults = dict(fault.split(": ", 1) for fault in error.value.faults if fault.startswith("--"))
    assert "greater than or equal to 1" in faults["--batch-size"]
    text = "\n".join(error.value.faults)
    assert "c.yaml: colour: there is no such key; those here are model" in text
    assert "reinforce.itres: there is no such key; did you mean iters?" in text
    assert "data.0.m: there is no such key; those here are" in text


def test_every_key_is_a_flag_and_the_shared_loader_is_left_alone() -> None:
    keys = dict(config_keys(Config))
    assert {"model", "learning_rate", "lora_parameters.rank", "reinforce.iters", "reinforce.rewards.correct"} <= set(
        keys
    )
    assert "(default leave_one_out)" in keys["reinforce.baseline"]
    assert all(len(meaning) > 12 for meaning in keys.values())
    assert yaml.safe_load("a: 1\na: 2") == {"a": 2}
    assert yaml.safe_load("1e-5") == "1e-5"


@pytest.mark.parametrize("value", [0.8, 0.7, float("nan"), float("inf")])
def test_rewards_stay_in_their_order(value: float) -> None:
    rewards = {"wrong_answer": 0.8, "correct": value}
    with pytest.raises(UserError, match=r"reinforce\.rewards"):
        validate_config({"reinforce": {"rewards": rewards}}, "c.yaml")
    validate_config({"reinforce": {"rewards": rewards | {"correct": 0.9}}}, "c.yaml")


def test_an_unquoted_off_is_off_though_yaml_reads_false(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("decoding: {constraint: scope, grounding: off, cap: 4}\n", encoding="utf-8")
    decoding = load_config(file, {}).decoding
    assert (decoding.constraint, decoding.grounding, decoding.max_tokens_per_pass) == ("scope", "off", 4)
    file.write_text(dump_config(load_config(file, {})), encoding="utf-8")
    assert load_config(file, {"decoding.max_tokens_per_pass": "auto"}).decoding.model_dump() == {
        "constraint": "scope", "grounding": "off", "rules": "off", "max_tokens_per_pass": "auto"}  # fmt: skip


def test_rules_are_all_none_or_some_and_hold_under_a_constraint_alone(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    for text, chosen in (("off", set()), ("all", set(RULES)), ("[once, no_self]", {"once", "no_self"}), ("[]", set())):
        file.write_text(f"decoding: {{rules: {text}}}\n", encoding="utf-8")
        assert load_config(file, {}).decoding.chosen_rules == chosen
    assert Decoding(constraint="none", rules="all").chosen_rules == frozenset()
    file.write_text("decoding: {rules: [once, twice]}\n", encoding="utf-8")
    with pytest.raises(UserError, match="rules"):
        load_config(file, {})


def test_keys_of_earlier_versions_are_read_and_said_to_have_other_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("trunk_cache: disk\ndecoding: {cap: 7}\nreinforce: {resample_dead: 2}\n", encoding="utf-8")
    config = load_config(file, {})
    assert (config.activation_cache, config.decoding.max_tokens_per_pass) == ("disk", 7)
    assert config.reinforce.resample_zero_variance == 2
    said = capsys.readouterr().err.splitlines()
    assert f"mlx-trace: {file}: decoding.cap is called decoding.max_tokens_per_pass now; the old name will go" in said
    assert len(said) == len(RENAMED) == 3
    assert load_config(None, {"decoding.cap": 5}).decoding.max_tokens_per_pass == 5


def test_a_flag_of_an_earlier_version_goes_before_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new.yaml"
    file.write_text("activation_cache: off\ndecoding: {max_tokens_per_pass: 7}\n", encoding="utf-8")
    config = load_config(file, {"trunk_cache": "disk", "decoding.cap": 5})
    assert (config.activation_cache, config.decoding.max_tokens_per_pass) == ("disk", 5)
    assert "--trunk-cache is called --activation-cache now" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_is_resumed_and_its_keys_are_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("trunk_cache: disk\ndecoding: {cap: 7}\n", encoding="utf-8")
    for _ in range(2):
        config = read_run_config(tmp_path)
        assert (config.activation_cache, config.decoding.max_tokens_per_pass) == ("disk", 7)
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("cap", [0, -1, 2.5, True, "wide"])
def test_a_cap_is_auto_or_a_whole_number(cap: object) -> None:
    with pytest.raises(
        UserError,
        match=r"c\.yaml: decoding\.max_tokens_per_pass: input should be auto, probe or a whole number from 1, got",
    ):
        validate_config({"decoding": {"max_tokens_per_pass": cap}}, "c.yaml")


# --- numbers that nothing could finish, and keys that were meant ---------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 1 << 64), ("epochs", 10**24), ("epochs", 1e24), ("iters", 10**24), ("batch_size", 10**24), ("num_layers", 10**24),
     ("save_every", 10**10), ("lora_parameters.rank", 10**12), ("reinforce.iters", 10**24), ("reinforce.max_tokens", 10**24),
     ("reinforce.group_size", 10**24), ("learning_rate", 1e6), ("reinforce.learning_rate", 1e6), ("learning_rate", float("nan")),
     ("data", [{"source": "synthetic", "n": 10**24}]), ("decoding.max_tokens_per_pass", 10**24)],
)  # fmt: skip
def test_numbers_beyond_all_bounds_are_refused_by_key(key: str, value: object) -> None:
    with pytest.raises(UserError) as error:
        load_config(None, {key: value})
    assert f"--{key.replace('_', '-')}" in error.value.faults[0] or f"{key}.0.n" in error.value.faults[0]
    load_config(None, {"seed": (1 << 64) - 1})


def test_many_epochs_are_counted_without_being_laid_out() -> None:
    from mlx_trace.train.examples import Batches

    batches = Batches([5] * 1001, 8, None, 0)
    assert batches.updates(100_000) == 100_000 * 126
    assert batches.locate(126 * 77_777 + 3) == (77_777, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [({"learning_rat": 1}, "did you mean learning_rate?"), ({"lr": 1}, "did you mean learning_rate?"),
     ({"rank": 4}, "did you mean lora_parameters.rank?"), ({"group_size": 4}, "did you mean reinforce.group_size?"),
     ({"lora_layers": 4}, "did you mean num_layers?"), ({"reinforce": {"tempreture": 1}}, "did you mean temperature?"),
     ({"decoding": {"constrain": "none"}}, "did you mean constraint?"), ({"grop_size": 4}, "did you mean reinforce.group_size?"),
     ({"data": [{"source": "synthetic", "n": 1, "schema": []}]}, "did you mean schemas?"),
     ({"mask_prompt": True}, "mask_prompt: there is no such key; leave it out: no prompt is learnt from"),
     ({"lora_parameters": {"alpha": 16}}, "scale is alpha divided by the rank"), ({"epsilon": 0.2}, "did you mean reinforce.clip?"),
     ({"data": "d"}, "data: input should be a list of sources, such as [{source: file, path: d}]"),
     ({"reinforce": {"data": "d"}}, "reinforce.data: input should be a list of sources"), ({"data": {"n": 1}}, "data: input should be a list"),
     ({"data": ["d"]}, "data: input should be a list of sources, such as [{source: file, path: d}]")],
)  # fmt: skip
def test_a_key_that_was_meant_is_named_wherever_it_stands(content: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as error:
        validate_config(content, "c.yaml")
    assert said in error.value.faults[0]


def test_defaults_train_whole_layers_more_gently() -> None:
    assert (load_config(None, {}).learning_rate, load_config(None, {"fine_tune_type": "full"}).learning_rate) == (
        1e-4,
        1e-5,
    )
    assert load_config(None, {"fine_tune_type": "full", "learning_rate": 2e-5}).learning_rate == 2e-5


@pytest.mark.parametrize("key", ["embed_tokens", "model.embed_tokens", "lm_head", "norm", "model.norm", "self_attn", "layers", "q_proj",
                                 "input_layernorm", "self_attn.q_norm", "nope", "model.layers.1.self_attn.q_proj"])  # fmt: skip
@pytest.mark.parametrize("others", [[], ["self_attn.q_proj"]])
def test_keys_that_are_no_linear_part_of_a_layer_are_refused_by_name(key: str, others: list[str]) -> None:
    with pytest.raises(UserError, match=rf"lora-parameters\.keys: names {re.escape(key)}; .*self_attn\.q_proj, "):
        load_config(None, {"lora_parameters.keys": [*others, key]})
    assert load_config(None, {"lora_parameters.keys": ["mlp.up_proj"]}).lora_parameters.keys == ["mlp.up_proj"]


@pytest.mark.parametrize(("key", "value", "said"), [("num_layers", 0, "no layers would be trained; -1 is all"),
                                                    ("lora_parameters.keys", [], "is empty")])  # fmt: skip
def test_training_nothing_is_refused(key: str, value: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_config(None, {key: value})


def test_help_states_every_default_as_the_configuration_has_it() -> None:
    for key, meaning in config_keys(Config):
        if match := re.fullmatch(r".* \(default (.*)\)", meaning):
            content: Any = yaml.safe_load(match[1])
            for name in reversed(key.split(".")):
                content = {name: content}
            assert validate_config(content, "help") == Config(), key


def test_no_help_repeats_a_default_that_stands_elsewhere() -> None:
    for path in Path(cli.__file__).parent.glob("*.py"):
        assert re.findall(r"\(default (?!false\))[\w/.]+", path.read_text(encoding="utf-8")) == [], path
