"""Progress fits every width and says everything on it; elsewhere it is a line now and then."""

import errno
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.cli import progress as module
from mlx_trace.cli.progress import Bars, Pace, laid_out, progress
from mlx_trace.cli.screen import Patient, Screen

SFT = {"loss": 0.41234567, "val_loss": 0.523456, "tokens": 3210, "target_tokens": 900, "grad_norm": 1.2, "seconds": 1.0,
       "peak_memory": 1_234_000_000}  # fmt: skip
RL = {"reward": 0.71234, "correct": 0.25, "frac_reward_zero_std": 0.375, "length": 100.0, "episodes": 32, "seconds": 2.0,
      "peak_memory": 2_000_000_000}  # fmt: skip


def drawn(width: int, phase: str, metrics: dict[str, Any]) -> list[str]:
    """Return the lines of a terminal so wide, in the middle of a phase."""
    screen = Screen(file=io.StringIO())
    screen.width = width
    bars = Bars(screen, auto_refresh=False)
    pace = Pace()
    pace.note(metrics)
    bars.add_task(phase, total=1500, completed=700, parts=pace.parts(phase, 700, 1500, metrics))
    with screen.capture() as capture:
        for shown in bars.get_renderables():
            screen.print(shown)
    return capture.get().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [120, 100, 80, 72, 60, 40, 24])
@pytest.mark.parametrize(
    ("phase", "metrics", "said"),
    [("sft", SFT, ["sft 700/1,500", "loss 0.4123", "val 0.5235", "3,210 tok/s", "1.23 GB", "ETA 13:20"]),
     ("rl", RL, ["rl 700/1,500", "reward 0.7123", "correct 0.25", "1,600 tok/s", "2.00 GB", "ETA 26:40"])],
)  # fmt: skip
def test_every_width_shows_everything(width: int, phase: str, metrics: dict[str, Any], said: list[str]) -> None:
    lines = drawn(width, phase, metrics)
    assert all(len(line) <= width for line in lines)
    assert [part for part in said if part not in "\n".join(lines)] == []
    assert len(lines) == 1 or width < 80, "80 columns hold one line"


@pytest.mark.parametrize("width", [80, 40])
def test_a_terminal_is_drawn_on(width: int) -> None:
    written = io.StringIO()
    screen = Screen(file=written)
    screen._force_terminal, screen.width = True, width
    with progress(screen) as report:
        report("sft", 1, 2, SFT)
        report("sft", 2, 2, SFT)
        report("rl", 1, 1, RL)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    assert "sft 2/2" in shown and "rl 1/1" in shown and "tok/s" in shown


def test_the_latest_validation_loss_stays() -> None:
    pace = Pace()
    pace.note(SFT)
    later = {key: value for key, value in SFT.items() if key != "val_loss"}
    pace.note(later)
    assert "val 0.5235" in pace.parts("sft", 2, 3, later)


def test_the_latest_accuracy_stays_and_what_it_takes_is_in_the_time_to_come() -> None:
    pace = Pace()
    pace.note(SFT | {"val_accuracy": 0.42, "val_seconds": 8.0})
    pace.note(SFT)
    parts = pace.parts("sft", 2, 12, SFT)
    assert "acc 0.42" in parts
    assert "ETA 0:50" in parts, "ten updates of a second, and eight seconds for each two"


def test_lines_hold_what_fits() -> None:
    assert laid_out(["ab", "cd", "ef"], 6) == ["ab  cd", "ef"]
    assert laid_out(["a long part"], 4) == ["a long part"]


def test_a_pipe_gets_the_first_the_last_every_tenth_and_one_in_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    written = io.StringIO()
    with progress(Screen(file=written, soft_wrap=True)) as report:
        for done in range(1, 38):
            now[0] += 11.0 if done == 14 else 0.1
            report("sft", done, 37, {"loss": 1.0, "seconds": 0.1} | ({"val_loss": 2.0} if done == 33 else {}))
        report("rl", 1, 9, RL)
    found = re.findall(r"^(sft|rl) (\d+)/", written.getvalue(), re.MULTILINE)
    assert found == [("sft", str(done)) for done in (1, 10, 14, 20, 30, 33, 37)] + [("rl", "1")]
    assert "rl 1/9  reward 0.7123  correct 0.25  1,600 tok/s  2.00 GB  ETA 0:16\n" in written.getvalue()


class _Gone(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.tries = error, 0

    def write(self, _: str) -> int:
        self.tries += 1
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.ENOSPC, "No space left on device"),
                                   OSError(errno.EIO, "Input/output error")])  # fmt: skip
def test_a_log_that_cannot_be_written_is_told_once_and_does_not_end_the_run(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = _Gone(error)
    with progress(Screen(file=Patient(gone), soft_wrap=True)) as report:  # type: ignore[arg-type]
        for done in (1, 2, 3):
            report("sft", done, 3, SFT)
    assert gone.tries == 1
    assert capsys.readouterr().err.count("training goes on") == (not isinstance(error, BrokenPipeError))


def test_a_run_goes_on_though_the_reader_of_its_log_left(random_model: Path, tmp_path: Path) -> None:
    import subprocess

    flags = ["--model", str(random_model), "--iters", "3", "--batch-size", "2", "--max-seq-length", "2048", "--adapter-path", "run",
             "--contamination", "[]", "--data", "[{source: synthetic, n: 6, schemas: [rate_equation]}]"]  # fmt: skip
    script = f"'{sys.executable}' -m mlx_trace train \"$@\" | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {script}", "x", *flags], capture_output=True, text=True,
                          check=False, cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "Traceback" not in done.stderr
    assert len((tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert json.loads((tmp_path / "run" / "adapter_config.json").read_text(encoding="utf-8"))["num_layers"] == 2
