"""What programs call: importing is light, nothing is printed, mistakes are lines, and figures are those of the commands."""

import ast
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlx_trace
from mlx_trace import api
from mlx_trace.api import html
from mlx_trace.api.quiet import logged
from mlx_trace.api.reply import ModelReply
from mlx_trace.chat import Reply
from mlx_trace.cli.main import main
from mlx_trace.language.grade import grade
from mlx_trace.notice import tell
from mlx_trace.resources import adapters_dir, tiny_dir

Out = pytest.CaptureFixture[str]
QUESTION = "I had 20 eggs and sold 4 of them. How many are left?"
OTHER = "Ann has 12 pens in 3 boxes. How many are in each box?"
TINY: dict[str, Any] = {"model": "tiny", "data": [{"source": "synthetic", "n": 8}], "max_seq_length": 512, "num_layers": 1,
                        "iters": 3, "batch_size": 2, "contamination": []}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> mlx_trace.Model:
    return mlx_trace.load("tiny")


def test_importing_is_light_and_solving_needs_no_network_library() -> None:
    lines = "import sys, mlx_trace\nfirst = set(sys.modules)\nmlx_trace.solve('x')\nprint(*first)\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    first, after = (set(line.split()) for line in done.stdout.splitlines())
    assert {"mlx", "mlx.core", "pydantic", "rich", "numpy", "yaml", "importlib.metadata"}.isdisjoint(first)
    assert {"mlx", "mlx.core", "transformers", "numpy", "rich"}.isdisjoint(after)


def test_what_is_said_to_be_there_is() -> None:
    for name in mlx_trace.__all__:
        assert getattr(mlx_trace, name) is not None
        assert name in dir(mlx_trace)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = mlx_trace.no_such_name


def test_rooms_are_modules_and_can_be_called() -> None:
    import mlx_trace.evaluate.stats
    import mlx_trace.train.metrics

    assert mlx_trace.train.metrics.verdict and mlx_trace.evaluate.stats.wilson  # type: ignore[attr-defined]
    assert list(inspect.signature(mlx_trace.train).parameters) == [
        "config",
        "resume",
        "overwrite",
        "report",
        "overrides",
    ]
    assert list(inspect.signature(mlx_trace.evaluate).parameters)[:3] == ["model", "data", "n"]


@given(st.text(), st.text())
def test_what_is_foreign_is_text_in_html(heading: str, cell: str) -> None:
    shown = html.table((heading,), [(cell,)]) + html.paragraph(cell)
    bare = html.table(("",), [("",)]) + html.paragraph("")
    assert shown.count("<") == bare.count("<") and shown.count(">") == bare.count(">")
    assert shown.count('"') == bare.count('"')
    assert "\x1b" not in shown


def test_a_reply_is_shown_with_nothing_of_it_acting() -> None:
    hostile = "<script>alert(3)</script>\x1b[31m"
    reply = ModelReply(f"{hostile} 3", Reply(hostile, grade(hostile), 3, False, (hostile,)))
    assert "<script" not in reply._repr_html_() and "\x1b" not in reply._repr_html_() + repr(reply) + str(reply)
    assert reply.answer is None and reply.value is None and reply.steps == [] and reply.numbers_used == []
    assert "no answer" in str(reply)


def test_ask_answers_as_the_command_does(model: mlx_trace.Model, capsys: Out) -> None:
    reply, voted = model.ask(QUESTION), model.ask(QUESTION, samples=3, seed=1)
    assert capsys.readouterr() == ("", "")
    assert main(["ask", "--json", QUESTION]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(reply.as_row()))
    assert reply.value == 16 and reply.numbers_used == ["20", "4"] and reply.agreement is None
    assert sum(voted.votes.values()) <= 3 and voted.agreement is not None
    assert model.ask(QUESTION, samples=3, seed=1).as_row() == voted.as_row()


def test_samples_are_those_of_their_seed_however_they_are_batched(model: mlx_trace.Model) -> None:
    def texts(**changes: Any) -> list[list[str]]:
        return [[reply.trace for reply in own] for own in model.sample([QUESTION, OTHER], 2, **changes)]

    assert texts(seed=3) == texts(seed=3, batch_size=1)
    assert [len(own) for own in texts()] == [2, 2]
    single = model.sample(QUESTION, 2, seed=3)
    assert [reply.question for reply in single] == [QUESTION] * 2
    assert model.sample([]) == []


