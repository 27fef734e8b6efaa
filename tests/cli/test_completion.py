"""Completions, as bash, zsh and fish have them, and as the command itself tells them; they import no network's library."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlx_trace.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
CASES = [("mlx-trace tra", "train"), ("true; mlx-trace chat --mod", "--model"), ("mlx-trace chat --model smollm2-13", "smollm2-135m"),
         ("mlx-trace train -c smollm2-13", "smollm2-135m"), ("mlx-trace train --decoding.constraint sc", "scope"),
         ("mlx-trace completion fi", "fish")]  # fmt: skip


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment in whose PATH mlx-trace is."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "mlx-trace"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mlx_trace "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "HOME": str(folder),
            "TERM": "dumb", "LC_ALL": "C.UTF-8"}  # fmt: skip


def shell_or_skip(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} is on this machine: make test WITH=interop installs it")
    return path


def ask(line: str, environment: dict[str, str], prefix: str = "pass") -> list[str]:
    """Return what may come next, as the command tells a shell."""
    reading, writing = os.pipe()
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line)),
             "_ARGCOMPLETE_STDOUT_FILENAME": f"/dev/fd/{writing}", "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}  # fmt: skip
    code = f"import sys; {prefix}; from mlx_trace.cli.main import main; main([])"
    subprocess.run(
        [sys.executable, "-c", code], env=environment | asked, pass_fds=[writing], check=True, capture_output=True
    )
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as told:
        return told.read().split("\n")


@pytest.mark.parametrize(("line", "completed"), CASES)
def test_a_line_is_completed(environment: dict[str, str], line: str, completed: str) -> None:
    assert completed in [one.strip() for one in ask(line, environment)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_completes_its_flags_and_imports_no_network(environment: dict[str, str], name: str) -> None:
    banned = (
        "sys.modules.update(dict.fromkeys(('mlx.core', 'mlx_lm', 'transformers', 'numpy'), None))"  # an ImportError
    )
    assert "--help" in [one.strip() for one in ask(f"mlx-trace {name} --", environment, banned)]


def test_bash_completes(environment: dict[str, str]) -> None:
    bash = shell_or_skip("bash")
    script = """eval "$(mlx-trace completion bash)"
    while IFS= read -r line; do
        COMP_LINE=$line COMP_POINT=${#line} COMP_TYPE=9 COMP_WORDS=($line) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        COMPREPLY=(); "$(complete -p mlx-trace | sed 's/.*-F \\([^ ]*\\).*/\\1/')" mlx-trace "${COMP_WORDS[$COMP_CWORD]}" x
        echo "${COMPREPLY[@]}"
    done"""
    lines = "".join(f"{line.removeprefix('true; ')}\n" for line, _ in CASES)  # bash gives the command alone
    done = subprocess.run([bash, "--norc", "-c", script], env=environment, input=lines, capture_output=True, text=True)
    assert [one.strip() for one in done.stdout.splitlines()] == [completed for _, completed in CASES], done.stderr


def test_fish_completes(environment: dict[str, str]) -> None:
    fish = shell_or_skip("fish")
    asked = "; ".join(f"complete -C '{line}'" for line, _ in CASES)
    done = subprocess.run([fish, "--no-config", "-c", f"mlx-trace completion fish | source; {asked}"], env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert [one.partition("\t")[0].strip() for one in done.stdout.splitlines()] == [
        completed for _, completed in CASES
    ], done.stderr


def test_zsh_completes(environment: dict[str, str]) -> None:
    zsh = shell_or_skip("zsh")
    handle, inner = pty.openpty()
    process = subprocess.Popen([zsh, "-f", "-i"], env=environment | {"PS1": "ready> "}, stdin=inner, stdout=inner, stderr=inner,
                               start_new_session=True)  # fmt: skip
    try:
        os.write(
            handle, b'autoload -U compinit && compinit -u -D && eval "$(mlx-trace completion zsh)" && echo so"urced"\n'
        )
        _until(handle, "sourced")
        for line, completed in CASES:
            os.write(handle, f"{line}\t".encode())
            _until(handle, f"{completed[len(line.rpartition(' ')[2]) :]} ")
            os.write(handle, b"\x15")
    finally:
        process.kill()
        process.wait()
        os.close(handle)
        os.close(inner)


def _until(handle: int, wanted: str) -> None:
    shown, end = "", time.monotonic() + 120
    while wanted not in shown:
        assert time.monotonic() < end, f"no {wanted!r} in {shown!r}"
        if select.select([handle], [], [], 0.2)[0]:
            shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", os.read(handle, 65536).decode(errors="replace"))


def test_the_shell_is_taken_from_the_environment_or_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert main(["completion"]) == 0
    assert "complete --command mlx-trace" in capsys.readouterr().out
    monkeypatch.setenv("SHELL", "/bin/dash")
    assert main(["completion"]) == 2
    assert "'dash', not one of bash, zsh, fish" in capsys.readouterr().err
