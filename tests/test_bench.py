"""Benchmarks run at their smallest, each of them; what they measure is for quiet machines."""

import importlib.util
import json
import runpy
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from mlx_trace.config_decoding import RULES
from mlx_trace.config_sources import CompiledSource
from mlx_trace.evaluate.causes import CAUSES
from mlx_trace.problems.mixture import mix
from mlx_trace.resources import adapters_dir, tiny_dir
from tests.model.gguf.models import byte_level, write_random

BENCH = Path(__file__).parents[1] / "eval" / "bench"
SMALLEST = {
    "language": (["-n", "50", "--runs", "1"], {"steps", "traces_per_second"}),
    "problems": (["--runs", "1"], {"a second"}),
    "constraint": (["-n", "2", "--max-tokens", "60"], {"synthetic", "phrasing"}),
    "decode": (["--prompts", "6", "--batches", "4", "--rollouts", "4", "--runs", "1", "--cpu-seconds"],
               {"constrained", "unconstrained", "distinct", "automaton_share", "prefill_8_of_1"}),
    "sft": (["--rows", "1", "--batch-size", "1", "--runs", "1", "--vocabulary", "4000"],
            {"first_epoch", "later_epochs", "three_epochs", "smallest_memory"}),
    "rl": (["--prompts", "2", "--group", "2", "--runs", "1", "--max-tokens", "60"], {"constrained", "unconstrained"}),
    "memory": (["bf16"], {"bf16"}),
    "llama_cpp": (["-n", "1"], {"f32", "q8_0"}),
    "serve": (["--clients", "4", "--seconds", "1", "--requests", "2", "--at-once", "2", "--runs", "1"], {"load", "speed"}),
    "real_size": (["--tokenizer", str(tiny_dir()), "--narrower", "4", "--updates", "1"], {"peak_memory", "moved"}),
}  # fmt: skip
PEERS = {"rl": "mlx_lm_lora", "llama_cpp": "xllamacpp", "gguf_files": "xllamacpp"}  # beside mlx-lm
# by tests of their own, below
ELSEWHERE = {"algorithms", "baselines", "causes", "families", "gguf_files", "rule_gains", "rules"}
NO_SCRIPTS = {"all", "grpo", "replay", "scaled"}  # what others import; `all` only starts them
ROW = {"question": "Ana has 3 boxes of 4 pens. How many pens is that?", "answer": "3*4=<<3*4=12>>12 pens.\n#### 12"}


