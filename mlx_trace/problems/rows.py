"""The rows of a file, whatever its form: JSON Lines, a JSON array, CSV, TSV or Parquet, told apart by name and content.

Yields a row with its name (`file:line`), or why it is none. Knows nothing of what the fields mean.
"""

import csv
import io
import json
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Final

from mlx_trace.errors import UserError
from mlx_trace.files import lenient_lines, read_text, unreadable
from mlx_trace.json_text import json_fault, parse_json
from mlx_trace.problems.hub_data import data_files, is_hub_data

Row = tuple[str, dict[str, Any] | None, str]  # name, fields, or else why it is no row
MOST_CELL: Final = 1 << 20  # characters of a CSV cell
_TABLES: Final = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_OTHERS: Final = {
    ".xlsx": "a spreadsheet", ".xls": "a spreadsheet", ".xml": "XML", ".arrow": "Arrow", ".feather": "Arrow",
    ".gz": "compressed", ".zip": "compressed", ".zst": "compressed", ".bz2": "compressed", ".xz": "compressed",
}  # fmt: skip
FORMS: Final = "JSON Lines, a JSON array, CSV, TSV or Parquet"


def read_rows(path: Path) -> Iterator[Row]:
    """Yield every row of a file, or of a data set of the hub; UserError if the file itself cannot be read."""
    if is_hub_data(path):
        return chain.from_iterable(map(read_rows, data_files(path.as_posix())))
    suffix = path.suffix.lower()
    if path.is_dir():
        raise UserError(f"{path}: is a directory; a file of {FORMS} is read")
    if suffix in _OTHERS:
        raise UserError(f"{path}: is {_OTHERS[suffix]}; rows are read from {FORMS}")
    if suffix in _TABLES:
        return _table(path, _TABLES[suffix])
    if suffix == ".parquet":
        return _parquet(path)
    return _array(path) if _is_array(path) else _lines(path)


def _lines(path: Path) -> Iterator[Row]:
    for number, line in lenient_lines(path):
        name = f"{path.stem}:{number}"
        if line is None:
            yield name, None, "not UTF-8 text"
            continue
        try:
            yield name, read_object(line), ""
        except ValueError as error:
            yield name, None, str(error)


def read_object(line: str) -> dict[str, Any]:
    """Return the JSON object of a line; ValueError says what else it is."""
    try:
        row = parse_json(line)
    except ValueError as error:
        raise ValueError(f"not JSON: {json_fault(error)}") from None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return row


def _is_array(path: Path) -> bool:
    """Tell whether a file is one JSON value over several lines, or an array, rather than a row a line."""
    first = next((line for _, line in lenient_lines(path)), None)
    start = (first or "").strip()
    if start.startswith("["):
        return path.suffix.lower() == ".json" or not start.endswith("]") or _array_of_rows(start)
    return start == "{" or (path.suffix.lower() == ".json" and start.startswith("{") and not start.endswith("}"))


def _array_of_rows(line: str) -> bool:
    """Tell whether a line holds an array of objects: the whole file on one line."""
    try:
        value = parse_json(line)
    except ValueError:
        return False
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _array(path: Path) -> Iterator[Row]:
    try:
        content = parse_json(read_text(path))
    except ValueError as error:
        where = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{path}{where}: not JSON: {json_fault(error)}") from None
    for number, row in enumerate(_rows_of(content, path), start=1):
        name = f"{path.stem}:{number}"
        yield (name, row, "") if isinstance(row, dict) else (name, None, "not a JSON object")


def _rows_of(content: Any, path: Path) -> list[Any]:
    """Return the rows of a JSON value: an array, or an object that holds one."""
    if isinstance(content, list):
        return content
    arrays = [value for value in content.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(arrays) == 1:
        return arrays[0]
    if arrays:
        keys = ", ".join(key for key, value in content.items() if value in arrays)
        raise UserError(f"{path}: holds several arrays of rows ({keys}); put the one that is meant into a file")
    if content and all(isinstance(value, dict) for value in content.values()):
        return [{"id": key, **value} for key, value in content.items()]
    return [content]


def _table(path: Path, delimiter: str) -> Iterator[Row]:
    """Yield the rows of a table with a header; a delimiter that the header does not use is looked for in it."""
    text = read_text(path)
    header = text.partition("\n")[0]
    if delimiter not in header:
        delimiter = next((other for other in (";", "\t", ",") if other in header), delimiter)
    csv.field_size_limit(MOST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        if len(set(names)) < len(names):
            raise UserError(f"{path}:1: two columns have one name ({', '.join(names)})")
        for cells in reader:
            name = f"{path.stem}:{reader.line_num}"
            if len(cells) > len(names):
                yield name, None, f"{len(cells)} cells, and the header names {len(names)}"
            elif any(cells):
                yield name, {key: cell for key, cell in zip_longest(names, cells) if key and cell}, ""
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not a table of cells: {error}") from None


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"{path}: Parquet is read with pyarrow, which is not installed: pip install pyarrow") from None
    try:
        file = parquet.ParquetFile(path)
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield f"{path.stem}:{number}", row, ""
    except OSError as error:
        if error.errno is not None:
            raise unreadable(path, error) from None
        raise UserError(f"{path}: not Parquet: {str(error).splitlines()[0]}") from None
    except (pyarrow.ArrowException, ValueError) as error:
        raise UserError(f"{path}: not Parquet: {str(error).splitlines()[0]}") from None
