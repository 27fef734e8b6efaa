"""A model card: what was trained from what, on what, for how long, how often it is right, and how it is used.

Takes a run's folder and files of records; returns Markdown with the hub's metadata before it. Names files, never paths;
who may see it is not asked here, so whatever could be a secret is left to `push`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path, PurePath
from typing import Any, Final, Literal

from mlx_trace.errors import UserError
from mlx_trace.evaluate.records import RecordFile
from mlx_trace.evaluate.report.figures import Report
from mlx_trace.evaluate.report.markdown import foreign, markdown, percent
from mlx_trace.evaluate.report.training import TrainingRun
from mlx_trace.evaluate.stats import Rate
from mlx_trace.files import read_json
from mlx_trace.model.hub import is_hub_name
from mlx_trace.model.named import TINY, named, same_model
from mlx_trace.numbered import numbered
from mlx_trace.problems.hub_data import is_hub_data
from mlx_trace.run_files import SUMMARY
from mlx_trace.times import lasting
from mlx_trace.yaml_text import read_yaml

Form = Literal["adapter", "peft", "model"]
MADE: Final = (
    "<!-- made by mlx-trace push: pushed again, it is made anew; take this line out to keep what you write -->"
)
LLAMA: Final = "llama3.2"
_APACHE: Final = "apache-2.0"
LICENCES: Final = {  # of all models that have a name here, as their cards on the hub have it
    "smollm2-135m": _APACHE, "smollm2-360m": _APACHE, "smollm2-1.7b": _APACHE, "qwen25-coder-0.5b": _APACHE,
    "qwen25-0.5b": _APACHE, "qwen25-1.5b": _APACHE, "qwen3-0.6b": _APACHE, "qwen3-1.7b": _APACHE,
    "tinyllama-1.1b": _APACHE, "llama32-1b": LLAMA, "llama32-1b-base": LLAMA, "llama32-1b-4bit": LLAMA,
    "llama32-3b": LLAMA, "llama32-3b-base": LLAMA, "llama32-3b-4bit": LLAMA, TINY: "mit",
}  # fmt: skip
_LIBRARIES: Final[dict[Form, str]] = {"adapter": "mlx", "peft": "peft", "model": "mlx"}


@dataclass(frozen=True, slots=True)
class Ancestor:
    """Which base something was trained from: its name as a run has it, on the hub if it is there, and its licence."""

    name: str | None
    hub: str | None
    licence: str | None


def origin_of(name: str | None, hub: str | None = None, licence: str | None = None) -> Ancestor:
    """Return what is known of a base by a run's name of it; `hub` and `licence` are what is said to be so."""
    entry = named(name or "")
    if hub is None and name:
        hub = entry.hub if entry else name if is_hub_name(name) and not Path(name).exists() else None
    if licence is None:
        known = (LICENCES[own] for own in LICENCES if own == name or (hub and same_model(own, hub)))
        licence = next(known, None)
    shown = None if name is None else hub or (name if entry or name == TINY else PurePath(name).name)
    return Ancestor(shown or hub, hub, licence)


@dataclass(frozen=True)
class CardSubject:
    """What a card tells of: the form in which it is pushed, where, its base, its run, and what was measured."""

    form: Form
    repository: str
    origin: Ancestor
    run: TrainingRun | None
    files: Sequence[RecordFile]
    summaries: Mapping[str, Mapping[str, Any]]


def card(told: CardSubject) -> str:
    """Return the card's text."""
    parts = [_title(told), _use(told), _training(told), _figures(told), _limits(told)]
    body = "\n\n".join("\n".join(lines) for part in parts if (lines := list(part)))
    return f"---\n{_metadata(told)}\n---\n\n{MADE}\n\n{body}\n"


def read_summaries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what evaluations left in a run's folder, by name; what is none is left out."""
    summaries = {}
    for file in sorted(folder.glob(f"*{SUMMARY}")):
        with suppress(UserError):
            content = read_json(file)
            if isinstance(content, dict) and _rate(content) is not None:
                summaries[file.name.removesuffix(SUMMARY)] = content
    return summaries


