"""What reports are made of in tests: records, a run's folder, and text that would act if it were let."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCRIPT = "<script>window.acted = 1</script>"
HOSTILE = (
    f"{SCRIPT}</script><img src=x onerror='window.acted=2'>&lt;b&gt; {{{{ 7 * 7 }}}} [link=http://x]y[/link] "
    '"><svg onload=window.acted=3> \x1b]0;title\x07\x1b[31mred \u202egnp.exe \u2028 `code` | **bold**'
)
GOLD = (
    "expert: arithmetic\ntrace:\n- {op: init, var: boxes, value: 3}\n- {op: init, var: eggs, value: 12}\n"
    "- {op: compute, var: all_eggs, compute_op: mul, args: [boxes, eggs]}\n"
    "- {op: init, var: broken, value: 4}\n- {op: compute, var: whole, compute_op: sub, args: [all_eggs, broken]}\n"
    "- {op: query, var: whole}"
)
SHORT = GOLD.replace("{op: query, var: whole}", "{op: query, var: all_eggs}")
INVALID = GOLD.replace("args: [all_eggs, broken]", "args: [all_eggs, nothing]")
QUESTION = "There are 3 boxes of 12 eggs each, and 4 eggs are broken. How many of them are whole?"


def record(name: str, output: str = GOLD, kind: str = "correct", **other: Any) -> dict[str, Any]:
    """Return a record as `mlx-trace eval -o` writes it."""
    known = {
        "id": name, "question": QUESTION, "answer": "32", "expert": None, "trace": GOLD, "source": "boxes/eggs#1",
        "output": output, "kind": kind, "reward": 1.0, "got": "32" if kind == "correct" else None, "detail": "",
        "cause": None if kind == "correct" else "missing final step", "parsed": kind != "parse_failure",
        "valid": kind in ("correct", "wrong_answer"), "correct": kind == "correct", "tokens": 90, "sampled": 30,
        "truncated": False, "seconds": 0.5,
    }  # fmt: skip
    return known | other


RECORDS: Sequence[dict[str, Any]] = (
    record("right"),
    record("short", SHORT, "wrong_answer", got="36", detail="expected 32, got 36"),
    record("invalid", INVALID, "invalid_trace", cause="invalid trace",
           detail="undefined: step 5: there is no variable 'nothing'"),
    record("none", "I think it is 32.", "parse_failure", cause="not parsed", detail="not YAML"),
    record("idle", GOLD.replace("- {op: query", "- {op: compute, var: idle, compute_op: add, args: [boxes, eggs]}\n- {op: query")),
    record("no gold", SHORT, "wrong_answer", got="36", trace=None, cause="missing steps", source="mine"),
)  # fmt: skip


def voted(name: str) -> dict[str, Any]:
    """Return the record of a vote that went wrong: two say 36, one says 32, and two say nothing."""

    def sample(output: str, kind: str, got: str | None, weight: float) -> dict[str, Any]:
        return {"output": output, "kind": kind, "got": got, "weight": weight, "detail": "", "truncated": False}

    said = [sample(SHORT, "wrong_answer", "36", 0.6667)] * 2 + [sample(GOLD, "correct", "32", 1.0)]
    said += [sample("32!", "parse_failure", None, 0.0), sample(INVALID, "invalid_trace", None, 0.0)]
    votes = [{"answer": "36", "count": 2, "weight": 1.3333}, {"answer": "32", "count": 1, "weight": 1.0}]
    row = record(name, SHORT, "wrong_answer", got="36", agreement=0.4, right=1, votes=votes, samples=said)
    return {key: value for key, value in row.items() if key not in ("output", "kind", "detail", "parsed", "valid")}


def write_records(path: Path, rows: Sequence[Any] = RECORDS) -> Path:
    """Write a file of records."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def update(phase: str, number: int, **metrics: float) -> dict[str, Any]:
    """Return a line of metrics.jsonl."""
    return {"phase": phase, "update": number, **metrics, "seconds": 0.5, "peak_memory": 2e9 + number}


def write_run(folder: Path, sft: int = 30, rl: int = 12) -> Path:
    """Write a run's folder, as training leaves it."""
    (folder / "state" / "0000001").mkdir(parents=True)
    rows = [update("sft", n, loss=2 / n, learning_rate=1e-3, tokens=100 + n, val_loss=3 / n) for n in range(1, sft + 1)]
    rows += [update("rl", n, reward=n / rl, loss=0.01 * n, kl=0.1, correct=n / rl / 2, wrong_answer=0.5 - n / rl / 4,
                    parse_failure=0.5 - n / rl / 4, rollout_tokens_per_second=500.0) for n in range(1, rl + 1)]  # fmt: skip
    write_records(folder / "metrics.jsonl", rows)
    (folder / "config.yaml").write_text(f"model: tiny\nseed: 31\nnote: '{SCRIPT}'\n", encoding="utf-8")
    (folder / "adapter_config.json").write_text('{"model": "tiny", "num_layers": 4}', encoding="utf-8")
    versions = {"versions": {"mlx": "0.32.4", "python": "3.11.9"}}
    (folder / "state" / "0000001" / "state.json").write_text(json.dumps(versions), encoding="utf-8")
    return folder
