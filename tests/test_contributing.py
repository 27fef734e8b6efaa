"""What CONTRIBUTING.md and the folders' READMEs name is there: each file, and each name that a file is said to hold."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mlx_trace"
DOCUMENTS = [ROOT / "CONTRIBUTING.md", *sorted(PACKAGE.glob("**/README.md"))]
_FILE = r"`((?:[\w-]+/)*[\w-]+(?:\.[\w-]+)*\.(?:py|md|css|js|jinja|yaml|json))`"
_HELD = re.compile(_FILE + r"[\s,(]*`(\w+)`")
_WRITTEN = {"config.yaml", "mlx-trace.yaml"}  # by training and by init


def places(name: str) -> list[Path]:
    """The files of the repository that a document may mean: of a name in full, or of its last parts."""
    folders = (PACKAGE, ROOT / "tests", ROOT / "configs", ROOT / "eval", ROOT / "schemas")
    return [path for path in (ROOT / name, *(path for folder in folders for path in folder.rglob(Path(name).name)))
            if path.is_file() and path.as_posix().endswith(f"/{name}")]  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_are_there(document: Path) -> None:
    named = set(re.findall(_FILE, document.read_text(encoding="utf-8"))) - _WRITTEN
    assert {name for name in named if not places(name)} == set()


def test_a_file_holds_what_contributors_are_told_to_change_in_it() -> None:
    held = _HELD.findall(DOCUMENTS[0].read_text(encoding="utf-8"))
    assert len(held) > 10
    missing = {(file, name) for file, name in held
               if not any(re.search(rf"\b{name}\b", path.read_text(encoding="utf-8"))
                          for path in places(file))}  # fmt: skip
    assert missing == set()
