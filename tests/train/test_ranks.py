"""Two processes over loopback take the same updates as one, to fp32 rounding, and stop together."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlx_trace.train.ranks import Ranks
from mlx_trace.train.samples import read_samples

import mlx.core as mx  # isort: skip

BIN = Path(sys.executable).parent


def write_config(model: Path, folder: Path, name: str) -> Path:
    content = {
        "model": str(model), "adapter_path": str(folder / name), "num_layers": 1, "lora_parameters": {"rank": 4},
        "data": [{"source": "synthetic", "n": 10, "schemas": ["rate_equation"]}], "batch_size": 4,
        "decoding": {"max_tokens_per_pass": 8}, "contamination": [], "max_seq_length": 2048, "val_examples": 2,
        "steps_per_eval": 2, "save_every": 1, "eval_every": 2, "eval_n": 1, "eval_suite": "everyday",
        "reinforce": {"iters": 2, "batch_size": 3, "group_size": 2, "max_tokens": 120, "algorithm": "reinforce"},
    }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def launch(config: Path, *options: str, port: int) -> subprocess.CompletedProcess[str]:
    command = [BIN / "mlx.launch", "-n", "2", "--backend", "ring", "--starting-port", str(port), "--",
               BIN / "mlx-trace", "train", "-c", config, *options]  # fmt: skip
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, check=False)


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_two_processes_do_what_one_does(random_model: Path, tmp_path: Path) -> None:
    one, two = (write_config(random_model, tmp_path, name) for name in ("one", "two"))
    subprocess.run([BIN / "mlx-trace", "train", "-c", one], check=True, capture_output=True, timeout=300)
    done = launch(two, port=5137)
    assert done.stdout.count("sft 1/") == 1, f"one process speaks for all: {done.stdout}{done.stderr}"
    alone, together = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert [row["phase"] for row in together] == [row["phase"] for row in alone] == ["sft"] * 2 + ["rl"] * 2
    for a, b in zip(alone, together, strict=True):
        assert b.keys() == a.keys()
        for name in {
            "loss",
            "grad_norm",
            "val_loss",
            "reward",
            "length",
            "sampled",
            "target_tokens",
            "kl",
            "val_accuracy",
            "val_n",
            "completions/min_length",
            "completions/max_length",
        } & a.keys():
            assert b[name] == pytest.approx(a[name], rel=1e-4, abs=1e-6), name
    samples = [[(one.update, one.group, one.sample, one.id) for one in read_samples(tmp_path / name / "samples.jsonl")]
               for name in ("one", "two")]  # fmt: skip
    assert samples[0] == samples[1] and len(samples[0]) == 2 * 3 * 2
    weights = [mx.load(str(tmp_path / name / "adapters.safetensors")) for name in ("one", "two")]
    for name, value in weights[0].items():
        assert mx.allclose(value, weights[1][name], rtol=1e-2, atol=1e-5), name
    refused = launch(two, port=5147)
    assert "holds a run already" in refused.stderr + refused.stdout
    assert "Traceback" not in refused.stderr + refused.stdout
    again = launch(two, "--resume", port=5157)
    assert "done:" in again.stdout


def test_one_process_is_all_there_is() -> None:
    ranks = Ranks.found()
    assert (ranks.rank, ranks.size, ranks.is_first) == (0, 1, True)
    assert ranks.total(1.5, 2) == [1.5, 2]
    assert ranks.any(True)
    assert not ranks.any(False)
    assert list(ranks.share(3)) == [0, 1, 2]
    assert ranks.gathered([[1, "a"]]) == [[1, "a"]]
    assert ranks.from_first({"a": 1}) == {"a": 1}
