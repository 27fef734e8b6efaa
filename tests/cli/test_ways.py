"""`mlx-trace eval` in several ways: samples of a file, repair, examples, and two ways side by side."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.cli.main import main

Out = pytest.CaptureFixture[str]
DOCUMENT = Path(__file__).parents[2] / "eval" / "evaluation.md"


@pytest.fixture
def command(random_model: Path, tmp_path: Path) -> list[str]:
    rows = [{"question": f"{n} eggs and 3 more are how many?", "answer": str(n + 3)} for n in range(4, 14)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    train = [{"question": f"Tom has {n} {thing} and buys 5 more. How many has he?", "trace":
              f"expert: arithmetic\ntrace:\n- {{op: init, var: a, value: {n}}}\n- {{op: init, var: b, value: 5}}\n"
              "- {op: compute, compute_op: add, args: [a, b], var: c}\n- {op: query, var: c}"}
             for n, thing in ((3, "eggs"), (4, "hens"), (5, "more eggs than hens"))]  # fmt: skip
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train), encoding="utf-8")
    return ["eval", "--model", str(random_model), "--adapter-path", "none", "--max-tokens", "99", "--cap", "8",
            "--data", str(tmp_path / "data.jsonl")]  # fmt: skip


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_sample_is_told_and_kept(command: list[str], tmp_path: Path, capsys: Out) -> None:
    file = tmp_path / "r.jsonl"
    asked = {}
    for flags in (("-n", "4"), ("--limit", "4"), ("-n", "4", "--seed", "1")):
        assert main([*command, *flags, "-o", str(file), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report == json.loads((tmp_path / "r.summary.json").read_text(encoding="utf-8"))
        assert report["sample"] == {"n": 4, "of": 10, "seed": int("--seed" in flags)}
        asked[flags] = [row["id"] for row in rows(file)]
    first, same, other = asked.values()
    assert first == same != other and first == sorted(first, key=lambda name: int(name.partition(":")[2]))
    assert main([*command, "-n", "4"]) == 0
    assert "a sample of 4 of 10 problems, seed 0" in capsys.readouterr().out
    assert main([*command, "-n", "40", "--json"]) == 0
    told = capsys.readouterr()
    assert "holds 10 problems, and 40 were asked for" in told.err and "sample" not in json.loads(told.out)


def test_another_sample_is_another_evaluation(
    command: list[str], tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlx_trace.evaluate.kept import KeptRecords

    keep, often = KeptRecords.keep, []

    def kept_once(self: KeptRecords, number: int, own: Any) -> None:
        keep(self, number, own)
        often.append(number)
        if len(often) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(KeptRecords, "keep", kept_once)
    file = ("-o", str(tmp_path / "r.jsonl"))
    for more, said in ((("--seed", "1"), "begun anew"), (("-n", "5"), "begun anew"), ((), "1 of 4 records in ")):
        often.clear()
        assert main([*command, "-n", "4", *file]) == 130
        capsys.readouterr()
        assert main([*command, "-n", "4", *file, *more]) == 0
        assert said in capsys.readouterr().err


def test_two_ways_stand_side_by_side(command: list[str], tmp_path: Path, capsys: Out) -> None:
    flags = [*command, "-n", "5", "--against", "free", "-o", str(tmp_path / "r.jsonl")]
    assert main([*flags, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    free = report["against"]["free"]
    assert (report["constraint"], free["constraint"], free["n"]) == ("scope", "none", 5)
    held, loose = rows(tmp_path / "r.jsonl"), rows(tmp_path / "r.free.jsonl")
    assert [row["id"] for row in held] == [row["id"] for row in loose]
    for kind in ("parsed", "valid", "correct"):
        one = free["difference"][kind]
        assert one["after"] == report[kind] and one["before"] == free[kind]
        assert one["gained"] == sum(a[kind] and not b[kind] for a, b in zip(held, loose, strict=True))
    assert free["difference"]["parsed"]["p"] == 0.0625, "five of five, and none"
    assert [cost["name"] for cost in (*report["costs"], *free["costs"])] == ["one reply", "one reply"]
    assert main(["compare", str(tmp_path / "r.free.jsonl"), str(tmp_path / "r.jsonl")]) == 0
    assert main(flags) == 0
    table = " ".join(capsys.readouterr().out.split())
    assert all(part in table for part in ("constrained free points changed p", "+5 −0", "0.062", "[57–100]"))


def test_ways_that_are_none_are_refused_before_a_model_is_loaded(command: list[str], capsys: Out) -> None:
    bare = ["eval", "--model", "no/such/model"]
    for flags, said in (
        (("--against", "free", "--constraint", "none"), "--against free: that is how replies are asked for already"),
        (("--against", "no-rules", "--rules", "off"), "--against no-rules: that is how"),
        (("--against", "greedy"), "--against greedy: that is how"),
        (("--against", "no-examples"), "--against no-examples: that is how"),
        (("--nearest", "3"), "--nearest 3: of which problems is not said: --examples-from FILE"),
        (("--gold-loss", "--repair", "1"), "--gold-loss reads gold traces and --repair asks for replies"),
        (("--examples-from", "absent.jsonl"), "absent.jsonl: no such file"),
        (("--against", "free", "-o", "/dev/stdout"), "/dev/stdout: is no file"),
        (("-n", "5", "--seed", "3"), "--seed 3: at temperature 0 nothing is sampled"),
    ):
        assert main([*bare, *flags]) == 2
        told = capsys.readouterr().err
        assert said in told and "no/such/model" not in told
    with pytest.raises(SystemExit):
        main([*bare, "--repair", "99"])


def test_looks_at_a_final_set_are_told(command: list[str], tmp_path: Path, capsys: Out) -> None:
    data = tmp_path / "test.jsonl"
    (tmp_path / "data.jsonl").rename(data)
    command[-1] = str(data)
    for often, flags in enumerate(((), ("-n", "3"), ("--samples", "2")), start=1):
        assert main([*command, *flags, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["looks"] == often
    assert main(command) == 0
    assert "is for final numbers: looked at 4 times" in " ".join(capsys.readouterr().out.split())
    command[-1] = str(data.rename(tmp_path / "other.jsonl"))
    assert main([*command, "--json"]) == 0
    assert "looks" not in json.loads(capsys.readouterr().out)
    assert main([*command, "--final", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["looks"] == 5, "the same questions under another name"


def test_examples_are_shown_and_said(command: list[str], tmp_path: Path, capsys: Out) -> None:
    flags = [*command, "-n", "3", "--examples-from", str(tmp_path / "train.jsonl"), "--nearest", "2"]
    assert main([*flags, "--against", "no-examples", "-o", str(tmp_path / "r.jsonl"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    told = report["examples"]
    assert (told["nearest"], told["shown"], told["fewer"]) == (2, 2.0, 0)
    shown, bare = rows(tmp_path / "r.jsonl"), rows(tmp_path / "r.no-examples.jsonl")
    assert all(len(row["examples"]) == 2 for row in shown) and "examples" not in bare[0]
    assert told["prompt_tokens"] == pytest.approx(sum(row["prompt_tokens"] for row in shown) / 3, abs=0.06)
    assert told["without"] == pytest.approx(sum(row["prompt_tokens"] for row in bare) / 3, abs=0.06)
    assert main(flags) == 0
    assert "2 examples a question from" in " ".join(capsys.readouterr().out.split())


def keys(value: Any, within: str = "") -> set[str]:
    """Return the keys of a report, but for those that are data: names of strata, causes, kinds, ways, and k."""
    if isinstance(value, list):
        return set().union(*(keys(item, within) for item in value))
    if not isinstance(value, dict):
        return set()
    is_data = within in ("experts", "steps", "causes", "against", "pass")
    inner = [keys(item, "" if is_data else name) for name, item in value.items()]
    return set().union(set() if is_data else value.keys(), *inner)


def test_every_key_of_the_json_is_documented(command: list[str], tmp_path: Path, capsys: Out) -> None:
    more = ("-n", "2", "--repair", "1", "--examples-from", str(tmp_path / "train.jsonl"), "--final", "--json")
    found = set()
    for flags in (("--samples", "2", "--against", "greedy"), ("--against", "free", "-o", str(tmp_path / "r.jsonl"))):
        assert main([*command, *more, *flags]) == 0
        found |= keys(json.loads(capsys.readouterr().out))
    assert {"costs", "difference", "looks", "sample", "examples", "vote"} <= found
    found |= {key for name in ("r", "r.free") for row in rows(tmp_path / f"{name}.jsonl") for key in row}
    section = DOCUMENT.read_text(encoding="utf-8").partition("## What `--json` prints")[2]
    assert found <= set(re.findall(r"`([a-z_]+)`", section))
