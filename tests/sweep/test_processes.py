"""A sweep's log is held by one sweep and by what it started; signals reach what runs, once, in whatever moment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlx_trace.errors import UserError
from mlx_trace.sweep.processes import _Relay, held_log, run_command

COUNTS = "import sys, time\nwhile True: open(sys.argv[1], 'a').write('x'); time.sleep(0.02)"
RELAYS = """
import subprocess, sys
from mlx_trace.sweep.processes import _passing_on
with _passing_on() as relay:
    process = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], start_new_session=True)
    relay.serve(process)
    print(process.wait(), relay.came, flush=True)
"""


def test_a_folder_has_one_sweep_and_waits_for_what_an_earlier_one_left(tmp_path: Path) -> None:
    with held_log(tmp_path / "out") as log:
        with pytest.raises(UserError, match="another sweep is at work"), held_log(tmp_path / "out"):
            pass
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stderr=log.file)
    try:
        with pytest.raises(UserError, match="another sweep is at work"), held_log(tmp_path / "out"):
            pass
    finally:
        left.kill()
        left.wait()
    with held_log(tmp_path / "out"):
        pass


def test_a_folder_that_cannot_be_made_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"file/out/log\.txt: not a directory"), held_log(tmp_path / "file" / "out"):
        pass


def test_a_command_that_fails_is_logged_with_its_process_and_its_reason_is_returned(tmp_path: Path) -> None:
    with held_log(tmp_path) as log:
        fault = run_command(["solve", "no such file"], log)
    text = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert fault is not None and fault.startswith("mlx-trace: ") and fault in text
    assert "$ mlx-trace solve 'no such file'  (process " in text


def test_a_signal_that_comes_before_the_process_reaches_it_once(tmp_path: Path) -> None:
    relay = _Relay()
    relay.pass_on(signal.SIGTERM, None)
    process = subprocess.Popen([sys.executable, "-c", COUNTS, str(tmp_path / "count")])
    relay.serve(process)
    assert process.wait(timeout=60) == -signal.SIGTERM
    assert relay.came == [signal.SIGTERM] and not relay.waiting


def wait_for(file: Path, more_than: int) -> None:
    end = time.monotonic() + 60
    while not file.exists() or file.stat().st_size <= more_than:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_runs_pauses_and_goes_on_with_the_sweep(tmp_path: Path) -> None:
    count = tmp_path / "count"
    process = subprocess.Popen([sys.executable, "-c", RELAYS, COUNTS, str(count)], stdout=subprocess.PIPE, text=True)
    wait_for(count, 0)
    process.send_signal(signal.SIGTSTP)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    stopped_at = count.stat().st_size
    time.sleep(0.5)
    assert count.stat().st_size == stopped_at
    process.send_signal(signal.SIGCONT)
    wait_for(count, stopped_at)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert said == f"{-signal.SIGTERM} [{int(signal.SIGTERM)}]\n"