def run(script: str, *arguments: str) -> str:
    if (peer := PEERS.get(script)) and importlib.util.find_spec(peer) is None:
        pytest.skip(f"needs the package {peer}")
    command = [sys.executable, str(BENCH / f"{script}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_benchmark_is_tried() -> None:
    assert {path.stem for path in BENCH.glob("*.py")} == {*SMALLEST, *ELSEWHERE, *NO_SCRIPTS}


@pytest.mark.parametrize("script", SMALLEST)
def test_a_benchmark_prints_one_object(script: str) -> None:
    arguments, keys = SMALLEST[script]
    last = run(script, *arguments, "--json").splitlines()[-1]
    assert keys <= json.loads(last).keys()


def test_families_are_counted(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    lines = run("families", str(rows), str(tiny_dir()), "--every", "200").splitlines()
    assert lines[-1].startswith(tiny_dir().name)
    assert all("walks parsed 10 of 10" in line for line in lines), lines


def test_causes_of_traces_broken_on_purpose_are_named() -> None:
    counts = json.loads(run("causes", "-n", "1", "--json"))
    assert set(counts) == set(CAUSES)
    for cause, named in counts.items():
        n = sum(named.values())
        assert n >= 5 and named[cause] >= 0.95 * n, (cause, named)


def test_rules_are_counted() -> None:
    printed = run("rules", "-n", "1", "--every", "40")
    assert "all_used" in printed
    assert "no_self" in printed


def test_rules_that_a_reply_keeps_change_nothing(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    adapter = ["--adapter-path", str(adapters_dir() / "tiny"), "--max-tokens", "120"]
    figures = json.loads(run("rule_gains", "tiny", *adapter, "--data", str(rows), "phrasing", "-n", "6", "--json"))
    assert set(figures["alone"]) == set(figures["last"]) == set(RULES)
    assert {one["n"] for one in figures["alone"].values()} == {7}
    assert 7 <= figures["decoded"] < 7 * (2 * len(RULES) + 2)  # what no rule forbids is decoded once
    ruled = figures["off"]["count"] + figures["off to all"]["gained"] - figures["off to all"]["lost"]
    assert ruled == figures["all"]["count"]


def test_what_a_trace_is_worth_is_measured_against_examples_and_prose(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    run("baselines", "--write-prose", str(rows), str(tmp_path / "prose"))
    (line,) = (tmp_path / "prose" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["messages"][1]["content"] == "3*4=12 pens.\n#### 12"
    tiny = ["tiny", "-n", "1", "--max-tokens", "60", "--shots", "2", "--adapter-path", str(adapters_dir() / "tiny")]
    shares = json.loads(run("baselines", *tiny, "--json"))
    assert list(shares) == ["untrained, prose", "untrained, 2 examples, in scope", "untrained, 2 examples, free",
                            "adapter, in scope", "adapter, free"]  # fmt: skip
    assert all(share["n"] == 1 for share in shares.values())


@pytest.mark.parametrize(("text", "number"), [
    ("So 3 + 4 = 7.\n#### 1,200", 1200), ("She pays $3.50.", Fraction(7, 2)), ("#### -4", -4), ("none", None),
])  # fmt: skip
def test_the_answer_of_prose_is_its_last_number(text: str, number: Fraction | None) -> None:
    assert runpy.run_path(str(BENCH / "baselines.py"))["said"](text) == number


def test_gguf_files_are_measured(tmp_path: Path) -> None:
    from mlx_trace.model.gguf.write import write_gguf

    file = tmp_path / "random.gguf"
    write_gguf(write_random(tmp_path / "model", "llama", byte_level("gpt-2")), file, "f32")
    figures = json.loads(run("gguf_files", str(file), "--prompts", "2", "--texts", "5", "--tokens", "4", "--json"))
    assert {"conversion", "second_start"} <= figures.keys()


def test_algorithms_are_compared(tmp_path: Path) -> None:
    smallest = ["--seeds", "0", "1", "--algorithms", "sft", "rloo", "--tokens", "40", "--seconds", "0",
                "--problems", "8", "-n", "2"]  # fmt: skip
    printed = run(
        "algorithms", "--adapter-path", str(adapters_dir() / "tiny"), "--work", str(tmp_path / "work"), *smallest
    )
    assert "At 40 tokens" in printed
    assert "rloo" in printed


def test_files_of_real_sets_hold_what_was_not_trained_on(tmp_path: Path) -> None:
    things = [f"{one}{two}s" for one in "bcdfghjklmnprstvwz" for two in ("alo", "emi", "iko", "ona", "uti")] * 4
    things = [f"{thing}{'abcd'[n // 90]}" for n, thing in enumerate(things[:300])]
    gsm8k = [{"question": f"Ana has 3 {thing} and {n} more. How many?", "answer": f"3+{n}=<<3+{n}={3 + n}>>{3 + n}\n#### {3 + n}"}
             for n, thing in enumerate(things)]  # fmt: skip
    mawps = [{"question": f"How many {thing} are {n} and 2?", "equation": f"{n} + 2", "answer": str(n + 2), "fold": n % 5}
             for n, thing in enumerate(things)]  # fmt: skip
    twice = mawps[1] | {"fold": 0}
    (tmp_path / "gsm8k.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gsm8k), encoding="utf-8")
    (tmp_path / "mawps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*mawps, twice]), encoding="utf-8")
    run("../real_sets", "--gsm8k", str(tmp_path / "gsm8k.jsonl"), "--mawps", str(tmp_path / "mawps.jsonl"),
        str(tmp_path / "sets"))  # fmt: skip
    asked = {
        path.stem: [json.loads(line)["question"] for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (tmp_path / "sets").iterdir()
    }
    trained = {problem.question for problem in mix([CompiledSource.model_validate(
        {"source": "compiled", "file": tmp_path / "gsm8k.jsonl"})], 0).problems}  # fmt: skip
    held = {row["question"] for row in gsm8k} - trained
    assert held and set(asked["gsm8k-dev"]) | set(asked["gsm8k-final"]) == held
    assert not set(asked["gsm8k-dev"]) & set(asked["gsm8k-final"])
    assert sorted(asked["mawps-fold0"]) == sorted(row["question"] for row in mawps if row["fold"] == 0)
    assert len(asked["mawps-train"]) == 240 and twice["question"] not in asked["mawps-fold0"]
