"""Settings in YAML are bounded before they are built: by size, nesting, and what aliases and merge keys repeat."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlx_trace.errors import UserError
from mlx_trace.yaml_text import read_yaml

TEN = ", ".join(f"k{at}: 1" for at in range(10))
MERGES = f"a0: &a0 {{{TEN}}}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MERGES, "repeat more than"), (LAUGHS, "repeat more than"), ("a: &a [*a]", "repeat"), ("a: &a {b: *a}", "repeat"),
        ("a: &a\n  <<: *a", "repeat"), ("[" * 50_000, "nested more than"), ("- " * 50_000, "nested"), ("{a: " * 3000, "nested"),
        ("a: " + "x" * 300_000, "characters of YAML"), ("[" + "1, " * 30_000 + "1]", "more than 20,000 values"),
        ("seed: " + "9" * 5000, "a number of 5,000 characters"), ("seed: " + "1:" * 30_000 + "1", "a number of"),
    ],
)  # fmt: skip
def test_a_bomb_is_refused_in_no_time(text: str, said: str) -> None:
    started = time.process_time()
    with pytest.raises(UserError, match=said):
        read_yaml(text, "bomb.yaml")
    assert time.process_time() - started < 10


def test_aliases_and_merge_keys_are_read() -> None:
    assert read_yaml("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\nc: *a", "c.yaml") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1},
    }
    assert read_yaml("", "empty.yaml") is None


def test_an_open_file_is_written_to_where_it_stands_and_not_replaced(tmp_path: Path) -> None:
    code = """from pathlib import Path
from mlx_trace.files import check_output, write_atomically
print("before")
check_output(Path("/dev/fd/1"))
print(write_atomically(Path("/dev/fd/1"), ["one\\n", "two\\n"]))"""
    with (tmp_path / "out").open("w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "out").read_text(encoding="utf-8") == "before\none\ntwo\n2\n"
