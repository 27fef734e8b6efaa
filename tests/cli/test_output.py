"""Foreign text is shown and never acts, at the one place that shows it; streams that are closed or full are told."""

import ast
import io
import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from mlx_trace.cli import main as main_module
from mlx_trace.cli.main import main
from mlx_trace.cli.output import as_word
from mlx_trace.cli.screen import Screen
from mlx_trace.notice import one_message, safe, safe_json, tell

Out = pytest.CaptureFixture[str]
HOSTILE = "\x1b]0;title\x07\x1b[31mred\x1b[0m\x9b2J\x1b]52;c;aGk=\x07\x1b]8;;http://x\x1b\\link \u202egnp.exe\r\x08\x00\x7f\udc80"
MARKUP = "a[/b] [red]x[/red] [link=http://x]y[/link] :smile:"
COMMANDS = Path(main_module.__file__).parent


def is_plain(text: str) -> bool:
    """Tell whether nothing in a text acts on a terminal."""
    return not any((ord(character) < 0x20 and character not in "\n\t") or 0x7F <= ord(character) < 0xA0
                   or "\u202a" <= character <= "\u202e" or "\ud800" <= character <= "\udfff" for character in text)  # fmt: skip


@given(st.text())
def test_safe_text_never_acts_and_plain_text_is_left_alone(text: str) -> None:
    assert is_plain(safe(text))
    assert len(safe(text)) == len(text)
    assert safe(safe(text)) == safe(text)
    assert json.loads(safe_json(json.dumps(text, ensure_ascii=False))) == text
    assert is_plain(safe_json(json.dumps(text, ensure_ascii=False)))


def test_what_people_write_is_left_alone() -> None:
    for text in ("½ of 80,000 — €5, naïve, 日本語, שלום, 🎉\n\tit's", "a_b.c[0] (x) {y}"):
        assert safe(text) == text


def test_a_message_cannot_fake_another(capsys: Out) -> None:
    tell("no file 'x\nmlx-trace: all is well'")
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("mlx-trace: ")] == [
        "mlx-trace: no file 'x"]  # fmt: skip
    assert one_message(HOSTILE).isprintable() or is_plain(one_message(HOSTILE))


@pytest.mark.parametrize("text", [HOSTILE, MARKUP])
def test_a_screen_shows_text_tables_and_titles_as_they_stand(text: str) -> None:
    from rich.table import Table

    table = Table(text, title=text)
    table.add_row(text)
    written = io.StringIO()
    screen = Screen(file=written)
    screen.width = 400
    screen.print(text, style="bold")
    screen.print(table)
    assert is_plain(written.getvalue())
    shown = safe(text.translate(dict.fromkeys(map(ord, "\x07\x08\r"))))  # those rich leaves out by itself
    assert written.getvalue().count(shown) == 4
    coloured = io.StringIO()
    terminal = Screen(file=coloured)
    terminal._force_terminal, terminal._color_system = True, terminal._color_system
    terminal.print(text)
    assert is_plain(coloured.getvalue())


def test_commands_show_nothing_but_through_it() -> None:
    for path in COMMANDS.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        if path.name != "screen.py":
            assert "Console" not in imported | calls, f"{path.name}: Screen is the console for foreign text"
        if path.name not in ("output.py", "main.py"):
            assert "print" not in calls, f"{path.name}: show, or Screen.print"


def test_solve_and_its_messages_show_escapes_without_acting(tmp_path: Path, capsys: Out) -> None:
    trace = tmp_path / f"{MARKUP.replace('/', '|')}.yaml"
    trace.write_text(f"expert: arithmetic\ntrace:\n- {HOSTILE[:-1]}\n- [red]x[/b]\n", encoding="utf-8")
    for flags in ([], ["--json"]):
        main(["solve", str(trace), *flags])
        out, err = capsys.readouterr()
        assert is_plain(out) and is_plain(err)
    assert main(["solve", f"absent-{HOSTILE[:8]}-[/b]"]) == 2
    assert "absent-␛]0;title-[/b]"[:12] in (err := capsys.readouterr().err)
    assert is_plain(err)
    with pytest.raises(SystemExit):
        main(["solve", "--\x1b[31m"])
    assert is_plain(capsys.readouterr().err)