def mistakes(model: mlx_trace.Model) -> dict[str, Callable[[], object]]:
    return {
        "no number is stated": lambda: model.ask("How many?"), "the question is empty": lambda: model.ask(" "),
        "a question is text, not a int": lambda: model.sample([3]),  # type: ignore[list-item]
        "samples is 0": lambda: model.ask(QUESTION, samples=0), "temperature is -1": lambda: model.ask(QUESTION, temperature=-1),
        "at temperature 0": lambda: model.ask(QUESTION, samples=2, temperature=0), "there is no foo": lambda: model.ask(QUESTION, foo=1),  # type: ignore[call-arg]
        "the shortest trace takes": lambda: model.ask(QUESTION, max_tokens=2),
        "did you mean tiny?": lambda: mlx_trace.load("tiyn"), "no such adapter": lambda: mlx_trace.load(adapter_path="absent"),
        "a trace is text": lambda: mlx_trace.solve(3),  # type: ignore[arg-type]
        "'x', which is not a number": lambda: mlx_trace.solve("x", expected="x"), "not one of": lambda: mlx_trace.solve("x", expert="x"),
        "does not compile: no worked solution": lambda: mlx_trace.compile("3 eggs?", "no"),
        "data holds no problems": lambda: mlx_trace.evaluate(model, []), "data is a dict": lambda: mlx_trace.evaluate(model, {"a": 1}),
        "data[1]: is a int": lambda: mlx_trace.evaluate(model, [{"question": "3 eggs?", "answer": 3}, 3]),  # type: ignore[list-item]
        "data[0]: has no answer": lambda: mlx_trace.evaluate(model, [{"question": "3 eggs?", "answer": None, "trace": "x"}]),
        "n is 0": lambda: mlx_trace.evaluate(model, n=0), "by is 'x'": lambda: mlx_trace.evaluate(model, by="x"),  # type: ignore[arg-type]
        "did you mean learning_rate?": lambda: mlx_trace.train(TINY, lr=3), "did you mean tiny? ": lambda: mlx_trace.train("tny"),
        "batch_size: input should be": lambda: mlx_trace.train(TINY, batch_size=0), "config is a int": lambda: mlx_trace.train(3),  # type: ignore[arg-type]
        "nofile.jsonl: no such file": lambda: mlx_trace.train(TINY, data="nofile.jsonl"),
        "trust_remote_code=True) allows it": lambda: mlx_trace.train({**TINY, "trust_remote_code": True}),
        "questions is a int": lambda: model.sample(3), "model is a int": lambda: mlx_trace.load(3),  # type: ignore[arg-type, call-overload]
        "adapter_path is a int": lambda: mlx_trace.load("tiny", 3), "dtype is 'x'": lambda: mlx_trace.load("tiny", dtype="x"),  # type: ignore[arg-type]
        "fields is a int": lambda: mlx_trace.evaluate(model, fields=3),  # type: ignore[arg-type]
        "report is a int": lambda: mlx_trace.evaluate(model, report=3),  # type: ignore[arg-type]
        "report is a str": lambda: mlx_trace.train(TINY, report="x"), "data is a int": lambda: mlx_trace.train(TINY, data=3),  # type: ignore[arg-type]
        "path is a int": lambda: mlx_trace.TrainedRun.open(3),  # type: ignore[arg-type]
        "resume=True needs": lambda: mlx_trace.train(resume=True),
        "overwrite=True replaces it": lambda: mlx_trace.train(TINY, resume=True, overwrite=True),
        "has no config.yaml": lambda: mlx_trace.TrainedRun.open("absent"), "model: the name is empty": lambda: mlx_trace.load(""),
        "resume=True needs the run's directory: adapter_path, or its": lambda: mlx_trace.train(resume=True, iters=2),
        "fields={'answer': 'NAME'} says which": lambda: mlx_trace.evaluate(model, [{"question": "3 eggs?"}]),
    }  # fmt: skip


