"""What only a process of its own can show: terminals, readers that leave, full devices, and signals."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlx_trace.notice import safe

COMMAND = [sys.executable, "-m", "mlx_trace"]


def in_bash(script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["bash", "-c", f"set -o pipefail; M='{sys.executable} -m mlx_trace'; {script}"], text=True,
                          capture_output=True, check=False, cwd=folder, timeout=120)  # fmt: skip


def on_terminal(folder: Path, *words: str) -> tuple[int, str]:
    """Return the exit code of a command, and what it writes to a terminal of 20 columns."""
    leader, follower = pty.openpty()
    process = subprocess.Popen([*COMMAND, *words], stdin=follower, stdout=follower, stderr=follower, cwd=folder,
                               env=os.environ | {"COLUMNS": "20", "TERM": "dumb"})  # fmt: skip
    os.close(follower)
    text = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:  # it has ended
            break
        if not piece:
            break
        text += piece
    os.close(leader)
    return process.wait(), text.decode()


def test_a_narrow_terminal_shows_escapes_and_markup_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(
        "expert: arithmetic\ntrace:\n- {op: \x1b]0;x\x07[red]y[/b], var: a}\n", encoding="utf-8"
    )
    code, text = on_terminal(tmp_path, "solve", "t")
    plain = text.replace("\r\n", "\n")
    assert (code, safe(plain)) == (1, plain)
    code, text = on_terminal(tmp_path, "solve", "[red]\x1b[31m[/b]")
    assert code == 2
    assert "[red]␛[31m[/b]" in text


@pytest.mark.parametrize(
    "script",
    [
        "$M generate --list | head -1",
        "$M --help | true",
        "$M solve t | true",
        "$M audit --schema rate_equation | head -1",
    ],
)
def test_a_reader_that_leaves_is_no_error(tmp_path: Path, script: str) -> None:
    (tmp_path / "t").write_text("expert: arithmetic\ntrace: []", encoding="utf-8")
    assert in_bash(script, tmp_path).stderr == ""


@pytest.mark.parametrize("command", ["--help", "generate --list", "memory --markdown", "doctor --json", "serve --help"])
def test_a_full_device_is_a_line(tmp_path: Path, command: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    done = in_bash(f"$M {command} > /dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (2, "mlx-trace: standard output: no space left on device\n")


def test_a_file_that_has_no_room_is_a_line_and_none_is_left(tmp_path: Path) -> None:
    done = in_bash("ulimit -f 1; trap '' XFSZ; $M generate -n 200 --schema rate_equation -o x.jsonl", tmp_path)
    assert (done.returncode, done.stderr) == (2, "mlx-trace: x.jsonl: file too large\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_server_that_still_loads_ends_with_a_signal(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen([*COMMAND, "serve", "--port", "0"], cwd=tmp_path, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    time.sleep(1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (130, -number, 128 + number)
    assert "Traceback" not in err
    assert out == ""