def _metadata(told: CardSubject) -> str:
    from huggingface_hub import ModelCardData

    more: dict[str, Any] = {"base_model_relation": "finetune" if told.form == "model" else "adapter"}
    tags = ["mlx", "mlx-trace", "math-word-problems", *(["lora"] if told.form != "model" else [])]
    data = ModelCardData(
        base_model=told.origin.hub, language="en", library_name=_LIBRARIES[told.form], license=told.origin.licence,
        tags=tags, pipeline_tag="text-generation", datasets=_data_sets(told) or None, ignore_metadata_errors=False,
        **(more if told.origin.hub else {}),
    )  # fmt: skip
    return data.to_yaml().strip()


def _title(told: CardSubject) -> Iterator[str]:
    what = {"adapter": "An adapter (LoRA, mlx-lm's format)", "peft": "A LoRA adapter (PEFT)", "model": "A model"}
    base = f" for {foreign(told.origin.name)}" if told.origin.name else ""
    yield f"# {foreign(told.repository.rpartition('/')[2])}"
    yield ""
    trace = "a short YAML program that names quantities and wires up a computation"
    yield (f"{what[told.form]}{base}: it reads a word problem and writes a *trace*, {trace}. A solver executes the "
           "trace; the model computes nothing.")  # fmt: skip


def _use(told: CardSubject) -> Iterator[str]:
    repository, local = told.repository, told.repository.rpartition("/")[2]
    fetch = f"    hf download {repository} --local-dir {local}"
    lines = {
        "adapter": [fetch, f"    mlx-trace chat --adapter-path {local}"],
        "peft": [fetch, f"    mlx-trace import {local} --adapter-path {local}-mlx",
                 f"    mlx-trace chat --adapter-path {local}-mlx"],
        "model": [f"    mlx-trace chat --model {repository}",
                  f'    mlx_lm.generate --model {repository} --max-tokens 400 --temp 0 --prompt "QUESTION"'],
    }  # fmt: skip
    yield from [
        "## Use",
        "",
        "With mlx-trace, whose solver gives the answer:",
        "",
    ]
    yield from lines[told.form]
    if told.form == "peft":
        yield from ["", "or with PEFT, which has the trace written:", "",
                    f'    model = PeftModel.from_pretrained(base, "{repository}")']  # fmt: skip
    elif told.form == "model":
        yield from [
            "",
            "Its chat template asks for a trace by itself; a tool without the solver shows the trace alone.",
        ]


def _training(told: CardSubject) -> Iterator[str]:
    rows = list(_training_rows(told))
    if rows:
        yield from ["## Training", "", "| | |", "|---|---|"]
        for name, value in rows:
            yield f"| {name} | {value} |"


def _training_rows(told: CardSubject) -> Iterator[tuple[str, str]]:
    if told.origin.name:
        yield "base", foreign(told.origin.name)
    if told.run is None:
        return
    config = _configuration(told.run)
    lora = config.get("lora_parameters")
    if isinstance(lora, dict) and config.get("fine_tune_type") != "full":
        yield "adapter", foreign(f"{config.get('fine_tune_type', 'lora')}, rank {lora.get('rank')}, scale "
                                 f"{lora.get('scale')}, top {config.get('num_layers')} layers")  # fmt: skip
    data = config.get("data")
    for source in data if isinstance(data, list) else []:
        if isinstance(source, dict):
            yield "trained on", foreign(_source(source))
    for name, phase in told.run.phases.items():
        yield f"updates ({foreign(name)})", f"{phase.updates[-1]:,}"
    tokens, seconds = (_total(told.run, metric) for metric in ("tokens", "seconds"))
    if tokens:
        yield "tokens (SFT)", f"{tokens:,.0f}"
    if seconds:
        yield "time", lasting(seconds)
    for key in ("seed", "loss", "learning_rate"):
        if config.get(key) is not None:
            yield key.replace("_", " "), foreign(str(config[key]))


