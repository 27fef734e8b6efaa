"""Every command helps, and every mistake of a user is one clear line per fault, exit code 2, and nothing touched."""

import argparse
import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mlx_trace.cli.main import COMMANDS, main
from mlx_trace.cli.records import write_records
from mlx_trace.errors import UserError
from tests.conftest import byte_level_tokenizer, write_model
from tests.model.test_base import make_adapter

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in an empty directory; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_with_an_example(run: Run, name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    example = out.split("example:\n")[1].strip()
    assert example.startswith(f"mlx-trace {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_help_are_well_formed(name: str) -> None:
    from mlx_trace.cli.main import make_parser

    words = COMMANDS[name][2].split()
    make_parser(name).parse_args(words[2:])


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_fits_eighty_columns(run: Run, monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run(*([name] if name else []), "--help")
    assert [line for line in out.splitlines() if len(line) > 80] == []


def actions() -> dict[str, dict[str, argparse.Action]]:
    """Return by each long flag the commands that have it."""
    from mlx_trace.cli.main import make_parser

    found: dict[str, dict[str, argparse.Action]] = {}
    for name in COMMANDS:
        for action in make_parser(name)._actions:
            for flag in action.option_strings[-1:]:
                found.setdefault(flag, {})[name] = action
    return found


def test_a_flag_says_the_same_in_every_command() -> None:
    known = actions()
    for flag in ("--seed", "--dtype", "--trust-remote-code", "--field", "--temperature", "--any-base", "--schema"):
        said = {re.split(r";| \(default", action.help or "")[0] for action in known[flag].values()}
        assert len(said) == 1, (flag, said)
    own = {
        "--adapter-path": {"RUN", "DIR"},
        "--against": {"FILE.jsonl", "WAY"},
        "--data": {"FILE", "synthetic|phrasing|everyday|FILE"},
        "--output": {"FILE", "FILE.jsonl", "FILE.html"},
    }
    for flag, by_command in known.items():
        metavars = {action.metavar for name, action in by_command.items() if name != "train" and action.nargs != 0}
        assert metavars <= own.get(flag, metavars) and (flag in own or len(metavars) < 2), (flag, metavars)


def test_the_overview_names_every_command(run: Run) -> None:
    for arguments in (("--help",), ("-h",), ("help",)):
        code, out, _ = run(*arguments)
        assert code == 0
        assert all(f"  {name}" in out for name in COMMANDS)
    assert run()[0] == 2
    code, out, _ = run("--version")
    assert (code, out.split()[0]) == (0, "mlx-trace")


def test_an_unknown_command_suggests_the_nearest(run: Run) -> None:
    code, _, err = run("trian")
    assert code == 2
    assert "did you mean train?" in err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_flag_is_one_line(run: Run, name: str) -> None:
    code, out, err = run(name, "--no-such-flag")
    assert code == 2
    assert out == ""
    assert "--help" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("train", "--learning-rat", "1"), "did you mean --learning-rate?"), (("train", "--lr", "1"), "did you mean --learning-rate?"),
     (("train", "--group-size", "2"), "did you mean --reinforce.group-size?"), (("train", "--rank=3"), "did you mean --lora-parameters.rank?"),
     (("train", "-seed", "2"), "did you mean --seed?"), (("train", "--batch_size", "2"), "did you mean --batch-size?"),
     (("train", "-c", "tny"), "did you mean tiny?"), (("chat", "--adaptor-path", "x"), "did you mean --adapter-path?"),
     (("eval", "--max-token", "3"), "did you mean --max-tokens?"), (("solve", "x", "--expect", "3"), "did you mean --expected?"),
     (("generate", "--outptu", "x"), "did you mean --output?"), (("fuse", "--save-pth", "x"), "did you mean --save-path?"),
     (("train", "--max-completion-length", "9"), "did you mean --reinforce.max-tokens?"), (("train", "--train",), "; leave it out"),
     (("train", "--per-device-train-batch-size", "4"), "did you mean --batch-size?"), (("chat", "--temp", "1"), "did you mean --temperature?"),
     (("train", "--steps-per-report", "5"), "; every update is told of"), (("serve", "--top-p", "1"), "; temperature is all"),
     (("fuse", "--hf-path", "x"), "did you mean --model?"), (("train", "--optimizer", "adam"), "; it is always AdamW"),
     (("memory", "--modle", "x"), "did you mean --model?"), (("doctor", "--jason"), "did you mean --json?")],
)  # fmt: skip
def test_a_mistyped_flag_is_named(run: Run, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert said in err


@pytest.mark.parametrize("arguments", [("ask", "-p", "q"), ("generate", "--hel", "x"), ("train", "--hepl")])
def test_neither_help_nor_a_flag_of_earlier_versions_is_taken_for_what_was_meant(
    run: Run, arguments: tuple[str, ...]
) -> None:
    assert not re.search(r"mean --(?:help|cap)\?", run(*arguments)[2])


@pytest.mark.parametrize("arguments", [("generate", "-n", "1", "-o", "x.jsonl"), ("audit",), ("variants", "x", "-o", "y"),
                                       ("tiny", "rebuild", "--save-path", "x"), ("train",)])  # fmt: skip
def test_a_seed_beyond_all_seeds_is_one_line(run: Run, arguments: tuple[str, ...]) -> None:
    code, _, err = run(*arguments, "--seed", str(1 << 64))
    assert code == 2
    assert "seed" in err and "Traceback" not in err


def test_a_run_resumed_with_another_configuration_is_told_in_words(
    run: Run, tmp_path: Path, random_model: Path
) -> None:
    flags = [
        "--model",
        random_model,
        "--max-seq-length",
        "2048",
        "--iters",
        "1",
        "--contamination",
        "[]",
        "--adapter-path",
        "run",
    ]
    data = "[{source: synthetic, n: 4, schemas: [rate_equation]}]"
    assert run("train", *flags, "--data", data)[0] == 0
    code, _, err = run("train", "--resume", "-c", "tiny", "--adapter-path", "run")
    assert code == 2
    assert "{" not in err and "[" not in err and "None" not in err
    assert "lora_parameters.rank: the run was started with 8, not 32" in err
    assert "without -c and other flags it does" in err
    code, _, err = run("train", "--resume", "--adapter-path", "run", "--data", "[{source: synthetic, n: 5}]")
    assert code == 2
    assert (
        "data: the run was started with n 4, source synthetic, schemas rate_equation, number_word_rate 0.15, not n 5"
        in err
    )
    assert "{" not in err and "[" not in err


CONFIGS = {
    "broken.yaml": (b"model: [tiny\nseed: 1", "not YAML"),
    "unknown.yaml": (b"model: tiny\nlearning_rat: 1", "learning_rat: there is no such key"),
    "empty.yaml": (b"", "is empty"),
    "comment.yaml": (b"# nothing\n", "is empty"),
    "list.yaml": (b"- model: tiny", "is a list"),
    "text.yaml": (b"tiny", "is a str"),
    "binary.yaml": (bytes(range(256)), "not UTF-8"),
    "nul.yaml": (b"model: t\x00iny", "not YAML"),
    "duplicate.yaml": (b"model: tiny\nseed: 1\nseed: 2", "'seed' stands twice"),
    "inner_duplicate.yaml": (b"reinforce: {iters: 1, iters: 2}", "'iters' stands twice"),
    "wrong_type.yaml": (b"batch_size: many", "batch_size"),
    "out_of_range.yaml": (b"learning_rate: -1", "greater than 0"),
    "bad_source.yaml": (b"data: [{source: thin_air, n: 5}]", "thin_air"),
    "no_model.yaml": (b"model: no/such/model/here", "there is no model"),
    "no_data.yaml": (b"data: [{source: file, path: absent.jsonl}]", "absent.jsonl: no such file"),
    "rewards.yaml": (b"reinforce: {rewards: {correct: 0.1}}", "must fall"),
    "lonely.yaml": (b"reinforce: {group_size: 1}", "group_size must be 2"),
    "self_reference.yaml": (b"&a [*a]", "its aliases and merge keys repeat more than"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_bad_configuration_is_a_line_with_file_and_key(run: Run, tmp_path: Path, name: str) -> None:
    content, said = CONFIGS[name]
    (tmp_path / name).write_bytes(content)
    code, _, err = run("train", "-c", name, "--adapter-path", "run")
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_every_fault_of_a_configuration_is_told_ten_at_most(run: Run, tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text("\n".join(f"key_{n}: 1" for n in range(14)), encoding="utf-8")
    code, _, err = run("train", "-c", "many.yaml")
    lines = err.strip().splitlines()
    assert code == 2
    assert len(lines) == 11
    assert all(f"key_{n}" in line for n, line in enumerate(lines[:10]))
    assert "4 more" in lines[10]


def test_a_bad_flag_value_names_the_flag(run: Run) -> None:
    code, _, err = run("train", "-c", "tiny", "--reinforce.iters", "many", "--batch-size", "0")
    assert code == 2
    assert "--reinforce.iters" in err
    assert "--batch-size" in err


@pytest.mark.parametrize("arguments", [("train", "-c", "absent.yaml"), ("solve", "absent.yaml"), ("eval", "--data", "absent.jsonl"),
                                       ("eval", "--adapter-path", "absent"), ("chat", "--adapter-path", "absent"),
                                       ("chat", "--model", "absent"), ("fuse", "--adapter-path", "absent", "--save-path", "x"),
                                       ("train", "--resume", "--adapter-path", "absent"), ("train", "--resume"),
                                       ("generate", "--schema", "absent", "-o", "x.jsonl"), ("generate", "-n", "5"),
                                       ("generate", "-n", "3", "-o", "no/such/folder/x.jsonl"), ("generate", "-n", "3", "-o", "."),
                                       ("audit", "--schemas-dir", "absent"), ("generate", "-n", "0", "-o", "x.jsonl"),
                                       ("generate", "-n", "3", "--number-word-rate", "7", "-o", "x.jsonl"),
                                       ("fuse",), ("fuse", "--gguf-type", "f32", "--save-path", "x"),
                                       ("fuse", "--gguf", "."), ("fuse", "--gguf", "/proc/none/x.gguf"), ("fuse", "--gguf", "x.gguf", "--gguf-type", "q4_k"),
                                       ("tiny", "rebuild"), ("train", "--resume", "--overwrite")])  # fmt: skip
def test_what_is_missing_or_wrong_is_told(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert err.strip()
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b'{"question": "q", "ans', b'{"question": "q"}', b"\xff\xfe", b"\x00\x01"])
@pytest.mark.parametrize("command", ["eval", "train"])
def test_a_bad_data_file_is_told_before_any_model_is_loaded(
    run: Run, tmp_path: Path, content: bytes, command: str
) -> None:
    (tmp_path / "data.jsonl").write_bytes(content)
    (tmp_path / "c.yaml").write_text("data: [{source: file, path: data.jsonl}]", encoding="utf-8")
    flags = ("--data", "data.jsonl") if command == "eval" else ("-c", "c.yaml", "--adapter-path", "run")
    code, _, err = run(command, *flags)
    assert code == 2
    assert "data.jsonl" in err
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_not_llama_shaped_and_an_adapter_of_another_base(
    run: Run, tmp_path: Path, random_model: Path
) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    for command in (("chat",), ("eval", "-n", "3"), ("train",)):
        code, _, err = run(*command, "--model", "bert")
        assert code == 2
        assert "'bert'" in err
    make_adapter(random_model, tmp_path / "run")
    write_model(tmp_path / "other", byte_level_tokenizer(), seed=1)
    for command in (("chat",), ("eval", "-n", "3"), ("fuse", "--save-path", "fused")):
        code, _, err = run(*command, "--model", "other", "--adapter-path", "run")
        assert code == 2
        assert "another base" in err
    assert not (tmp_path / "fused").exists()


def test_faults_are_ten_lines_and_a_count() -> None:
    assert UserError(*map(str, range(12))).lines() == [*map(str, range(10)), "… and 2 more"]


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    lines = tmp_path / "many.jsonl"
    lines.write_text('{"text": "x", "expected": null, "expert": null}\n' * 20_000, encoding="utf-8")
    script = f"'{sys.executable}' -m mlx_trace solve --jsonl '{lines}' | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {script}"], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["kind"] == "parse_failure"
    assert done.stderr == ""


def imported(code: str) -> set[str]:
    """Return the names of the modules that a process holds after some lines of Python."""
    done = subprocess.run([sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"],
                          capture_output=True, text=True, check=True, env=dict(os.environ))  # fmt: skip
    return set(done.stderr.split())


def test_the_overview_imports_nothing_but_the_standard_library() -> None:
    bare = imported("")
    names = imported("from mlx_trace.cli.main import main; main(['--help'])") - bare
    assert {name.partition(".")[0] for name in names} <= {*sys.stdlib_module_names, "mlx_trace"}
    assert {"importlib.metadata", "asyncio", "dataclasses"}.isdisjoint(names)  # each would double what it takes


def test_language_commands_start_quickly(tmp_path: Path) -> None:
    file = tmp_path / "trace.yaml"
    file.write_text("expert: arithmetic\ntrace:\n- {op: init, var: a, value: 1}\n"
                    "- {op: compute, compute_op: add, args: [a, a], var: b}\n- {op: query, var: b}\n", encoding="utf-8")  # fmt: skip
    names = imported(f"from mlx_trace.cli.main import main; assert main(['solve', {str(file)!r}]) == 0")
    assert {"mlx.core", "mlx_lm", "transformers", "numpy", "inflect"}.isdisjoint(names)


def test_a_current_folder_that_is_gone_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(os, "getcwd", gone)
    code, _, err = run("solve", "trace.yaml")
    assert code == 2
    assert err.count("\n") == 1 and "the current folder was removed" in err
    assert run("--help")[0] == 0


def test_no_folder_for_temporary_files_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> int:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("mlx_trace.cli.solve.run_solve", missing)
    assert run("solve", "x") == (2, "", "mlx-trace: no usable temporary directory found in ['/tmp']\n")


def test_a_name_that_a_macs_disk_cannot_have_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_at(_: object) -> int:
        raise OSError(errno.EILSEQ, "Illegal byte sequence", "\udcff.yaml")

    monkeypatch.setattr("mlx_trace.cli.solve.run_solve", looked_at)
    assert run("solve", "x") == (2, "", "mlx-trace: \ufffd.yaml: illegal byte sequence\n")


def test_records_that_can_be_kept_nowhere_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", missing)
    fault = write_records(tmp_path / "gone" / "r.jsonl", [])
    assert fault is not None
    assert fault.faults[-1].startswith("the records are not kept") and "temporary" in fault.faults[-2]
