"""A page holds all it needs and may load nothing; whatever is in a record or a run stays text in it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.evaluate.records import read_records
from mlx_trace.evaluate.report.figures import Report
from mlx_trace.evaluate.report.page import MADE_BY, embedded, labels, render
from mlx_trace.evaluate.report.training import read_training
from mlx_trace.notice import safe
from tests.evaluate.report.material import HOSTILE, RECORDS, record, write_records, write_run


class Reader(HTMLParser):
    """Collects a page's elements, and the text of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements[-1:] and self.elements[-1][0] in ("script", "style"):
            self.texts.append(data)


def page_of(tmp_path: Path, rows: Any = RECORDS, *others: Any) -> str:
    files = [read_records(write_records(tmp_path / f"{n}.jsonl", own)) for n, own in enumerate((rows, *others))]
    return render(Report([read_training(write_run(tmp_path / "run"))], files))


def data_of(page: str) -> Any:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]


def test_nothing_is_loaded_and_only_its_own_style_and_script_may_act(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert page.splitlines()[:2] == ["<!doctype html>", MADE_BY]
    reader = Reader(page)
    policy = next(own["content"] for tag, own in reader.elements if tag == "meta" and "http-equiv" in own) or ""
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    style, _, script = (text for text in reader.texts if text.strip())
    for text in (style, script):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    for tag, own in reader.elements:
        assert not {name for name in own if name.startswith("on")} and "style" not in own, tag
        for name in ("src", "href", "action", "data", "srcset"):
            assert (own.get(name) or "#").startswith(("#", "data:")), (tag, own)
    assert "url(" not in style and "@import" not in style
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|fetch\(", script
    )


def hostile(where: str) -> dict[str, Any]:
    row = record("p", "nothing", "wrong_answer", got="36") | {"votes": [], "agreement": 0.5}
    if where == "votes":
        return row | {"votes": [{"answer": HOSTILE, "count": 1, "weight": 1.0}]}
    return row | {where: f"How many are 3? {HOSTILE}" if where == "question" else HOSTILE}


@pytest.mark.parametrize("where", ["id", "question", "output", "trace", "source", "detail", "cause", "got", "votes"])
def test_text_of_a_record_stays_text(tmp_path: Path, where: str) -> None:
    page = page_of(tmp_path, [hostile(where)])
    (tmp_path / "plain").mkdir()
    plain = Reader(page_of(tmp_path / "plain", [record("p", "nothing", "wrong_answer", got="36")]))
    found = Reader(page)
    assert [tag for tag, _ in found.elements if tag == "script"] == [
        tag for tag, _ in plain.elements if tag == "script"
    ]
    assert not {"img", "b"} & {tag for tag, own in found.elements if tag == "img" or (tag == "b" and own)}
    assert not any(own.get("onload") or own.get("onerror") for _, own in found.elements)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u2028\u2029]", page)
    (row,) = data_of(page)["records"]
    told = json.dumps([row, "".join(text for text, *_ in row["question"])], ensure_ascii=False)
    shown = json.dumps(safe(HOSTILE), ensure_ascii=False)[1:-1]
    assert shown[:24] in told and (shown in told or where == "source")  # of which the first part is shown


def test_text_of_runs_names_and_settings_stays_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "config.yaml").write_text(f"model: {json.dumps(HOSTILE)}\n", encoding="utf-8")
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"phase": HOSTILE, "update": 1, HOSTILE: 3.0}) + "\n")
    (tmp_path / "a.json").write_text(json.dumps({"constraint": HOSTILE, "model": [HOSTILE]}), encoding="utf-8")
    name = tmp_path / "a.jsonl"
    file_ = read_records(write_records(name))
    other = read_records(write_records(tmp_path / "<img src=x onerror=alert(1)>\x1b[31m.jsonl"))
    reader = Reader(render(Report([read_training(run)], [file_, other])))
    assert [tag for tag, _ in reader.elements].count("script") == 2
    assert "img" not in {tag for tag, _ in reader.elements}
    assert not any(key.startswith("on") for _, own in reader.elements for key in own)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_embedded_json_says_the_same_and_neither_ends_nor_begins_an_element(value: Any) -> None:
    text = embedded(value)
    assert json.loads(text) == value
    assert not {"<", ">", "&", "\u2028", "\u2029"} & set(text)


def test_labels_are_short_and_differ() -> None:
    assert labels(["out/a-gs.jsonl", "out/b-gs.jsonl"]) == ["a-gs", "b-gs"]
    assert labels(["runs/one"]) == ["one"]
    assert labels(["/x/a.jsonl", "b.jsonl"]) == ["/x/a", "b"]
    assert labels(["runs/a", "runs/a/best"]) == ["runs/a", "runs/a/best"]


def test_records_have_all_that_is_shown(tmp_path: Path) -> None:
    later = [row | {"correct": True, "kind": "correct", "got": "32", "cause": None} for row in RECORDS]
    data = data_of(page_of(tmp_path, RECORDS, later))
    first = {row["id"]: row for row in data["records"] if row["file"] == 0}
    assert [piece for piece in first["short"]["question"] if len(piece) > 1] == [
        ["3", "both"],
        ["12", "both"],
        ["4", "gold"],
    ]
    assert [piece for piece in first["no gold"]["question"] if len(piece) > 1] == [
        ["3", "both"],
        ["12", "both"],
        ["4", "nobody"],
    ]
    assert first["invalid"]["fault"] == 6 and first["invalid"]["objection"].startswith("undefined: step 5")
    assert "own_graph" not in first["none"] and first["none"]["objection"] == "not YAML"
    flags = {node[4]: node[5] for node in first["idle"]["own_graph"]["nodes"]}
    assert flags == {"boxes": "n", "eggs": "n", "all_eggs": "", "broken": "n", "whole": "a", "idle": "oi"}
    assert {row["id"] for row in data["records"] if row.get("side") == "gained"} == {
        "short",
        "invalid",
        "none",
        "no gold",
    }
