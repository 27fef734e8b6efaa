"""Looks at a set for final numbers are counted by its questions, whatever it is called, and whoever looks."""

from pathlib import Path

import pytest

from mlx_trace.evaluate.looks import is_final, look


@pytest.mark.parametrize(
    ("name", "final"),
    [("test.jsonl", True), ("data/gsm8k_test.csv", True), ("openai/gsm8k/main/test", True), ("GSM-test-2.parquet", True),
     ("train.jsonl", False), ("latest.jsonl", False), ("test/train.jsonl", False), ("openai/gsm8k", False),
     ("synthetic", False), ("everyday", False), ("contest.jsonl", False), ("tests.jsonl", False)],
)  # fmt: skip
def test_what_is_called_test_is_final(name: str, final: bool) -> None:
    assert is_final(name) == final


def test_each_look_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "cache"))
    assert [look("one", {"data": "a"}), look("other", {"data": "b"}), look("one", {"data": "c"})] == [1, 1, 2]
    with (tmp_path / "cache" / "looks.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"set": "one", "wh\n[1]\n')  # cut off, and no object
    assert look("one", {}) == 3


def test_a_look_that_cannot_be_noted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "file" / "cache"))
    assert look("one", {}) == 1
    assert "this look at the set is not noted" in capsys.readouterr().err
