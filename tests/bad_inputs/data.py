"""Rows, records, metrics and samples: broken, endless, of the wrong kind, and files that are read and written at once."""

from tests.bad_inputs.case import Case, file, folder, link, run

_ROW = '{"question": "A box holds 12 eggs. How many do 3 hold?", "answer": "36"}\n'
_UPDATE = '{"phase": "sft", "update": 1, "loss": 1.0, "learning_rate": 0.1, "seconds": 1, "peak_memory": 5}\n'
_DEEP = '{"a":' * 60_000
_EVAL = "eval --model {model} --adapter-path none --constraint none --max-tokens 3 -n 1 --data "


def _rows(name: str, said: str, content: str | bytes, kind: str = "jsonl") -> Case:
    return Case(f"rows: {name}", f"{_EVAL}d.{kind}", said, file(f"d.{kind}", content))


def _answer(name: str, value: str) -> Case:
    return _rows(
        f"an answer of {name}", "answer: .*is not a number|not JSON", f'{{"question": "5 eggs", "answer": {value}}}'
    )


DATA = [
    _rows("nested without end", "d.jsonl:1: not JSON: too deep", _DEEP),
    _rows("an array nested without end", "d.json: not JSON: too deep", "[" * 100_000, "json"),
    _rows("an array that is cut off", "d.json:1: not JSON", '[{"question": "5 eggs", "answer": "5"}', "json"),
    _rows("an array of arrays", "d.json:1: not a JSON object", "[[1]]", "json"),
    _rows("an object without rows", "no question: the row has a", '{"a": 5}', "json"),
    _rows("a table without questions", "d.csv:2: no question: the row has a, b", "a,b\n1,2\n", "csv"),
    _rows("a table, each without a question", r"d.csv:2: no question: the row has a, b; --field question=NAME .*\(and lines 3, 4\)", "a,b\n1,2\n1,3\n2,3\n", "csv"),
    _rows("a table with an empty answer", "d.csv:2: no answer: the row has question; .*, unless its cell is empty", "question,answer\n5 eggs,\n", "csv"),
    _rows("an answer with a decimal comma", "'7,5' is not a number, or .* a point stands before decimals", "question,answer\n5 eggs,\"7,5\"\n", "csv"),
    _rows("an answer with a space in it", "'1 005' is not a number, or .* commas or nothing between thousands", "question,answer\n5 eggs,1 005\n", "csv"),
    _rows("a table with an open quote", "d.csv:2: not a table of cells", 'question,answer\n"open\n', "csv"),
    _rows("a table with a cell too many", "d.tsv:2: 3 cells, and the header names 2", "question\tanswer\n5 eggs\t5\tx\n", "tsv"),
    _rows("a cell of 200,000 characters", "a question of 200,000 characters", f"question,answer\n{'x' * 200_000},5\n", "csv"),
    _rows("no Parquet", "d.parquet: ", "PAR1", "parquet"),
    _rows("compressed", "d.jsonl.gz: is compressed", b"\x1f\x8b\x08\0", "jsonl.gz"),
    _rows("no text", "d.jsonl", b"\xff\xfe\x00"),
    _rows("none", "d.jsonl: holds no problems", ""),
    _rows("a question of 140,000 characters", "a question of 140,000 characters", f'{{"question": "{"5 eggs " * 20_000}", "answer": "5"}}'),
    _rows("a question that is a list", "d.jsonl:1: question: ", '{"question": ["5 eggs"], "answer": "1"}'),
    _rows("a question of half characters", "d.jsonl:1: question: ", '{"question": "\\ud800 5 eggs", "answer": "1"}'),
    _answer("100,000 digits", '"' + "9" * 100_000 + '"'), _answer("10,000 digits without quotes", "9" * 10_000),
    _answer("infinity", "1e400"), _answer("NaN", "NaN"), _answer("true", "true"), _answer("an object", "{}"),
    Case("rows of no field", _EVAL + "d --field question=nope", "no field 'nope' for the question", file("d", _ROW)),
    Case("rows of a device", _EVAL + "/dev/null", "/dev/null: holds no problems"),
    Case("rows of memory", _EVAL + "/proc/self/mem", "/proc/self/mem: "),
    Case("rows of a folder", _EVAL + "..", r"\.\.: is a directory"),
    Case("rows of the hub that climb", _EVAL + "openai/../../etc/passwd", "no such file or directory"),
    Case("rows without solutions", "compile d -o y", "d: none of its 1 rows compiles: 1 no worked solution", file("d", _ROW), lines=2),
    Case("variants of rows without traces", "variants d -o y", "none of its 1 problems has a variant: 1 no trace", file("d", _ROW)),
    Case("examples without traces", _EVAL + "d --examples-from d", "none of its problems has a trace", file("d", _ROW)),
    # what is read is not written to
    Case("eval over its data", _EVAL + "d.jsonl -o d.jsonl", "d.jsonl: is read", file("d.jsonl", _ROW)),
    Case("eval over its data through a link", _EVAL + "d.jsonl -o l.jsonl", "l.jsonl: is read", [file("d.jsonl", _ROW), link("l.jsonl", "d.jsonl")]),
    Case("eval's summary over its data", _EVAL + "d.summary.json -o d.jsonl", "d.summary.json: is read", file("d.summary.json", _ROW)),
    Case("eval over its examples", _EVAL + "d.jsonl --examples-from e.jsonl -o e.jsonl", "e.jsonl: is read", [file("d.jsonl", _ROW), file("e.jsonl", _ROW)]),
    Case("compile over its rows", "compile d -o ./d", "d: is read", file("d", _ROW)),
    Case("variants over their problems", "variants d -o ../here/d", "d: is read", file("d", _ROW)),
    Case("a report over a run's metrics", "report run -o run/metrics.jsonl", "is read", [run(), file("run/metrics.jsonl", _UPDATE)]),
    Case("a report over a run's adapter", "report run -o run/adapters.safetensors", "is read", run()),
    Case("a report over a stranger's page", "report run", "report.html: is there already, and is no report", [run(), file("report.html", "mine")]),
    # places to write
    Case("records where a folder is missing", _EVAL + "d -o o/r.jsonl", "o/r.jsonl: no such file or directory", file("d", _ROW)),
    Case("a summary where a folder is", _EVAL + "d -o r.jsonl", "r.summary.json: is a directory", [file("d", _ROW), folder("r.summary.json")]),
    # records, metrics, samples
    Case("records nested without end", "compare a b", "a:1: is no record of mlx-trace eval", [file("a", _DEEP), file("b", "[" * 100_000)]),
    Case("records that are none", "compare a b", "a:1: is no record", [file("a", "5\n"), file("b", "[]\n")]),
    Case("solutions over their problems", "explain a --model tiny -o a", "a: is read, and cannot be written to", file("a", '{"question": "5 eggs and 2?", "answer": "7"}\n')),
    Case("solutions of no answers", "explain a --model tiny -o o", "has no answer", file("a", '{"id": "x", "question": "5 eggs and 2?", "answer": null}\n')),
    Case("records of bytes", "compare a b", "a:1: is no record", [file("a", b"\xff"), file("b", b"\0")]),
    Case("records of none", "compare a b", "a: holds no records", [file("a", ""), file("b", "")]),
    Case("records of folders", "compare a b", "a: is a directory", [folder("a"), folder("b")]),
    Case("a report of no record", "report a", "a:1: is no record", file("a", "5\n")),
    Case("a report of a record nested without end", "report a", "a:1: is no record", file("a", _DEEP)),
    Case("a report of a folder that is no run", "report a", "a: is no run's folder", folder("a")),
    Case("a report twice of one", "report a a", "a: is given twice", file("a", "")),
    Case("a report of metrics that are none", "report run", "holds no updates", [run(), file("run/metrics.jsonl", "5\n")]),
    Case("a report of metrics nested without end", "report run", "holds no updates", [run(), file("run/metrics.jsonl", _DEEP)]),
    Case("markup in metrics", "report run --markdown", "", [run(), file("run/metrics.jsonl", _UPDATE.replace("sft", "<script>|\\u001b[2J"))], 0, r"\\<script\\>\\\|␛", lines=0),
    Case("samples of no run", "samples nope", "nope: no such directory"),
    Case("samples of a run without", "samples run", "run: has no samples.jsonl", run()),
    Case("samples that are none", "samples run", "line 1 is no sample", [run(), file("run/samples.jsonl", "5\n")]),
    Case("samples nested without end", "samples run", "line 1 is no sample", [run(), file("run/samples.jsonl", _DEEP)]),
    # families
    Case("families of none", "generate -n 2 -o x --schemas-dir d", "d: holds no schemas", folder("d")),
    Case("a family that is no JSON", "generate -n 2 -o x --schemas-dir d", "d/arithmetic/a.json", file("d/arithmetic/a.json", "[")),
    Case("a family nested without end", "audit --schemas-dir d", "too deep", file("d/arithmetic/a.json", "[" * 100_000)),
    Case("a family that there is not", "audit --schema nope", "there is no schema 'nope'"),
]  # fmt: skip
