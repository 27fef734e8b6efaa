"""`compile`, `variants`, `audit --diversity` and `train --plan`, as a user calls them: figures, files, bad input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_trace.numbered import numbered
from mlx_trace.problems.mixture import read_file
from mlx_trace.problems.split import is_held_out
from tests.cli.test_main import Run, run
from tests.problems.rows import ROWS, write_rows

__all__ = ["run"]  # the fixture

BAD = [
    '{"question": "How many?", "answer": "no gold here"}',
    '{"question": "How many?", "answer": "It is some.\\n#### some"}',
    '{"question": "How many are 4?", "answer": "It is 4/0=<<4/0=9>>9.\\n#### 9"}',
    '{"question": "How many are 4 and 5?", "answer": "It is 4+5=<<4+5=10>>10.\\n#### 10"}',
    '{"question": "How many are 4 and 5?", "answer": "It is plain.\\n#### 77"}',
    '{"answer": "#### 3"}',
    '{"question": 7, "answer": "#### 3"}',
    '["a list"]',
    "{broken",
    json.dumps({"question": "How many? " * 10_000, "answer": "4+5=<<4+5=9>>9\n#### 9"}),
    '{"question": "Half a pair: \\ud800, 4 and 5?", "answer": "4+5=<<4+5=9>>9\\n#### 9"}',
]
REASONS = {
    "no worked solution": 1, "the gold is not a number": 1, "division by zero": 1, "an equation that does not hold": 1,
    "nothing computed": 1, "no question": 2, "not a JSON object": 2, "too long": 1, "broken characters": 1,
    "not UTF-8 text": 1,
}  # fmt: skip


def test_bad_rows_are_counted_by_reason_and_harm_no_other(run: Run, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", *BAD)
    path.write_bytes(
        b"\xef\xbb\xbf" + path.read_bytes() + '{"question": "Wieviel für 4?", "answer": "#### 4"}\n'.encode("latin-1")
    )
    code, out, _ = run("compile", path, "-o", "out.jsonl", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["reasons"] == REASONS
    assert (report["rows"], report["compiled"]) == (len(ROWS) + len(BAD) + 1, len(ROWS))
    assert report["grounded"] == report["compiled"] == sum(report["experts"].values())
    assert report["seconds"] > 0
    problems = read_file(tmp_path / "out.jsonl")
    assert [(problem.question, problem.answer) for problem in problems] == [
        (question, answer.rpartition("#### ")[2]) for question, answer in ROWS
    ]
    assert all(problem.expert is None and problem.trace for problem in problems)


def test_a_person_is_shown_shares_experts_and_reasons(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("compile", write_rows(tmp_path / "rows.jsonl", BAD[0]), "-o", "out.jsonl")
    assert code == 0
    assert "9 rows in" in out
    assert "compiled         8   88.9%" in out
    assert "doubtful         0    0.0%" in out
    assert "by expert:" in out
    assert "no worked solution" in out
    assert "8 problems written to out.jsonl" in out


def test_parts_are_disjoint_and_whole(run: Run, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl")
    lines = []
    for part in ("train", "held-out"):
        code, _, err = run("compile", path, "-o", f"{part}.jsonl", "--part", part)
        if code:
            assert f"none of the {len(ROWS)} compiled problems is {part}" in err
            continue
        lines += (tmp_path / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
    run("compile", path, "-o", "all.jsonl")
    assert sorted(lines) == sorted((tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("command", ["compile", "variants"])
@pytest.mark.parametrize("content", [None, b"", b"\n\n"])
def test_a_file_without_rows_is_an_error_and_nothing_is_written(
    run: Run, tmp_path: Path, command: str, content: bytes | None
) -> None:
    (tmp_path / "out.jsonl").write_text("as it was", encoding="utf-8")
    if content is not None:
        (tmp_path / "rows.jsonl").write_bytes(content)
    code, _, err = run(command, "rows.jsonl", "-o", "out.jsonl")
    assert code == 2
    assert "rows.jsonl: holds no" in err or "no such file" in err
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == "as it was"
    assert not list(tmp_path.glob(".*.tmp"))


def test_an_interrupt_leaves_the_old_file_and_no_other(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlx_trace.cli import compile as command

    def interrupted(path: Path, told: object) -> object:
        yield from list(original(path))[:3]
        raise KeyboardInterrupt

    original = command.compile_file
    monkeypatch.setattr(command, "compile_file", interrupted)
    (tmp_path / "out.jsonl").write_text("as it was", encoding="utf-8")
    code, _, _ = run("compile", write_rows(tmp_path / "rows.jsonl"), "-o", "out.jsonl")
    assert code == 130
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]


def test_variants_of_compiled_problems_and_of_worked_solutions_are_the_same(run: Run, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", BAD[3])
    run("compile", rows, "-o", "compiled.jsonl")
    code, out, _ = run("variants", "compiled.jsonl", "-k", "6", "-o", "a.jsonl", "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["problems"], report["grounded"], report["with_6"], report["yield"]) == (
        len(ROWS),
        len(ROWS),
        len(ROWS),
        1,
    )
    assert report["variants"] == 6 * len(ROWS) == len(read_file(tmp_path / "a.jsonl"))
    code, out, _ = run("variants", rows, "-k", "6", "-o", "b.jsonl", "--json")
    assert json.loads(out)["reasons"] == {"an equation that does not hold": 1}
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_variants_say_why_problems_are_of_no_use(run: Run, tmp_path: Path) -> None:
    trace = "expert: arithmetic\ntrace:\n- {op: init, var: a, value: 99}\n- {op: init, var: b, value: 4}\n" \
            "- {op: compute, compute_op: mul, args: [a, b], var: result}\n- {op: query, var: result}"  # fmt: skip
    problems = [
        {"question": "How many are 4?", "answer": "396", "trace": trace},
        {"question": "How many are 4?", "answer": "397", "trace": trace},
        {"question": "How many are 4?", "answer": "4"},
        {"question": "How many are 4?", "unknown": 1},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, problems)), encoding="utf-8")
    code, _, err = run("variants", "p.jsonl", "-o", "out.jsonl")
    assert code == 2
    for reason in ("not grounded", "its trace does not solve to its answer", "no trace", "not a problem"):
        assert f"1 {reason}" in err
    assert "p.jsonl: none of its 4 problems has a variant" in err
    assert not (tmp_path / "out.jsonl").exists()


def test_diversity_is_shown_side_by_side(run: Run, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    code, out, _ = run("audit", "--diversity", "--against", rows, "--schema", "arithmetic", "--json")
    figures = json.loads(out)
    assert code == 0
    assert list(figures) == ["synthetic", "rows.jsonl", "compiled"]
    assert {name: source["problems"] for name, source in figures.items()} == dict.fromkeys(figures, len(ROWS))
    code, out, _ = run("audit", "--diversity", "-n", "50")
    assert code == 0
    assert "numbers as words" in out
    assert run("audit", "--against", rows)[0] == 2


def test_rows_without_solutions_are_an_error_that_says_what_they_serve(run: Run, tmp_path: Path) -> None:
    rows = [{"Body": "Ann has 5 pens and buys 7.", "Question": "How many?", "Answer": 12.0}]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    code, _, err = run("compile", "a.json", "-o", "out.jsonl")
    assert code == 2
    assert "a.json: none of its 1 rows compiles: 1 no worked solution" in err
    assert "rows with answers alone serve reinforcement and evaluation" in err
    assert not (tmp_path / "out.jsonl").exists()
    code, _, err = run("compile", "a.json", "-o", "out.jsonl", "--field", "question=Frage")
    assert code == 2
    assert "no field 'Frage' for the question; the row has Body, Question, Answer" in err


def test_compile_reads_solutions_from_a_column_of_their_own(run: Run, tmp_path: Path) -> None:
    text = "Text;Rechnung;Wert\nAnn has 5 pens and buys 7. How many?;5+7=12;12 (pens)\n"
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    code, out, _ = run("compile", "a.csv", "-o", "out.jsonl", "--json", "--field", "question=Text", "solution=Rechnung",
                       "answer=Wert")  # fmt: skip
    assert code == 0
    assert json.loads(out)["compiled"] == 1
    assert read_file(tmp_path / "out.jsonl")[0].answer == "12"


def test_train_takes_files_as_data(run: Run, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    run("compile", rows, "-o", "compiled.jsonl")
    answers = [{"Frage": f"How many are {n} and 6 pens?", "Wert": n + 6} for n in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, answers)), encoding="utf-8")
    quick = ("--num-layers", "2", "--contamination", "[]", "--plan")
    code, out, _ = run("train", "--data", rows, "--data", "[{source: synthetic, n: 5}]", *quick)
    assert code == 0
    assert "compiled rows.jsonl" in out
    assert "synthetic" in out
    code, out, _ = run("train", "--data", "compiled.jsonl", *quick)
    assert code == 0
    kept = sum(not is_held_out(question) for question, _ in ROWS)
    assert f"sft: {numbered(-(-kept // 8), 'update')} on {kept} examples" in out
    told = (
        "--field",
        "question=Frage",
        "answer=Wert",
        "--epochs",
        "0",
        "--reinforce.iters",
        "1",
        "--reinforce.max-tokens",
        "100",
    )
    code, out, _ = run("train", "--data", "a.jsonl", *told, *quick)
    assert code == 0
    assert "1 update on 4 prompts" in out


@pytest.mark.parametrize("data", ["nope.jsonl", "synthetic", "", ".", "[{source: file}]"])
def test_train_says_why_data_is_none(run: Run, data: str) -> None:
    code, _, err = run("train", "--data", data, "--plan")
    assert code == 2
    assert "no such file" in err or "is no file" in err or "is a directory" in err or "path" in err


def test_a_plan_shows_sources_lengths_and_contamination_and_trains_nothing(run: Run, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    (tmp_path / "c.yaml").write_text(
        "num_layers: 2\ndata:\n- {source: synthetic, share: 0.5}\n"
        f"- {{source: compiled, file: {rows}, variants: 2}}\ncurriculum: steps\n"
        f"contamination: [synthetic, {rows}]\nreinforce: {{iters: 1, max_tokens: 100}}\n", encoding="utf-8"
    )  # fmt: skip
    code, out, _ = run("train", "-c", "c.yaml", "--plan")
    assert code == 0
    for said in ("synthetic", "compiled rows.jsonl", "longest", "all fit max_seq_length", "contamination, synthetic: of 500",
                 f"contamination, {rows}: of {len(ROWS)}", "sft:", "rl (rloo): 1 update on"):  # fmt: skip
        assert said in out
    assert not (tmp_path / "adapters").exists()


def test_a_dash_is_standard_output_which_then_holds_problems_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = write_rows(tmp_path / "rows.jsonl")
    piped: dict[str, list[str]] = {}
    for command in (("generate", "-n", "4"), ("compile", str(rows)), ("variants", "compiled.jsonl", "-k", "2")):
        done = subprocess.run([sys.executable, "-m", "mlx_trace", *command, "-o", "-"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        piped[command[0]] = done.stdout.splitlines()
        assert piped[command[0]] and all("question" in json.loads(line) for line in piped[command[0]])
        assert "written to /dev/stdout" in done.stderr
        Path("compiled.jsonl").write_text(done.stdout, encoding="utf-8")
    assert len(piped["generate"]) == 4
    assert not Path("-").exists()
