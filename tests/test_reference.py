"""The committed references are what the code says now: every key of a configuration, every command and flag."""

import argparse
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from mlx_trace.cli.main import COMMANDS, make_parser
from mlx_trace.cli.train import config_keys
from mlx_trace.config import Config
from mlx_trace.config_sources import CompiledSource, FileSource, SyntheticSource

ROOT = Path(__file__).parents[1]
PAGES = ("configs/README.md", "mlx_trace/cli/README.md")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "eval" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_would_be_written(script: ModuleType, name: str) -> None:
    assert tuple(script.pages()) == PAGES
    assert (ROOT / name).read_text(encoding="utf-8") == script.pages()[name], "make reference writes it"


def test_every_key_has_a_row_with_its_default_and_meaning(script: ModuleType) -> None:
    sections = re.split(r"\n##+ ", script.pages()["configs/README.md"])
    tables = {section.partition("\n")[0].strip("`"): section for section in sections}
    for key, _ in config_keys(Config):
        section, _, last = key.rpartition(".")
        row = next(line for line in tables[section or "Top level"].splitlines() if line.startswith(f"| `{last}` |"))
        _, _, kind, default, meaning, _ = (cell.strip() for cell in re.split(r"(?<!\\)\|", row))
        assert kind and meaning, row
        assert default or kind.startswith("[section]"), row
    for source in (SyntheticSource, CompiledSource, FileSource):
        assert undescribed(source) == []


def undescribed(section: type[BaseModel]) -> list[str]:
    return [name for name, field in section.model_fields.items() if not field.description]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_is_named_in_its_commands_section(script: ModuleType, command: str) -> None:
    text = script.pages()["mlx_trace/cli/README.md"]
    section = re.split(rf"\n## {command}\n", text)[1].partition("\n## ")[0]
    missing = [flag for flag in own_flags(command) if not re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", section)]
    assert missing == []
    assert "%(" not in section and "==SUPPRESS==" not in section


def own_flags(command: str) -> Iterator[str]:
    for action in make_parser(command)._actions:
        if action.help != argparse.SUPPRESS and not action.dest.startswith(("key:", "help")):
            yield from action.option_strings
