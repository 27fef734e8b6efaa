"""A report as one HTML page that needs nothing else: its style, script and data are in it, and it may load nothing.

Takes a report; returns the page's text. Foreign text is escaped here, by the template and in the data.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from os.path import commonpath
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mlx_trace.evaluate.records import grades_of
from mlx_trace.evaluate.report.curves import Point, charts, grade_charts, readable
from mlx_trace.evaluate.report.figures import Report, counts, loss, one_sample, sides
from mlx_trace.evaluate.report.gallery import entry
from mlx_trace.evaluate.report.markdown import compared_in_words, loss_in_words, p_value, percent
from mlx_trace.files import read_text
from mlx_trace.notice import safe, safe_json
from mlx_trace.resources import report_dir

MADE_BY: Final = "<!-- made by mlx-trace report -->"  # in the second line of every page
_COLOURS: Final = 8
_BOX: Final = (46, 8, 262, 128)  # of a chart: left, top, width, height
_IN_JSON: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}  # what could end or begin an element


def render(report: Report) -> str:
    """Return the page."""
    known = charts(report.runs)
    style, script = (read_text(report_dir() / name) for name in ("page.css", "page.js"))
    content = {
        "report": report, "style": Markup(style), "script": Markup(script), "made_by": Markup(MADE_BY),
        "policy": _policy(style, script), "data": Markup(embedded(_data(report, known))),
        "charts": known, "phases": list(dict.fromkeys(chart.phase for chart in known)),
        "grade_charts": grade_charts(report.runs), "comparisons": report.against(), "version": version("mlx-trace"),
        "strata": report.strata(), "causes": report.causes(),
        "run_labels": labels([run.name for run in report.runs]),
        "file_labels": labels([file.name for file in report.files]), "configs": _configs(report),
    }  # fmt: skip
    return _environment().get_template("page.html.jinja").render(content)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(report_dir()), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_shown,
    )  # fmt: skip
    made.filters |= {"points": _points, "colour": lambda number: f"s{number % _COLOURS}"}
    made.globals |= {
        "counts": counts, "one_sample": one_sample,
        "loss": loss, "percent": percent, "loss_in_words": loss_in_words, "p_value": p_value,
        "compared": compared_in_words, "grades": grades_of, "box": _BOX, "round": round,
    }  # fmt: skip
    return made


def _shown(value: Any) -> Any:
    """Make text safe to show, whoever wrote it; the template escapes what HTML acts on."""
    return safe(value) if type(value) is str else value


def _policy(style: str, script: str) -> str:
    """Return what the page may do: use the style and the script that are in it, and nothing from elsewhere."""
    hashes = [b64encode(sha256(f"\n{text}".encode()).digest()).decode() for text in (style, script)]
    return (f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; img-src data:; "
            "base-uri 'none'; form-action 'none'")  # fmt: skip


def embedded(value: Any) -> str:
    """Return JSON that an element of a page may hold: nothing in it ends the element, or begins one."""
    text = safe_json(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    for character, escape in _IN_JSON.items():
        text = text.replace(character, escape)
    return text


def _data(report: Report, known: Sequence[Any]) -> dict[str, Any]:
    changed = sides(report)
    return {
        "files": labels([file.name for file in report.files]), "runs": labels([run.name for run in report.runs]),
        "charts": [readable(chart) for chart in known],
        "records": [entry(reply, number, changed.get((number, name), ""))
                    for number, file in enumerate(report.files) for name, reply in file.replies.items()],
    }  # fmt: skip


def labels(names: Sequence[str]) -> list[str]:
    """Return short names that still differ: without the folder that all are in, and records without `.jsonl`."""
    short = [safe(name.removesuffix(".jsonl")) for name in names]
    if len(short) == 1:
        return [Path(short[0]).name or short[0]]
    try:
        shared = commonpath(short) if len(set(short)) == len(short) else ""
    except ValueError:  # some are absolute
        shared = ""
    cut = [name[len(shared) :].lstrip("/") if shared else name for name in short]
    return cut if all(cut) else short


def _points(points: Sequence[Point], start: int = 0) -> Markup:
    """Return the points of a chart's line as SVG has them."""
    left, top, width, height = _BOX
    return Markup(" ".join(f"{left + x * width:.1f},{top + (1 - y) * height:.1f}" for x, y in points[start:]))


def _configs(report: Report) -> list[dict[str, Any]]:
    """Return what each run and evaluation was set to, as it is shown."""
    runs = [{"name": run.name, "kind": "run", "text": run.config, "settings":
             ({} if run.seed is None else {"seed": run.seed}) | run.versions
             | {key: json.dumps(value, ensure_ascii=False) for key, value in run.adapter.items()
                if not run.config and key != "prompt"}} for run in report.runs]  # fmt: skip
    files = [{"name": file.name, "kind": "records", "text": "", "settings": file.settings} for file in report.files]
    return [*runs, *files]
