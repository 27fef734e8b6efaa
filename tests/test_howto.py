"""The how-to's blocks run as they stand, each section in an empty folder; what its pages name is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlx_trace.cli.main import COMMANDS, main, make_parser
from mlx_trace.cli.train import config_keys
from mlx_trace.config import Config

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "HOWTO.md", "TROUBLESHOOTING.md", "CONTRIBUTING.md", "configs/README.md", "mlx_trace/cli/README.md",
         "eval/macs.md")  # fmt: skip
OTHERS = {  # flags of other commands that the pages show
    "--temp", "--jinja", "--hostfile", "--backend", "--chat-template", "--user-repo", "--copy",
}  # fmt: skip
HOWTO = (ROOT / "HOWTO.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", HOWTO, re.DOTALL | re.MULTILINE))
BLOCKS = {title: "".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
          for title, text in SECTIONS.items()}  # fmt: skip


def statements(block: str) -> Iterator[tuple[str, str]]:
    """Yield (file, content) of each here-document, and ("", command) of each command."""
    lines = iter(block.splitlines())
    for line in lines:
        while line.endswith("\\"):
            line = line.removesuffix("\\") + next(lines)
        if line.startswith("cat > "):
            file = line.removeprefix("cat > ").removesuffix(" <<'EOF'")
            yield file, "".join(f"{text}\n" for text in iter(lambda: next(lines), "EOF"))
        else:
            yield "", line


@pytest.mark.parametrize("title", [title for title, block in BLOCKS.items() if block])
def test_a_sections_blocks_run(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "cache"))
    for file, content in statements(BLOCKS[title]):
        program, *arguments = ["cat"] if file else shlex.split(content)
        if program == "cat":
            (tmp_path / file).write_text(content, encoding="utf-8")
        elif (program, arguments[0]) == ("mkdir", "-p"):
            (tmp_path / arguments[1]).mkdir(parents=True)
        else:
            assert program == "mlx-trace", content
            assert main(arguments) == 0, content


def test_most_sections_are_run() -> None:
    assert len([block for block in BLOCKS.values() if block]) >= 4


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, heading = link.partition("#")
        if target.startswith("http"):
            continue
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.exists(), link
        if heading:
            assert heading in headings(file.read_text(encoding="utf-8")), link


def headings(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES[:4])
def test_flags_and_commands_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    flags = {flag for name in COMMANDS for action in make_parser(name)._actions for flag in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\b", text)) <= flags | OTHERS
    shown = set(re.findall(r"(?:`|^    |&& )mlx-trace\s([a-z]+)", text, re.MULTILINE))
    assert shown and shown <= set(COMMANDS)


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if not re.search(rf"(?:mlx-trace |`){name}\b", text)] == []


def test_keys_that_troubles_are_met_with_exist() -> None:
    text = (ROOT / "TROUBLESHOOTING.md").read_text(encoding="utf-8")
    keys = {key for key, _ in config_keys(Config)}
    named = set(re.findall(r"`((?:reinforce|decoding|prompt|lora_parameters)\.[\w.]+)", text))
    assert named and named <= keys