def _configuration(run: TrainingRun) -> dict[str, Any]:
    content = read_yaml(run.config, run.name) if run.config else {}
    return content if isinstance(content, dict) else {}


def _source(source: Mapping[str, Any]) -> str:
    """Return in words where problems came from: a file by its name alone."""
    size = numbered(source["n"], "problem") if isinstance(source.get("n"), int) else ""
    if isinstance(source.get("share"), int | float):
        size = f"{source['share']:.0%} of the whole"
    if source.get("source") == "synthetic":
        return ", ".join(filter(None, ["mlx-trace's own problem families", size]))
    path = str(source.get("file") or source.get("path") or "a file")
    name = path if is_hub_data(Path(path)) else PurePath(path).name
    kind = "compiled to traces" if source.get("source") == "compiled" else ""
    variants = f"{source['variants']} variants of each" if source.get("variants") else ""
    return ", ".join(filter(None, [name, kind, size, variants]))


def _data_sets(told: CardSubject) -> list[str]:
    """Return the hub's names of the data sets that were trained on."""
    data = _configuration(told.run).get("data") if told.run else None
    paths = [str(source.get("file") or source.get("path")) for source in data or [] if isinstance(source, dict)]
    return sorted({"/".join(path.split("/")[:2]) for path in paths if path != "None" and is_hub_data(Path(path))})


def _total(run: TrainingRun, metric: str) -> float:
    return sum(value for phase in run.phases.values() for value in phase.columns.get(metric, []) if isfinite(value))


def _figures(told: CardSubject) -> Iterator[str]:
    rows = [row for row in (_summary_row(*item) for item in told.summaries.items()) if row]
    best = _best(told.run)
    if not (rows or told.files or best):
        return
    yield from ["## Figures", "", "Shares with their 95% intervals."]
    if best:
        yield from ["", best]
    if rows:
        yield from ["", "| evaluation | data | n | right |", "|---|---|---:|---:|", *rows]
    if told.files:
        files = [replace(file, name=PurePath(file.name).name) for file in told.files]
        yield from ["", markdown(Report([], files))]


def _rate(summary: Mapping[str, Any]) -> Rate | None:
    """Return how many an evaluation found right; None if it does not say."""
    correct, n = summary.get("correct"), summary.get("n")
    count = correct.get("count") if isinstance(correct, dict) else None
    if isinstance(count, int) and isinstance(n, int) and 0 <= count <= n and n > 0:
        return Rate(count, n)
    return None


def _summary_row(name: str, summary: Mapping[str, Any]) -> str:
    rate = _rate(summary)
    data = PurePath(str(summary.get("data", ""))).name
    return "" if rate is None else f"| {foreign(name)} | {foreign(data)} | {rate.n:,} | {percent(rate)} |"


def _best(run: TrainingRun | None) -> str:
    """Return what a run that measured itself found last, and how good its best adapter was."""
    for phase in reversed(run.phases.values() if run else ()):
        values = [value for value in phase.columns.get("val_accuracy", []) if isfinite(value)]
        sizes = [value for value in phase.columns.get("val_n", []) if isfinite(value)]
        if values and sizes:
            rate = Rate(round(values[-1] * sizes[-1]), int(sizes[-1]))
            return f"At the end of training {percent(rate)} of {rate.n:,} held-out problems were right."
    return ""


def _limits(told: CardSubject) -> Iterator[str]:
    yield from ["## Limits and licence", "", "For word problems in English with few steps. A wrong trace gives a wrong "
                "answer with as much confidence as a right one: look at the trace before you trust it."]  # fmt: skip
    licence = told.origin.licence
    base = f"of the base, {foreign(told.origin.name)}," if told.origin.name else "of the base"
    known = f"The licence {base} is {foreign(licence)}." if licence else f"The licence {base} is to be looked up there."
    yield from ["", f"{known} Data sets have licences of their own."]
    if licence == LLAMA:
        yield from ["", "Built with Llama."]
