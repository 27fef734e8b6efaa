"""The commands do their work end to end on small models: generate, train, eval, fuse, chat, demo, doctor, tiny."""

import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.cli.main import main
from mlx_trace.config_decoding import RULES
from mlx_trace.problems.mixture import read_file

Out = pytest.CaptureFixture[str]


@pytest.fixture
def small_run(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> Path:
    """A run of two updates on the random model, trained through the command line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(
        f"model: {random_model}\nadapter_path: run\nnum_layers: 1\nbatch_size: 2\nmax_seq_length: 2048\n"
        "data: [{source: synthetic, n: 4, schemas: [rate_equation]}]\n"
        "reinforce: {iters: 1, batch_size: 2, group_size: 2, max_tokens: 120}\n",
        encoding="utf-8",
    )
    assert main(["train", "-c", "c.yaml"]) == 0
    out = capsys.readouterr().out
    assert "sft 1/2  loss" in out
    assert "rl 1/1  reward" in out
    assert "\x1b" not in out
    return tmp_path / "run"


def test_generate_writes_what_was_asked_for(tmp_path: Path, capsys: Out) -> None:
    path = tmp_path / "p.jsonl"
    assert main(["generate", "-n", "30", "--schema", "percentage", "--split", "eval", "-o", str(path)]) == 0
    problems = read_file(path)
    assert len(problems) == 30
    assert {problem.gold_expert for problem in problems} == {"percentage"}
    assert all("#eval." in problem.source for problem in problems)
    assert main(["generate", "-n", "5", "--form", "messages", "-o", str(path)]) == 0
    assert all("messages" in json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    capsys.readouterr()
    assert main(["generate", "--list"]) == 0
    assert "arithmetic/price_chain" in capsys.readouterr().out


def test_audit_exits_by_what_it_found(tmp_path: Path, capsys: Out) -> None:
    from tests.problems.synthetic.test_schema import changed, folder

    assert main(["audit", "--per-schema", "4", "--schema", "comparison"]) == 0
    assert "all clean" in capsys.readouterr().out
    wrong = folder(tmp_path, changed(lambda schema: schema.update(answer="start + given")))
    assert main(["audit", "--per-schema", "4", "--schemas-dir", str(wrong), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["findings"]


def test_eval_counts_and_writes_records(small_run: Path, capsys: Out) -> None:
    records = small_run.parent / "records.jsonl"
    flags = ["eval", "--adapter-path", str(small_run), "-n", "6", "--max-tokens", "8", "-o", str(records),
             "--constraint", "none"]  # fmt: skip
    assert main([*flags, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["n"] == 6
    assert report["truncated"] == 6
    assert report["correct"]["interval"][0] == 0
    rows = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 6
    assert {"question", "answer", "output", "kind", "seconds"} <= set(rows[0])
    assert main([*flags, "--data", "phrasing"]) == 0
    table = capsys.readouterr().out
    assert "parsed" in table
    assert "0 0.0% [0–39]" in table
    assert "phrasing, unconstrained" in table


def test_eval_holds_replies_to_traces(small_run: Path, capsys: Out) -> None:
    flags = ["eval", "--adapter-path", str(small_run), "-n", "5", "--max-tokens", "120"]
    assert main([*flags, "--json", "--cap", "3"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["parsed"]["count"], report["truncated"]) == (5, 0)
    assert report["sampled"] < report["tokens"]
    assert (report["constraint"], report["grounding"], report["max_tokens_per_pass"]) == ("scope", "hard", 3)
    assert main([*flags, "--grounding", "off"]) == 0
    told = f"synthetic, traces in scope, {len(RULES) - 2} of {len(RULES)} rules"
    assert told in capsys.readouterr().out, "without those on stated numbers"
    assert main([*flags, "--grounding", "off", "--rules", "off"]) == 0
    assert "synthetic, traces in scope\n" in capsys.readouterr().out
    assert main([*flags, "--rules", "once,no_self"]) == 0
    assert f"synthetic, traces in scope, values grounded, 2 of {len(RULES)} rules" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*flags, "--rules", "once,twice"])
    assert "'once,twice' is neither off nor all, nor some of once, called_constants" in capsys.readouterr().err
    assert main(["eval", "--adapter-path", str(small_run), "-n", "5", "--max-tokens", "20"]) == 2
    assert "the shortest trace takes" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*flags, "--cap", "0"])


def test_eval_reads_rows_with_golds_alone(small_run: Path, capsys: Out) -> None:
    rows = small_run.parent / "rows.jsonl"
    rows.write_text('{"question": "Half of 80,000 — ½?", "answer": "so #### 40,000"}\n' * 3, encoding="utf-8")
    assert main(["eval", "--adapter-path", str(small_run), "--data", str(rows), "--max-tokens", "99", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n"], report["experts"]) == (3, {})


def test_fuse_gives_a_model_that_says_the_same(small_run: Path, capsys: Out) -> None:
    fused = small_run.parent / "models" / "fused"
    assert main(["fuse", "--adapter-path", str(small_run), "--save-path", str(fused)]) == 0
    said = capsys.readouterr().out
    assert float(said.split("at most ")[1].split()[0]) < 1e-4
    assert (fused / "model.safetensors").exists()
    assert [path.name for path in fused.parent.iterdir()] == ["fused"]
    assert main(["fuse", "--adapter-path", str(small_run), "--save-path", str(fused)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["eval", "--model", str(fused), "-n", "3", "--max-tokens", "99"]) == 0


def test_fuse_writes_a_gguf_file_or_touches_nothing(tmp_path: Path, capsys: Out) -> None:
    file = tmp_path / "out" / "small.gguf"
    assert main(["fuse", "--gguf", str(file), "--gguf-type", "q8_0"]) == 0
    said = capsys.readouterr()
    assert said.err.count("the nearest one") == 1, "llama.cpp cuts the tiny base's text a little differently"
    assert sorted(path.name for path in file.parent.iterdir()) == ["Modelfile", "small.gguf"]
    modelfile = (file.parent / "Modelfile").read_text(encoding="utf-8")
    assert "FROM ./small.gguf\n" in modelfile
    assert main(["fuse", "--gguf", str(file)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["fuse", "--gguf", str(file.with_name("other.gguf")), "--gguf-type", "f16"]) == 0, "ours is replaced"
    (file.parent / "Modelfile").write_text("FROM mine", encoding="utf-8")
    assert main(["fuse", "--gguf", str(file.with_name("third.gguf"))]) == 2
    assert "Modelfile: exists already" in capsys.readouterr().err
    assert not file.with_name("third.gguf").exists()


def test_chat_answers_a_pipe_line_by_line(small_run: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["chat", "--adapter-path", str(small_run), "--max-tokens", "6", "--constraint", "none"]
    monkeypatch.setattr(sys, "stdin", StringIO("How many are 3 eggs?\n\n  And now — ½?  \n"))
    assert main([*flags, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["question"] for row in rows] == ["How many are 3 eggs?", "And now — ½?"]
    assert all(row["kind"] == "parse_failure" and row["answer"] is None for row in rows)
    monkeypatch.setattr(sys, "stdin", StringIO("How many are 3 eggs?\n/help\n/nonsense\n/quit\nnever asked\n"))
    assert main(flags) == 0
    out = capsys.readouterr().out
    assert "> How many are 3 eggs?" in out
    assert "no trace: " in out
    assert "/reset" in out
    assert "there is no command /nonsense" in out
    assert "never asked" not in out
    monkeypatch.setattr(sys, "stdin", StringIO("Tom has 4 eggs. How many has he?\n"))
    assert main(["chat", "--adapter-path", str(small_run), "--max-tokens", "150"]) == 0
    out = capsys.readouterr().out
    assert "no trace" not in out
    assert "{op: query, var:" in out


def test_an_interrupted_run_says_how_to_go_on(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    import os
    import signal

    from mlx_trace.train.sft import Sft

    monkeypatch.chdir(tmp_path)
    flags = ["train", "--model", str(random_model), "--num-layers", "1", "--batch-size", "2", "--max-seq-length", "2048",
             "--data", "[{source: synthetic, n: 6, schemas: [rate_equation]}]", "--adapter-path", "run"]  # fmt: skip
    update = Sft.update

    def pressed(self: Sft, index: int) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return update(self, index)

    with monkeypatch.context() as patched:
        patched.setattr(Sft, "update", pressed)
        assert main(flags) == 130
    said = capsys.readouterr().out
    assert "mlx-trace train --resume --adapter-path run" in said
    Path("run").rename("moved")
    assert main(["train", "--resume", "--adapter-path", "moved"]) == 0
    assert "sft 3/3" in capsys.readouterr().out
    assert main(["train", "--resume", "--adapter-path", "moved", "--seed", "5"]) == 2
    assert "seed: the run was started with 0, not 5" in capsys.readouterr().err


def test_the_demo_ends_in_one_json_object(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    from mlx_trace.cli import demo

    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(
        f"model: {random_model}\nnum_layers: 1\nbatch_size: 2\nmax_seq_length: 2048\n"
        "data: [{source: synthetic, n: 4, schemas: [rate_equation]}]\n"
        "reinforce: {iters: 1, batch_size: 2, group_size: 2, max_tokens: 120}\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(demo, "find_config", lambda _: tmp_path / "small.yaml")
    for _ in range(2):  # it can be repeated
        assert main(["demo", "-n", "6"]) == 0
        lines = capsys.readouterr().out.splitlines()
        report = json.loads(lines[-1])
        assert set(report) == {"before", "sft", "rl", "unconstrained", "seconds"}
        for stage in ("before", "sft", "rl"):
            assert set(report[stage]) == {"n", "parsed", "valid", "correct", "phrasing"}
            assert (report[stage]["n"], report[stage]["parsed"]) == (6, 6)
        assert report["unconstrained"] == {"n": 6, "parsed": 0, "valid": 0, "correct": 0}
        assert any("mlx-trace chat --adapter-path adapters/demo" in line for line in lines)
        assert any("mlx-trace chat --model smollm2-135m" in line for line in lines)
        assert any("exact McNemar p = 1" in line for line in lines)


def test_doctor_reports_without_failing(capsys: Out) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("blas", "device", "memory", "disk", "mlx-lm"))
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["python"]["value"]
