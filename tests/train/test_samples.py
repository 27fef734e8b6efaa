"""Samples on disk: what reinforcement saw, whole groups within a bound, the same however often a run was stopped."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.train.interrupt import Interrupted
from mlx_trace.train.run import plan, train
from mlx_trace.train.samples import SavedSample, is_due, lines_of, read_samples, room
from tests.train.test_run import config, metrics, run


def row(**changes: Any) -> SavedSample:
    content = {
        "update": 1, "group": 0, "sample": 0, "id": "a", "question": "How many?", "answer": "9", "reply": "expert: x", "grade": "correct",
        "got": "9", "detail": "", "reward": 1.0, "advantage": 0.5, "logprob": -2.0, "logprob_gap": None, "tokens": 20, "sampled": 5,
        "truncated": False,
    }  # fmt: skip
    return SavedSample.model_validate(content | changes)


def saved(path: Path) -> list[SavedSample]:
    broken: list[int] = []
    rows = list(read_samples(path / "samples.jsonl", broken))
    assert broken == []
    return rows


def test_every_sample_is_saved_with_what_it_earned(random_model: Path, tmp_path: Path) -> None:
    settings = config(random_model, tmp_path / "run")
    run(settings)
    rows, measured = saved(tmp_path / "run"), [one for one in metrics(tmp_path / "run") if one["phase"] == "rl"]
    assert [(one.update, one.group, one.sample) for one in rows] == [
        (update, group, sample) for update in (1, 2, 3) for group in (0, 1) for sample in (0, 1)
    ]
    for update, own in groupby(rows, key=lambda one: one.update):
        group, line = list(own), measured[update - 1]
        assert sum(one.reward for one in group) / 4 == pytest.approx(line["reward"])
        assert sum(one.tokens for one in group) / 4 == pytest.approx(line["length"])
        assert sum(one.truncated for one in group) / 4 == line["completions/clipped_ratio"]
        assert sum(one.grade == "correct" for one in group) / 4 == pytest.approx(line["correct"])
        gaps = [one.logprob_gap for one in group if one.logprob_gap is not None]
        assert max(gaps) == pytest.approx(line["logprob_gap"], rel=1e-2)
        assert (line["completions/min_length"], line["completions/max_length"]) == (
            min(one.tokens for one in group), max(one.tokens for one in group))  # fmt: skip
    known = {problem.id: problem for problem in plan(config(random_model, tmp_path / "other")).material.problems}
    assert all(known[one.id].question == one.question for one in rows)
    assert all(one.logprob < 0 for one in rows)


@pytest.mark.parametrize("stop_at", [1, 6, 7, 8])
def test_a_resumed_run_has_every_sample_once(random_model: Path, tmp_path: Path, stop_at: int) -> None:
    whole, stopped = config(random_model, tmp_path / "whole"), config(random_model, tmp_path / "stopped")
    run(whole)
    with pytest.raises(Interrupted):
        run(stopped, stop_at=stop_at)
    run(stopped, resume=True)
    files = [(tmp_path / name / "samples.jsonl").read_bytes() for name in ("stopped", "whole")]
    assert files[0] == files[1] != b""


def test_what_a_crash_left_beyond_the_checkpoint_is_written_once(random_model: Path, tmp_path: Path) -> None:
    whole, crashed = (config(random_model, tmp_path / name, epochs=0, save_every=2) for name in ("whole", "crashed"))
    run(whole)

    def crash(phase: str, done: int, *_: Any) -> None:
        if done == 3:
            with (tmp_path / "crashed" / "samples.jsonl").open("a", encoding="utf-8") as file:
                file.write('{"update": 4, "gro')
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        train(plan(crashed), crash)
    run(crashed, resume=True)
    assert (tmp_path / "crashed" / "samples.jsonl").read_bytes() == (tmp_path / "whole" / "samples.jsonl").read_bytes()


def test_a_run_that_is_overwritten_begins_its_samples_anew(random_model: Path, tmp_path: Path) -> None:
    settings = config(random_model, tmp_path / "run")
    run(settings)
    before = (tmp_path / "run" / "samples.jsonl").read_bytes()
    run(settings, overwrite=True)
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == before


def test_none_are_saved_where_none_are_wanted_and_others_now_and_then(random_model: Path, tmp_path: Path) -> None:
    rl = {"iters": 5, "batch_size": 2, "group_size": 2, "max_tokens": 120}
    run(config(random_model, tmp_path / "none", epochs=0, reinforce=rl | {"samples_every": 0}))
    assert not (tmp_path / "none" / "samples.jsonl").exists()
    run(config(random_model, tmp_path / "some", epochs=0, reinforce=rl | {"samples_every": 3}))
    assert sorted({one.update for one in saved(tmp_path / "some")}) == [1, 4, 5]


@given(
    st.integers(1, 200), st.integers(1, 50), st.integers(1, 3000), st.lists(st.integers(1, 5), min_size=1, max_size=6)
)
def test_the_file_never_outgrows_its_bound_and_groups_are_whole(
    updates: int, every: int, size: int, groups: list[int]
) -> None:
    written = ""
    for index in range(updates):
        if is_due(index, updates, every):
            rows = [row(update=index + 1, group=at, sample=n) for at, count in enumerate(groups) for n in range(count)]
            written += lines_of(rows, room(len(written), size / 1000, index, updates, every))
    assert len(written) <= size * 1000
    lines = [json.loads(line) for line in written.splitlines()]
    for (_, group), own in groupby(lines, key=lambda line: (line["update"], line["group"])):
        assert len(list(own)) == groups[group]


@given(st.integers(1, 500), st.integers(1, 600))
def test_what_is_left_is_shared_out_among_the_updates_that_are_left(updates: int, every: int) -> None:
    due = [index for index in range(updates) if is_due(index, updates, every)]
    assert due[0] == 0 and due[-1] == updates - 1
    for place, index in enumerate(due):
        assert room(0, 1.0, index, updates, every) == 1_000_000 // (len(due) - place)


@given(st.text(), st.text())
def test_lines_are_read_as_they_were_written_whatever_they_say(reply: str, question: str) -> None:
    text = lines_of([row(reply=reply, question=question)], 10**6)
    assert text.isascii() and text.count("\n") == 1
    assert json.loads(text)["reply"] == reply


def test_lines_that_hold_no_sample_are_counted(tmp_path: Path) -> None:
    good = lines_of([row()], 10**6)
    file = tmp_path / "samples.jsonl"
    file.write_bytes(good.encode() + b'{"update": 1}\n\xff\n[]\n\n' + good.encode() + good.encode()[:40])
    broken: list[int] = []
    assert len(list(read_samples(file, broken))) == 2
    assert broken == [2, 3, 4, 7]