@pytest.mark.parametrize("name", ["a[/b].jsonl", "x[red].jsonl", "\x1b[31m.jsonl"])
def test_markup_and_escapes_in_names_are_shown_and_fail_nothing(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    assert main(["generate", "-n", "4", "--schema", "rate_equation", "-o", name]) == 0
    assert safe(name) in capsys.readouterr().out
    flags = ["--model", str(random_model), "--adapter-path", "none", "--constraint", "none", "--max-tokens", "3"]
    assert main(["eval", *flags, "--data", name]) == 0
    assert safe(name) in capsys.readouterr().out
    flags = ["--model", str(random_model), "--max-seq-length", "2048", "--contamination", "[]", "--iters", "1"]
    assert (
        main(
            [
                "train",
                *flags,
                "--data",
                f"[{{source: file, path: {json.dumps(name)}}}]",
                "--adapter-path",
                name[:-6],
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert f"done: {safe(name[:-6])}" in out
    assert is_plain(out)


# --- streams ---------------------------------------------------------------------------------------------------

FULL = Path("/dev/full")


def call(*arguments: str, redirect: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = f"'{sys.executable}' -m mlx_trace \"$@\" {redirect}"
    return subprocess.run(["bash", "-c", command, "x", *arguments], capture_output=True, text=True, check=False, cwd=folder,
                          env=dict(os.environ), stdin=subprocess.DEVNULL)  # fmt: skip


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("flags", [["solve", "t.yaml"], ["solve", "--json", "t.yaml"], ["generate", "--list"]], ids=str)
def test_a_full_output_is_one_line(tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / "t.yaml").write_text("expert: arithmetic\ntrace: []", encoding="utf-8")
    done = call(*flags, redirect="> /dev/full", folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, "mlx-trace: standard output: no space left on device\n")


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_tracebacks_and_no_file_takes_their_place(tmp_path: Path, redirect: str) -> None:
    done = call("generate", "-n", "3", "-o", "p.jsonl", redirect=redirect, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    rows = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    assert len([json.loads(row) for row in rows]) == 3


@pytest.mark.parametrize("flags", [["chat"], ["chat", "--json"], ["solve", "-"]], ids=str)
def test_a_closed_input_is_said(tmp_path: Path, flags: list[str]) -> None:
    done = call(*flags, redirect="<&-", folder=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "mlx-trace: standard input is closed, so that nothing can be read from it\n",
    )


def test_a_pipe_with_bytes_that_are_no_text_is_answered_around_them(random_model: Path, tmp_path: Path) -> None:
    questions = b"\xef\xbb\xbfHow many eggs?\nH\xffow?\nAnd now - \xc2\xbd?\n"
    (tmp_path / "q").write_bytes(questions)
    done = call("chat", "--json", "--model", str(random_model), "--adapter-path", "none", "--max-tokens", "3", "--constraint",
                "none", redirect="< q", folder=tmp_path)  # fmt: skip
    assert [json.loads(line)["question"] for line in done.stdout.splitlines()] == ["How many eggs?", "And now - ½?"]
    assert done.returncode == 2
    assert "line 2: not UTF-8 text" in done.stderr
    assert "Traceback" not in done.stderr


# --- what eval writes ------------------------------------------------------------------------------------------


def test_eval_refuses_an_output_before_it_evaluates(tmp_path: Path, capsys: Out) -> None:
    for output in ("/nope/x.jsonl", str(tmp_path)):
        assert main(["eval", "--model", "no/such/model/here", "-o", output]) == 2
        assert capsys.readouterr().err.startswith(f"mlx-trace: {output}: ")


def test_eval_keeps_its_records_where_the_disk_is_full(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    import errno
    import tempfile

    from mlx_trace import files

    spare = tmp_path / "spare"
    spare.mkdir()
    sync = os.fsync

    def fsync(handle: int) -> None:
        if "spare" not in str(Path(f"/proc/self/fd/{handle}").readlink() if Path("/proc/self/fd").exists() else ""):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(spare))
    monkeypatch.setattr(files.os, "fsync", fsync)
    if not Path("/proc/self/fd").exists():
        pytest.skip("which file is synced cannot be told without /proc")
    flags = ["eval", "--model", str(random_model), "--adapter-path", "none", "-n", "3", "--constraint", "none", "--max-tokens", "3",
             "--json", "-o", str(tmp_path / "r.jsonl")]  # fmt: skip
    assert main(flags) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["n"] == 3
    assert f"the records are in {spare}/mlx-trace-r.jsonl instead" in err
    assert len((spare / "mlx-trace-r.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert not (tmp_path / "r.jsonl").exists()


def test_eval_writes_to_a_device_or_pipe(random_model: Path, capsys: Out) -> None:
    flags = [
        "eval",
        "--model",
        str(random_model),
        "--adapter-path",
        "none",
        "-n",
        "2",
        "--constraint",
        "none",
        "--max-tokens",
        "3",
    ]
    assert main([*flags, "-o", "/dev/null"]) == 0
    assert Path("/dev/null").is_char_device()
    capsys.readouterr()


def test_fuse_onto_a_full_disk_is_one_line_and_leaves_nothing(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    import shutil
    from types import SimpleNamespace

    from mlx_trace import fuse as module

    def save(folder: Path, *_: object, **__: object) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise RuntimeError("[write] Unable to write 4096 bytes to file.")

    monkeypatch.setattr(module, "save", save)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    flags = ["fuse", "--model", str(random_model), "--adapter-path", "none", "--dequantize"]
    assert main([*flags, "--save-path", str(tmp_path / "fused")]) == 2
    assert "fused: could not be written: no space left on device; nothing is left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_path_in_a_command_is_one_word_of_it(name: str) -> None:
    assert shlex.split(f"mlx-trace chat --model {as_word(name)}")[3:] == [name]


def test_commands_that_are_proposed_name_paths_as_words() -> None:
    flag, told = re.compile(r"mlx-trace [a-z]+[^`]* (?:--adapter-path|--model|-c|-m) $"), []
    for file in COMMANDS.glob("*.py"):
        for text in (node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.JoinedStr)):
            told += [ast.unparse(shown) for said, shown in pairwise(text.values)
                     if isinstance(said, ast.Constant) and flag.search(str(said.value))]  # fmt: skip
    paths = [shown for shown in told if "path" in shown]
    assert len(paths) >= 6
    assert [shown for shown in paths if "as_word" not in shown] == []


@pytest.mark.parametrize("columns", [None, "40"])
def test_a_row_of_a_table_is_a_line_where_no_terminal_tells_a_width(
    columns: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    written = io.StringIO()
    table = Table("name", *(f"column {number}" for number in range(9)), title="a title of some length", box=None)
    table.add_row("a name of three words", *["some words"] * 9)
    screen = Screen(file=written)
    screen.print(table)
    lines = written.getvalue().splitlines()
    assert (len(lines) == 3) == (columns is None)
    assert (lines[0] == "a title of some length") and screen.page_width == (80 if columns is None else 40)
