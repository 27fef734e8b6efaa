"""Benchmarks run at their smallest, and print one object; what they measure is for quiet machines."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "eval" / "bench"
SMALLEST = {
    "decode.py": (["--prompts", "6", "--batches", "4", "--rollouts", "4", "--runs", "1", "--cpu-seconds"],
                  {"constrained", "unconstrained", "distinct", "automaton_share", "prefill_8_of_1"}),
    "memory.py": (["bf16"], {"bf16"}),
    "rl.py": (["--prompts", "2", "--group", "2", "--runs", "1", "--max-tokens", "60"], {"constrained", "unconstrained"}),
}  # fmt: skip
PEERS = {"rl.py": "mlx_lm_lora"}  # what a benchmark measures against, beside mlx-lm


@pytest.mark.parametrize("script", SMALLEST)
def test_a_benchmark_prints_one_object(script: str) -> None:
    if (peer := PEERS.get(script)) and importlib.util.find_spec(peer) is None:
        pytest.skip(f"needs the package {peer} (extra bench)")
    arguments, keys = SMALLEST[script]
    command = [sys.executable, str(BENCH / script), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert keys <= json.loads(done.stdout).keys()
