"""The real libraries, offline: what a run measured is read back from what each of them wrote, once stopped and resumed."""

import json
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from mlx_trace.config import TRACKER_NAMES
from mlx_trace.run_files import TRACKING_FILE

INSTALLED = [name for name in TRACKER_NAMES if find_spec(name)]
SCRIPT = """
import sys
import mlx_trace
tiny = {"model": "tiny", "data": [{"source": "synthetic", "n": 8}], "max_seq_length": 512, "num_layers": 1, "save_every": 1,
        "iters": 3, "batch_size": 2, "adapter_path": "run", "report_to": sys.argv[1], "project_name": "of-tests", "contamination": []}
def stop(phase, done, updates, metrics):
    if done == 2:
        raise KeyboardInterrupt
try:
    mlx_trace.train(tiny, report=stop)
except KeyboardInterrupt:
    mlx_trace.train(resume=True, adapter_path="run")
"""


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder of a run that was stopped in its second update and resumed, with every tracker that is installed."""
    if not INSTALLED:
        pytest.skip("needs wandb, tensorboard, trackio or swanlab (make test WITH=interop)")
    folder = tmp_path_factory.mktemp("tracked")
    environment = os.environ | {
        "WANDB_MODE": "offline", "SWANLAB_MODE": "offline", "SWANLAB_SAVE_DIR": str(folder / "home"), "TRACKIO_DIR": str(folder / "trackio"),
        "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", SCRIPT, ",".join(INSTALLED)], cwd=folder, env=environment, text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, done


def needs(name: str) -> None:
    if not find_spec(name):
        pytest.skip(f"needs {name} (make test WITH=interop)")


def records_of(content: bytes) -> Iterator[bytes]:
    """Yield the records of a .wandb file: LevelDB's log format, in blocks of 32 kB, behind a header of 7 bytes."""
    at, record = 7, b""
    while at + 7 <= len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + 7])
        record += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def measured(folder: Path) -> list[float]:
    rows = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(row)["loss"] for row in rows]


def test_nothing_is_printed_and_the_run_is_whole(tracked: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = tracked
    assert done.stdout == ""
    assert "goes on" not in done.stderr
    assert len(measured(folder)) == 3
    assert json.loads((folder / "run" / TRACKING_FILE).read_text(encoding="utf-8"))["id"]


def test_tensorboard_reads_its_files(tracked: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, _ = tracked
    events = EventAccumulator(str(folder / "run" / "tensorboard"))
    events.Reload()
    losses = {event.step: event.value for event in events.Scalars("sft/loss")}
    assert sorted(losses) == [1, 2, 3]
    assert [losses[step] for step in sorted(losses)] == pytest.approx(measured(folder), rel=1e-5)
    assert events.Scalars("final/sft/loss")[-1].value == pytest.approx(measured(folder)[-1], rel=1e-5)
    assert any(tag.startswith("config") for tag in events.Tags()["tensors"])


def test_trackio_has_one_run_with_every_update(tracked: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    needs("trackio")
    folder, _ = tracked
    (file,) = (folder / "trackio").rglob("of-tests*.db")
    with sqlite3.connect(file) as database:
        rows = database.execute("select run_name, step, metrics from metrics").fetchall()
    assert len({name for name, _, _ in rows}) == 1
    losses = {step: json.loads(metrics)["sft/loss"] for _, step, metrics in rows if "sft/loss" in json.loads(metrics)}
    assert [losses[step] for step in sorted(losses)] == pytest.approx(measured(folder))


def test_wandb_keeps_both_parts_under_one_id(tracked: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    needs("wandb")
    from wandb.proto import wandb_internal_pb2

    folder, _ = tracked
    own = json.loads((folder / "run" / TRACKING_FILE).read_text(encoding="utf-8"))["id"]
    files = sorted((folder / "run" / "wandb").glob(f"offline-run-*/run-{own}.wandb"))
    assert len(files) == 2, "each process, or each start, writes one file of the same run"
    steps: dict[int, float] = {}
    for file in files:
        for data in records_of(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.HasField("history"):
                items = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }
                if "sft/loss" in items:
                    steps[items["_step"]] = items["sft/loss"]
    assert [steps[step] for step in sorted(steps)] == pytest.approx(measured(folder))


def test_swanlab_keeps_its_files_with_the_run(tracked: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    needs("swanlab")
    folder, _ = tracked
    assert any(path.is_file() and path.stat().st_size for path in (folder / "run" / "swanlog").rglob("*"))


def test_no_question_is_sent(tracked: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    from mlx_trace.config import Config
    from mlx_trace.problems.mixture import mix

    folder, _ = tracked
    config = Config.model_validate({"data": [{"source": "synthetic", "n": 8}]})
    questions = [problem.question.encode() for problem in mix(config.data, 0).problems]
    assert len(questions) == 8
    written = [
        path
        for part in ("run/wandb", "run/tensorboard", "run/swanlog", "trackio")
        for path in (folder / part).rglob("*")
        if path.is_file()
    ]
    assert written
    assert not [path for path in written for question in questions if question in path.read_bytes()]
