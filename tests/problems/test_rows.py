"""Rows come from JSON Lines, JSON arrays, CSV, TSV and Parquet; a file that is none of these says what it is."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.errors import UserError
from mlx_trace.problems.rows import read_rows

ROWS = [{"question": "How many; 5, or 6?", "answer": "11"}, {"question": 'A "quoted"\nline', "answer": "-2"}]


def rows(path: Path) -> list[dict[str, Any] | str]:
    return [fault if row is None else row for _, row, fault in read_rows(path)]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def table(delimiter: str) -> str:
    lines = [list(ROWS[0]), *(list(row.values()) for row in ROWS)]
    return "".join(delimiter.join('"' + cell.replace('"', '""') + '"' for cell in line) + "\r\n" for line in lines)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, ROWS))), ("a.json", json.dumps(ROWS)), ("a.json", json.dumps(ROWS, indent=2)),
        ("a.jsonl", json.dumps(ROWS)), ("a.txt", json.dumps(ROWS, indent=2)), ("a.json", json.dumps({"data": ROWS, "version": 1}, indent=1)),
        ("a.json", "\n".join(map(json.dumps, ROWS))), ("a.csv", table(",")), ("a.tsv", table("\t")), ("a.csv", table(";")), ("a.CSV", table("\t")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    assert rows(write(tmp_path / name, text, encoding)) == ROWS


def test_an_object_of_objects_is_rows_by_their_ids(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json.dumps({"p1": ROWS[0], "p2": ROWS[1]}, indent=1))
    assert rows(path) == [{"id": "p1", **ROWS[0]}, {"id": "p2", **ROWS[1]}]


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == ROWS


def test_without_pyarrow_parquet_says_how_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="pip install pyarrow"):
        rows(write(tmp_path / "a.parquet", "PAR1"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.xlsx", "PK", "a spreadsheet; rows are read from JSON Lines"), ("a.xml", "<a/>", "XML"), ("a.jsonl.gz", "x", "compressed"),
        ("a.json", "[{]", "a.json:1: not JSON"), ("a.json", "[" * 9000 + "\n", "too deep"), ("a.csv", "q,q\n1,2\n", "two columns have one name"),
        ("a.csv", 'q,a\n"b,1\n', "not a table of cells"), ("a.csv", "q\n" + "x" * 2_000_000 + "\n", "not a table of cells"),
        ("a.json", '{\n"train": [{"q": 1}], "test": [{"q": 2}]}', r"several arrays of rows \(train, test\)"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        rows(write(tmp_path / name, text))


def test_a_file_that_is_no_parquet_or_a_folder_says_so(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    with pytest.raises(UserError, match="not Parquet"):
        rows(write(tmp_path / "a.parquet", "nothing of the kind"))
    with pytest.raises(UserError, match="is a directory"):
        rows(tmp_path)


def test_a_bad_row_harms_no_other(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "question,answer\na,1,2\n\nb,2\n,\n")
    assert rows(path) == ["3 cells, and the header names 2", {"question": "b", "answer": "2"}]
    path = write(tmp_path / "b.json", '[{"question": "a"}, 5, null]')
    assert rows(path) == [{"question": "a"}, "not a JSON object", "not a JSON object"]
    path = write(tmp_path / "c.jsonl", '{"a": 1}\n[1]\n{"a": ' + "9" * 5000 + "}\n{\n")
    assert [row if isinstance(row, str) else "row" for row in rows(path)] == [
        "row", "not a JSON object", "not JSON: a number is too long",
        "not JSON: Expecting property name enclosed in double quotes at column 2",
    ]  # fmt: skip
