"""`mlx-trace samples`, as a user calls it: which samples, in what order, on what terminal, and files of every kind."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.cli.main import main
from mlx_trace.cli.replies import show_prompt, show_table, table_of
from mlx_trace.cli.screen import Screen
from mlx_trace.train.samples import lines_of
from tests.train.test_samples import row

REPLY = "expert: arithmetic\ntrace:\n- {op: init, var: eggs, value: 4}"


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """Samples of three updates: two prompts, two replies each, of which one gets better."""
    rows = []
    for update in (1, 2, 4):
        for sample in (0, 1):
            right = update > 1 and sample == 0
            rows.append(row(update=update, sample=sample, id="a", question="How many eggs?", reward=1.0 if right else 0.7,
                            grade="correct" if right else "wrong_answer", reply=f"{REPLY}\n- line of {update if right else 0}"))  # fmt: skip
        rows += [row(update=update, group=1, sample=sample, id="b", question="How many hens?", reward=0.0, grade="parse_failure",
                     reply="nothing", truncated=True) for sample in (0, 1)]  # fmt: skip
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "samples.jsonl").write_text(lines_of(rows, 10**6), encoding="utf-8")
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["samples", *map(str, arguments)])
    done = capsys.readouterr()
    return code, done.out, done.err


def rows_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict[str, Any]]:
    code, out, err = said(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def test_without_a_choice_the_latest_update_is_shown_below_what_became_of_all(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, run_folder)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == [
        "updates",
        "samples",
        "reward",
        "correct",
        "wrong",
        "answer",
        "parse",
        "failure",
        "cut",
        "off",
    ]
    assert [line.split() for line in lines[1:4]] == [["1", "4", "0.350", "0%", "50%", "50%", "2"], ["2", "4", "0.425", "25%", "25%", "50%", "2"],
                                                     ["4", "4", "0.425", "25%", "25%", "50%", "2"]]  # fmt: skip
    assert out.count("update 4") == 4 and "update 2 " not in out and out.count("How many eggs?") == 1


def test_choices_and_orders(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = rows_of(capsys, run_folder, "--best", "-n", 3)
    assert [(one["reward"], one["update"]) for one in best] == [(1.0, 4), (1.0, 2), (0.7, 4)]
    worst = rows_of(capsys, run_folder, "--worst", "-n", 2)
    assert [(one["reward"], one["update"]) for one in worst] == [(0.0, 4), (0.0, 4)]
    assert {one["update"] for one in rows_of(capsys, run_folder, "--update", "2-4")} == {2, 4}
    assert {one["grade"] for one in rows_of(capsys, run_folder, "--grade", "correct")} == {"correct"}
    assert {one["id"] for one in rows_of(capsys, run_folder, "--search", "HENS")} == {"b"}
    assert {one["id"] for one in rows_of(capsys, run_folder, "--search", "line of 4")} == {"a"}
    assert len(rows_of(capsys, run_folder, "--prompt", "how many")) == 12
    assert len(rows_of(capsys, run_folder, "--best")) == 12
    assert rows_of(capsys, run_folder / "samples.jsonl", "--update", 1) == rows_of(
        capsys, run_folder, "--update", "1-1"
    )
    code, out, _ = said(capsys, run_folder, "--best", "-n", "5")
    assert code == 0 and "7 more; -n 12 shows all" in out


def test_how_one_prompts_replies_changed(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "EGGS"):
        code, out, _ = said(capsys, run_folder, "--prompt", name)
        assert code == 0
        assert re.findall(r"^update (\d): 2 replies, reward ([\d.]+)$", out, re.MULTILINE) == [
            ("1", "0.700"),
            ("2", "0.850"),
            ("4", "0.850"),
        ]
        assert "  + - line of 2" in out and "  + - line of 4" in out and "  + - {op: init" not in out
        assert out.count("as at update 1") == 2, "what was said before is not said again"
    code, out, _ = said(capsys, run_folder, "--prompt", "how many")
    assert code == 0 and "2 prompts have 'how many' in them" in out and "a  6 replies  How many eggs?" in out


@pytest.mark.parametrize("most", [1, 2, 3, 7, 20])
def test_of_many_updates_the_first_and_the_last_are_shown(most: int, capsys: pytest.CaptureFixture[str]) -> None:
    show_prompt(Screen(soft_wrap=True), [row(update=at, reply=f"{at}") for at in range(1, 21)], most)
    shown = [int(number) for number in re.findall(r"^update (\d+):", capsys.readouterr().out, re.MULTILINE)]
    assert len(shown) == most and shown[-1] == 20 and (most == 1 or shown[0] == 1)


def test_many_updates_are_a_few_rows(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(update=at, reward=at / 100) for at in range(1, 101)]
    table = table_of(rows)
    assert table.row_count == 10
    assert list(table.columns[0].cells)[::9] == ["1-10", "91-100"]
    assert list(table.columns[2].cells)[-1] == "0.955"


@pytest.mark.parametrize("width", [12, 30, 200])
def test_a_table_keeps_its_figures_whatever_the_width(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(soft_wrap=True)
    screen.width = width
    show_table(screen, table_of([row(update=at, reward=0.123) for at in range(1, 31)]))
    out = capsys.readouterr().out
    assert "…" not in out and out.count("0.123") == 10 and "28-30" in out
    assert ("reward 0.123" in out) == (width < 200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grade", "solved"], "no sample for --grade 'solved'; there are 12 of updates 1-4, graded correct, parse_failure, wrong_answer"),
        (["--update", "3"], "no sample for --update 3; there are 12"),
        (["--prompt", "zebra"], "no sample for --prompt 'zebra'"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_one_line(
    run_folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    for more in ([], ["--json"]):
        code, out, err = said(capsys, run_folder, *arguments, *more)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err


@pytest.mark.parametrize("span", ["0", "5-3", "x", "-1", "1-"])
def test_an_update_that_is_none_is_a_usage_error(
    run_folder: Path, capsys: pytest.CaptureFixture[str], span: str
) -> None:
    with pytest.raises(SystemExit):
        main(["samples", str(run_folder), f"--update={span}"])
    assert "is neither an update" in capsys.readouterr().err


def test_folders_and_files_that_hold_no_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sft").mkdir()
    for name, content, message in (
        ("absent", None, "no such directory"),
        ("sft", None, "has no samples.jsonl"),
        ("empty.jsonl", "", "is empty: no update has been saved yet"),
        ("other.jsonl", '\n{"question": "How many?"}\n', "line 2 is no sample, nor is any other"),
        ("half.jsonl", '{"update": 1, "gro', "line 1 is no sample"),
    ):
        if content is not None:
            (tmp_path / name).write_text(content, encoding="utf-8")
        code, out, err = said(capsys, tmp_path / name)
        assert (code, out) == (2, "")
        assert message in err and err.count("\n") == 1


def test_a_last_line_that_is_half_written_is_no_fault_and_others_are_told(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run_folder / "samples.jsonl"
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole + whole[:50], encoding="utf-8")
    code, out, err = said(capsys, run_folder)
    assert (code, err, out.count("update 4")) == (0, "", 4)
    file.write_text("no sample\n" + whole, encoding="utf-8")
    code, out, err = said(capsys, run_folder)
    assert code == 0 and "1 of 13 lines are no samples and were passed over, the first is 1" in err


def test_what_is_foreign_is_shown_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;title\x07\x1b[31m [red]x[/red] \u202e :smile:"
    file = tmp_path / "samples.jsonl"
    file.write_text(
        lines_of([row(question=evil, reply=evil, detail=evil, id=evil, answer=evil)], 10**6), encoding="utf-8"
    )
    for arguments in ([], ["--prompt", evil], ["--json"], ["--best"]):
        code, out, _ = said(capsys, file, *arguments)
        assert code == 0
        assert not set(out) & {"\x1b", "\x07", "\u202e"}
        assert "[red]x[/red]" in out and ":smile:" in out


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_narrow_terminal_cuts_nothing_off(run_folder: Path, width: int) -> None:
    """A terminal of its own: lines wrap, a pager that only passes on gets colours, and every word is there."""
    keyboard, screen = os.openpty()
    environment = os.environ | {"COLUMNS": str(width), "PAGER": "cat", "TERM": "xterm-256color"}
    done = subprocess.Popen([sys.executable, "-m", "mlx_trace", "samples", str(run_folder), "--worst", "-n", "2"], stdin=screen,
                            stdout=screen, stderr=screen, env=environment)  # fmt: skip
    os.close(screen)
    shown = b""
    while True:
        try:
            part = os.read(keyboard, 4096)
        except OSError:  # its end
            break
        if not part:
            break
        shown += part
    assert done.wait(60) == 0
    os.close(keyboard)
    text = shown.decode().replace("\r\n", "\n")
    assert "\x1b[" in text, "there are colours"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert max(map(len, plain.splitlines())) <= width
    assert "parse failure reward 0" in " ".join(plain.split())
    assert "hens" in plain


def test_a_reader_that_leaves_ends_it(run_folder: Path) -> None:
    script = f"'{sys.executable}' -m mlx_trace samples '{run_folder}' --json --best | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {script}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
