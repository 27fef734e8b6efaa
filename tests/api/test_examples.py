"""The examples that documentation shows run as they stand, and a strict type checker reads the package's types."""

import doctest
import re
import runpy
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
MODULES = ("solution", "model", "evaluating", "training")
USER = """
import mlx_trace

model = mlx_trace.load("tiny")
answer: str | None = model.ask("How many are 2 and 3 eggs?", samples=4, rules="off").answer
one: list[mlx_trace.ModelReply] = model.sample("2 and 3?", 2)
several: list[list[mlx_trace.ModelReply]] = model.sample(["2 and 3?"], 2)
low, high = mlx_trace.evaluate(model, [{"question": "2 and 3?", "answer": 5}]).interval
run: mlx_trace.TrainedRun = mlx_trace.train("tiny", iters=3)
text: str = mlx_trace.compile("2 and 3?", "2+3", 5).trace + mlx_trace.__version__
kind: str = mlx_trace.solve(text, expected=5).kind
"""
WRONG = {
    'mlx_trace.load(3)': "arg-type", 'mlx_trace.load("tiny").ask("q", constraint="scop")': "arg-type",
    "mlx_trace.solve('x').answr": "attr-defined", 'mlx_trace.evaluate("tiny", by="x")': "arg-type",
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_examples_hold(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(import_module(f"mlx_trace.api.{name}"))
    assert tried and not failed


def test_the_rooms_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "mlx_trace" / "api" / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert examples
    (tmp_path / "readme.py").write_text("\n".join(examples), encoding="utf-8")
    runpy.run_path(str(tmp_path / "readme.py"))


def test_a_program_is_checked_strictly(tmp_path: Path) -> None:
    from mypy import api

    (tmp_path / "right.py").write_text(USER, encoding="utf-8")
    wrong = ["import mlx_trace", *WRONG]
    (tmp_path / "wrong.py").write_text("\n".join(wrong) + "\n", encoding="utf-8")
    flags = ["--strict", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    out, err, _ = api.run([*flags, str(tmp_path / "right.py"), str(tmp_path / "wrong.py")])
    assert not err
    found = [
        (line.rpartition("[")[2].rstrip("]"), int(line.split(":")[1])) for line in out.splitlines() if "error:" in line
    ]
    assert found == [(kind, number) for number, kind in enumerate(WRONG.values(), start=2)], out