def test_a_mistake_is_a_line_that_says_what_and_where(
    model: mlx_trace.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    for said, call in mistakes(model).items():
        with pytest.raises(mlx_trace.UserError) as caught:
            call()
        assert said in str(caught.value), said
        assert "--" not in str(caught.value), "a flag, which nobody here has"
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_with_a_run_names_arguments_here_and_flags_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(adapters_dir() / "tiny", "run")
    lost = Path(shutil.copytree("run", "lost")) / "adapter_config.json"
    lost.write_text(json.dumps(json.loads(lost.read_text()) | {"model": "./gone"}))
    code = tmp_path / "code"
    code.mkdir()
    figures = json.loads((tiny_dir() / "config.json").read_text())
    (code / "config.json").write_text(json.dumps(figures | {"model_file": "x.py"}))
    run, keys = "run", {"model": "tiny", "adapter_path": "run"}
    for told, flags, call, command in (
        ("run: holds a run already; resume=True continues it, overwrite=True replaces it", "--resume continues it",
         lambda: mlx_trace.train(keys), "train --adapter-path run"),
        ("run: resume=True goes on with a run as it was started; without a configuration and overrides",
         "run: --resume goes on with a run as it was started; without -c and other flags",
         lambda: mlx_trace.train(resume=True, adapter_path=run, iters=9), "train --resume --adapter-path run --iters 9"),
        ("if it is a path; model names it", "if it is a path; --model names it",
         lambda: mlx_trace.load(adapter_path="lost"), "chat --adapter-path lost"),
        ("to build it; trust_remote_code=True allows that", "to build it; --trust-remote-code allows that",
         lambda: mlx_trace.load(code, "none"), "chat --model code --adapter-path none"),
    ):  # fmt: skip
        with pytest.raises(mlx_trace.UserError) as caught:
            call()
        assert told in str(caught.value) and "--" not in str(caught.value)
        assert main(command.split()) == 2
        assert flags in capsys.readouterr().err


def test_no_message_of_these_modules_names_a_flag() -> None:
    for module in Path(api.__file__).parent.glob("*.py"):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        documented = [node.body[0].value for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
                      and isinstance((node.body or [None])[0], ast.Expr)]  # fmt: skip
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in documented]
        assert not [text for text in texts if isinstance(text, str) and re.search(r"(?<!\w)--[a-z]", text)], module


def test_a_model_is_asked_in_its_own_thread(model: mlx_trace.Model) -> None:
    faults: list[str] = []

    def ask() -> None:
        try:
            model.ask(QUESTION)
        except mlx_trace.UserError as error:
            faults.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert "was loaded in another thread" in faults[0]


def test_notices_go_to_the_logger(capsys: Out, caplog: pytest.LogCaptureFixture) -> None:
    with logged():
        tell("a notice\x1b[31m")
        tell("one that a person waits for", is_urgent=True)
    tell("a command's")
    assert caplog.messages == ["a notice␛[31m"]
    assert capsys.readouterr().err == "mlx-trace: one that a person waits for\nmlx-trace: a command's\n"


def test_evaluate_has_the_figures_of_the_command(model: mlx_trace.Model, tmp_path: Path, capsys: Out) -> None:
    rows = [{"question": QUESTION, "answer": 16}, {"question": OTHER, "answer": "4"}]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    measured = mlx_trace.evaluate(model, file)
    assert capsys.readouterr() == ("", "")
    assert main(["eval", "--json", "--data", str(file)]) == 0
    printed = json.loads(capsys.readouterr().out)
    own = json.loads(json.dumps(measured.as_json()))
    assert {**own, "seconds": 0} == {**printed, "seconds": 0}
    given = mlx_trace.evaluate(model, rows)
    assert given.correct == measured.correct and given.interval == measured.correct.interval
    measured.save(tmp_path / "records.jsonl")
    assert main(["compare", str(tmp_path / "records.jsonl"), str(tmp_path / "records.jsonl")]) == 0


def test_ctrl_c_saves_and_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path, capsys: Out) -> None:
    def stop(phase: str, done: int, updates: int, metrics: dict[str, Any]) -> None:
        if done == 1:
            signal.raise_signal(signal.SIGINT)

    path = tmp_path / "stopped"
    with pytest.raises(mlx_trace.Interrupted, match=r"train\(resume=True, adapter_path='"):
        mlx_trace.train(TINY, adapter_path=path, report=stop)
    assert capsys.readouterr() == ("", "mlx-trace: finishing this update; once more stops at once\n")
    resumed = mlx_trace.train(resume=True, adapter_path=path)
    whole = mlx_trace.train(TINY, adapter_path=tmp_path / "whole")
    assert capsys.readouterr() == ("", "")
    weights = [(run.adapter_path / "adapters.safetensors").read_bytes() for run in (resumed, whole)]
    assert weights[0] == weights[1]
    assert resumed.curve("loss") == whole.curve("loss") and resumed.curve("loss", "sft")[0] == [1, 2, 3]
    assert resumed.figures["updates"] == 3 and resumed.config.iters == 3
    with pytest.raises(mlx_trace.UserError, match="no update measured 'reward'; there are epoch"):
        whole.curve("reward")
    assert str(whole.adapter_path) in whole._repr_html_()


def test_a_run_in_another_thread_hears_no_signals_and_ends(tmp_path: Path) -> None:
    runs: list[mlx_trace.TrainedRun] = []
    thread = threading.Thread(target=lambda: runs.append(mlx_trace.train(TINY, iters=1, adapter_path=tmp_path / "run")))
    thread.start()
    thread.join()
    assert runs[0].figures["updates"] == 1
