"""The place of every key in YAML, as people write it and as other programs do; faults of configurations stand there."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.config_file import load_config
from mlx_trace.errors import UserError
from mlx_trace.yaml_text import read_yaml_text

KEYS = st.text("abcdefghij_ –é", min_size=1, max_size=6).map(lambda text: f"k{text}k")
TREES = st.recursive(
    st.integers() | st.text("ab \n:#", max_size=5) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12,
)  # fmt: skip


def paths(tree: Any, keys: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the keys that lead to every key of mappings."""
    if isinstance(tree, dict):
        return [path for key, value in tree.items() for path in [(*keys, key), *paths(value, (*keys, key))]]
    if isinstance(tree, list):
        return [path for number, value in enumerate(tree) for path in paths(value, (*keys, str(number)))]
    return []


@given(TREES, st.booleans())
def test_every_key_stands_at_its_place(tree: Any, flows: bool) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flows, allow_unicode=True, width=20)
    read, lines = read_yaml_text(text, "x"), text.split("\n")
    assert read.content == tree and read.twins == []
    for keys in paths(tree):
        place = read.places[keys]
        shown = lines[place.line - 1][place.column - 1 :].removeprefix("? ").lstrip("\"'")
        assert shown[:1] == "k", (keys, place, text)
        assert shown.startswith(keys[-1].partition(" ")[0].partition("–")[0]), (keys, place, text)


def test_merged_keys_stand_where_they_are_written() -> None:
    read = read_yaml_text("a: &a\n  x: 1\nb:\n  <<: *a\n  y: 2\n", "x")
    assert read.content == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}
    assert str(read.places["b", "x"]) == "2:3" and str(read.places["b", "y"]) == "5:3"


def told(tmp_path: Path, text: str, name: str = "c.yaml", **overrides: Any) -> list[str]:
    """Return the faults of a configuration, without the file's folder."""
    (tmp_path / name).write_bytes(text.encode())
    with pytest.raises(UserError) as error:
        load_config(tmp_path / name, overrides)
    return [fault.replace(f"{tmp_path}/", "") for fault in error.value.faults]


MANY = """\
model: tiny
learning_rat: 1
reinforce:
  tempreture: 1
  iters: 3
  iters: 4
data:
- {source: synthetic, n: 1, m: 2}
- {source: compiled}
decoding: {constraint: scop}
batch_size: many
seed: 1
seed: 2
"""


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("lead", ["", "# a long file\n" * 5_000, "\ufeff"])
def test_all_faults_are_told_with_line_and_column_in_order(tmp_path: Path, ending: str, lead: str) -> None:
    faults = told(tmp_path, (lead + MANY).replace("\n", ending), warmup=-1)
    first = lead.count("\n")
    assert [fault.split(" ")[0] for fault in faults] == [
        f"c.yaml:{first + 6}:3:", f"c.yaml:{first + 13}:1:", "--warmup:", f"c.yaml:{first + 2}:1:",
        f"c.yaml:{first + 4}:3:", f"c.yaml:{first + 8}:29:", f"c.yaml:{first + 9}:3:", f"c.yaml:{first + 10}:12:",
        f"c.yaml:{first + 11}:1:",
    ]  # fmt: skip
    said = "\n".join(faults)
    for words in ("'iters' stands twice", "did you mean learning_rate?", "did you mean temperature?", "data.0.m: there is no",
                  "data.1.file: field required", "decoding.constraint: input should be", "batch_size: input should be"):  # fmt: skip
        assert words in said


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [("c.yaml", "model: tiny\nreinforce:\n\titers: 3\n", "c.yaml:3:1: not YAML: found character '\\t'"),
     ("c.yaml", "model: [tiny\nseed: 1", "c.yaml:2:5: not YAML: "), ("c.yaml", "a: 1\nb: \x00", "c.yaml:2:4: not YAML: "),
     ("c.json", '{\n\t"model": "tiny",\n\t"seeed": 3\n}', "c.json:3:2: seeed: there is no such key; did you mean seed?"),
     ("c.yaml", "data: 3\n", "c.yaml:1:1: data: "), ("c.yaml", "reinforce:\n  kl: -1\n", "c.yaml:2:3: reinforce.kl: "),
     ("c.yaml", "reinforce: 3\n", "c.yaml:1:1: reinforce: input should be keys with values"),
     ("c.yaml", "true: 3\n", "c.yaml")],
)  # fmt: skip
def test_a_fault_says_where_it_stands(tmp_path: Path, name: str, text: str, fault: str) -> None:
    (only,) = told(tmp_path, text, name)
    assert only.startswith(fault)


def test_json_may_be_indented_by_tabs(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{\n\t"model":\t"tiny",\n\t"seed": 3\n}', encoding="utf-8")
    assert load_config(tmp_path / "c.json", {}).seed == 3


def test_a_fault_of_a_flag_names_the_flag_and_no_place_of_the_file(tmp_path: Path) -> None:
    (fault,) = told(tmp_path, "data: [{source: synthetic, n: 1}]\n", data=[{"source": "synthetic", "n": 1, "m": 2}])
    assert fault.startswith("--data: 0.m: there is no such key")


def test_a_key_of_an_earlier_version_is_told_at_its_place(tmp_path: Path) -> None:
    (fault,) = told(tmp_path, "model: tiny\ntrunk_cache: many\n")
    assert fault.startswith("c.yaml:2:1: activation_cache: ")
