"""The page in a real browser: it opens without a word on the console or a request, shows, filters, sorts and pages."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.cli.main import main
from tests.browser import browser
from tests.evaluate.report.material import HOSTILE, RECORDS, SCRIPT, SHORT, record, voted, write_records, write_run

SIZES = {"desk": (1280, 900), "phone": (360, 740)}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two files of the same problems and of a run, hostile text in all places."""
    folder = tmp_path_factory.mktemp("report")
    many = [record(f"many {n:03}", tokens=n) for n in range(60)]
    bad = record("bad", HOSTILE, "wrong_answer", cause=HOSTILE, source=HOSTILE, got=HOSTILE, detail=HOSTILE,
                 question=f"How many is 3? {HOSTILE}", trace=HOSTILE)  # fmt: skip
    one = record(
        "one",
        trace=SHORT.replace(
            "- {op: init, var: broken, value: 4}\n- {op: compute, var: whole, compute_op: sub, args: [all_eggs, broken]}\n",
            "",
        ),
    )
    rows = [*many, *RECORDS, one, bad]
    later = [row | {"correct": True, "kind": "correct", "cause": None} if row["id"] == "short" else row for row in rows]
    before, after = write_records(folder / "before.jsonl", rows), write_records(folder / "after.jsonl", later)
    run = write_run(folder / f"run {SCRIPT.replace('/', '')}")
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"phase": "rl", "update": 13, HOSTILE: 1.0}) + "\n")
    page = folder / "page.html"
    assert main(["report", str(run), str(before), str(after), "-o", str(page)]) == 0
    return page


@pytest.fixture(scope="module")
def driven() -> Iterator[Any]:
    with browser() as started:
        yield started


class Visit:
    """A page that is looked at, what its console said, and what it asked the network for."""

    def __init__(self, driven: Any, page: Path, size: str = "desk", scheme: str = "light", place: str = "") -> None:
        width, height = SIZES[size]
        self.said: list[str] = []
        self.context = driven.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.tab = self.context.new_page()
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: request.is_navigation_request() or self.said.append(request.url))
        self.tab.goto(page.as_uri() + place)

    def __enter__(self) -> Any:
        return self.tab

    def __exit__(self, *error: object) -> None:
        self.context.close()
        if error[0] is None:
            assert self.said == []


def ids(tab: Any) -> list[str]:
    return list(tab.locator("#cards .id").all_inner_texts())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_in_silence_shows_every_plot_and_fits(driven: Any, page_file: Path, size: str, scheme: str) -> None:
    with Visit(driven, page_file, size, scheme) as tab:
        assert tab.locator("svg[data-chart]").count() >= 10
        for title in (
            "loss",
            "mean reward",
            "KL from the reference",
            "tokens a second",
            "peak memory",
            "share of each grade",
        ):
            figure = tab.locator("figure.chart", has_text=title).first
            assert figure.locator("polyline, polygon").first.bounding_box()["width"] > 50, title
        assert tab.locator(".strata .interval .dot").count() > 4 and tab.locator(".causes .bars .dot").count() > 3
        assert tab.locator("#cards .card").count() == 20
        assert tab.locator("#cards .graph svg .node").count() > 20
        assert tab.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
        colours = tab.evaluate(
            "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.body))"
        )
        ground, ink = (sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) for colour in colours)
        assert ground > ink + 400 if scheme == "light" else ink > ground + 400


def test_hostile_text_is_shown_and_never_acts(driven: Any, page_file: Path) -> None:
    with Visit(driven, page_file, place="#records?search=bad") as tab:
        card = tab.locator("#cards .card").first
        assert SCRIPT in card.inner_text() and "{{ 7 * 7 }}" in card.inner_text() and "␛]0;title" in card.inner_text()
        card.locator("summary").click()
        assert SCRIPT in card.locator("pre").first.inner_text()
        assert tab.evaluate("window.acted") is None
        assert tab.locator("img, main script, #cards svg svg").count() == 0
        for title in tab.locator("figcaption", has_text="<script>").all_inner_texts():
            assert "window.acted" in title


