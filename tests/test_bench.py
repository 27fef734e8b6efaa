"""Benchmarks run at their smallest, and print one object; what they measure is for quiet machines."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "eval" / "bench"
SMALLEST = {
    "decode.py": (["--prompts", "6", "--batches", "4", "--rollouts", "4", "--runs", "1"],
                  {"constrained", "unconstrained", "distinct", "automaton_share", "prefill_8_of_1"}),
    "memory.py": (["bf16"], {"bf16"}),
}  # fmt: skip


@pytest.mark.parametrize("script", SMALLEST)
def test_a_benchmark_prints_one_object(script: str) -> None:
    arguments, keys = SMALLEST[script]
    command = [sys.executable, str(BENCH / script), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert keys <= json.loads(done.stdout).keys()