def test_failures_come_first_and_records_are_filtered(driven: Any, page_file: Path) -> None:
    with Visit(driven, page_file) as tab:
        assert tab.locator("#cards .card").first.locator(".badge.wrong").count() == 1
        tab.select_option("[name=file]", "0")
        assert tab.inner_text("#count") == "1–20 of 68 (136 in all)"
        for name, value, wanted in (
            ("result", "right", 63),
            ("cause", "missing final step", 1),
            ("steps", "1 step", 1),
        ):
            tab.select_option(f"[name={name}]", value)
            assert tab.inner_text("#count").split(" of ")[1].startswith(f"{wanted} "), name
            assert f"{name}=" in tab.url
            tab.select_option(f"[name={name}]", "")
        tab.fill("[name=search]", "I THINK it is")
        tab.locator("#count", has_text="1–1 of 1 ").wait_for()
        assert ids(tab) == ["none"]
        tab.fill("[name=search]", "nowhere to be found")
        tab.locator("#count", has_text="no record is so").wait_for()
        tab.click("button[type=reset]")
        tab.locator("#count", has_text="1–20 of 136").wait_for()


def test_a_vote_shows_all_that_was_said(driven: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(write_records(tmp_path / "a.jsonl", [voted("p")])), "-o", str(page)]) == 0
    with Visit(driven, page) as tab:
        said = [" ".join(text.split()) for text in tab.locator(".votes li").all_inner_texts()]
        assert said == ["36 ×2 weight 1.33", "32 ×1 weight 1, right", "parse failure ×1", "invalid trace ×1"]
        assert "agreement 40%" in tab.inner_text(".votes")
        assert tab.locator(".votes .is-right").count() == 1


def test_records_are_sorted_and_paged(driven: Any, page_file: Path) -> None:
    with Visit(driven, page_file, place="#records?file=0&sort=tokens") as tab:
        assert ids(tab)[:3] == ["right", "short", "invalid"] and ids(tab)[-1] == "many 048"
        tab.locator("#pager button", has_text="next").click()
        assert tab.inner_text("#count").startswith("21–40 of 68") and ids(tab)[0] == "many 047"
        tab.locator("#pager button", has_text="last").click()
        assert len(ids(tab)) == 8 and tab.locator("#pager button", has_text="next").is_disabled()
        tab.select_option("[name=sort]", "order")
        assert ids(tab)[:2] == ["many 000", "many 001"]


def test_links_lead_to_what_changed_and_to_a_cause(driven: Any, page_file: Path) -> None:
    with Visit(driven, page_file) as tab:
        tab.locator("#compared a").first.click()
        tab.locator("#count", has_text="1–1 of 1 ").wait_for()
        assert ids(tab) == ["short"] and tab.locator(".badge.side-gained").count() == 1
        tab.locator("#causes a", has_text="invalid trace").click()
        tab.locator("#count", has_text="1–2 of 2 ").wait_for()
        assert tab.locator("#cards .objection").first.inner_text().startswith("undefined: step 5")
        tab.locator("#cards summary").first.click()
        assert "nothing" in tab.locator("#cards .fault").first.inner_text()


def test_numbers_and_graphs_say_who_uses_what(driven: Any, page_file: Path) -> None:
    with Visit(driven, page_file, place="#records?file=0&search=36") as tab:
        card = tab.locator("#cards .card", has=tab.locator(".id", has_text="short")).first
        marks = card.locator(".question mark")
        assert [(mark.inner_text(), mark.get_attribute("class")) for mark in marks.all()] == [
            ("3", "both"),
            ("12", "both"),
            ("4", "gold"),
        ]
        own, gold = card.locator(".graph").all()
        assert (
            own.bounding_box()["x"] < gold.bounding_box()["x"] and own.bounding_box()["y"] == gold.bounding_box()["y"]
        )
        assert own.locator(".node.answer .label").text_content() == "3 × 12 = 36"
        assert own.locator(".node.idle .name").all_text_contents() == ["broken", "whole"]
        assert gold.locator(".node.answer .label").text_content() == "36 − 4 = 32"


def test_a_chart_is_read_where_it_is_pointed_at(driven: Any, page_file: Path) -> None:
    with Visit(driven, page_file) as tab:
        figure = tab.locator("figure.chart").first
        figure.scroll_into_view_if_needed()
        box = figure.locator("svg").bounding_box()
        tab.mouse.move(box["x"] + box["width"] * (46 + 262) / 320, box["y"] + box["height"] / 2)
        assert figure.locator(".reading").inner_text().startswith("update 30: 0.066667")
        tab.mouse.move(0, 0)
        assert figure.locator(".reading").inner_text() == ""


def test_it_prints(driven: Any, page_file: Path) -> None:
    with Visit(driven, page_file, scheme="dark") as tab:
        tab.emulate_media(media="print", color_scheme="light")
        assert not tab.locator("#filters").is_visible() and tab.locator("#cards .card").first.is_visible()
        assert tab.pdf().startswith(b"%PDF")
