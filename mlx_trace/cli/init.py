"""`mlx-trace init`: four questions, or flags that answer them, become a commented configuration, and its plan."""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from mlx_trace.cli.memory import configuration_of, local_model, this_machine
from mlx_trace.cli.options import add_field_option
from mlx_trace.cli.output import as_word, standard_input
from mlx_trace.cli.screen import Screen
from mlx_trace.config import MODEL
from mlx_trace.config_file import find_config, load_config
from mlx_trace.errors import UserError, meant
from mlx_trace.files import write_atomically
from mlx_trace.memory.macs import CHIPS, GIB, Chip, chip
from mlx_trace.memory.plan import physical_memory
from mlx_trace.memory.published import Published, like, published
from mlx_trace.memory.recipe import TITLE
from mlx_trace.model.config_json import read_config_json
from mlx_trace.model.hub import is_hub_name
from mlx_trace.model.named import NAMED, TINY, canonical
from mlx_trace.resources import expanded
from mlx_trace.starter import PURPOSES, Answers, Purpose, settled, written

_FILE: Final = "mlx-trace.yaml"
_SYNTHETIC: Final = "synthetic"
_MAC: Final = re.compile(
    r"(?:apple\s*)?(m\d(?:\s*(?:pro|max|ultra))?)?[\s,]*(?:(\d{1,3})\s*(?:gb|gib)?)?", re.IGNORECASE
)
_SMALL: Final = 16  # GiB; below it, a smaller model is offered
_LOOKED_AT: Final = 20  # rows of a file, to know whether they have traces
_ANOTHER: Final = (
    "answers come from the terminal or standard input, a line each, or from flags; --yes takes what is offered"
)
Answer = TypeVar("Answer")


def add_init_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="M", help=MODEL)
    parser.add_argument("--data", nargs="+", metavar="FILE",
                        help="files of problems beside those that are generated, or synthetic for none")  # fmt: skip
    add_field_option(parser)
    parser.add_argument(
        "--mac", metavar="MAC", help='the Mac to train on: its memory in GB, its chip, or both, as "M2 Pro 16"'
    )
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=tuple(PURPOSES),
        help="; ".join(f"{name}: {meaning}" for name, meaning in PURPOSES.items()),
    )
    parser.add_argument("-o", "--output", type=Path, default=Path(_FILE), metavar="FILE",
                        help="where to write it (default %(default)s)")  # fmt: skip
    parser.add_argument("--yes", action="store_true", help="ask nothing: take what is offered where no flag answers")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")


@dataclass(frozen=True)
class Question:
    """What is asked, what is offered, and in which words it may be answered."""

    text: str
    offered: str
    choices: str


def run_init(options: argparse.Namespace) -> int:
    from mlx_trace.problems.fields import parse_told

    asker, told = Asker(options.yes), parse_told(options.field)
    _check_output(options, asker)
    size, own = _this_mac()
    small = size < _SMALL
    model = asker.ask(
        Question("Which model?", "qwen25-0.5b" if small else "llama32-1b", _models()), options.model, _model
    )
    data = asker.ask(Question("Which data, besides problems that are generated? Files, or none",
                              _SYNTHETIC, "files of questions with solutions or answers"),
                     options.data, partial(_data, told=told))  # fmt: skip
    mac = asker.ask(Question("What Mac? Memory in GB, and its chip", f"{own.name + ' ' if own else ''}{size}",
                             "as 16, or M2 Pro 32"), options.mac, _mac)  # fmt: skip
    choices = "; ".join(f"{name}: {meaning}" for name, meaning in PURPOSES.items())
    purpose = asker.ask(Question("What for?", "train" if data[1] or not data[0] else "answers", choices),
                        options.purpose, _purpose)  # fmt: skip
    name, known = model
    recipe = load_config(find_config(configuration_of(name)), {})
    answers = Answers(name, known, recipe, data[0], data[1], mac[0], mac[1], purpose)
    return _write(options.output, answers)


def _write(path: Path, answers: Answers) -> int:
    """Write the configuration, read it back, and show what it comes to."""
    content, mac = settled(answers)
    title = [
        f"{answers.model}, {PURPOSES[answers.purpose]}.",
        f"mlx-trace train -c {as_word(path)}",
        TITLE,
        f"  {mac.in_words()}",
    ]
    write_atomically(path, [written(content, title)])
    config = load_config(path, {})
    screen = Screen(soft_wrap=True)
    screen.print(f"wrote {path}")
    for line in answers.known.recipe(config):
        screen.print(line, style="dim")
    if mac.peak is None:
        smaller = f"{answers.model}-4bit"
        other = f"--model {smaller} may" if published(smaller) else "a 4-bit base may, or a smaller model"
        screen.print(f"it does not fit {answers.size} GB, with the fewest layers either; {other} (mlx-trace memory)")
    screen.print(f"look at it, and then: mlx-trace train -c {as_word(path)} --plan")
    return 0


def _check_output(options: argparse.Namespace, asker: "Asker") -> None:
    """Refuse a file that cannot be written, or one that is there, unless somebody says that it may go."""
    path: Path = options.output
    if str(path) == "-":
        raise UserError("-o names a file, which train reads; standard output is none")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UserError(
            f"{path}: {'is a directory' if path.is_dir() else 'its directory does not exist'}; -o names a file"
        )
    if not path.exists() or options.overwrite:
        return
    if not asker.is_terminal or options.yes or not asker.agrees(f"{path} is there already. Replace it?"):
        raise UserError(f"{path}: is there already, and stays as it is; -o names another file, --overwrite replaces it")


class Asker:
    """Asks on a terminal, and reads answers from standard input where there is none; a flag answers beforehand."""

    def __init__(self, takes_offered: bool) -> None:
        self.takes_offered = takes_offered
        self.is_terminal = not takes_offered and sys.stdin is not None and sys.stdin.isatty()
        self.screen = Screen(stderr=True, soft_wrap=True)

    def ask(self, question: Question, given: Any, read: Callable[[Any], Answer]) -> Answer:
        """Return what somebody answers, asked again on a terminal as long as it is no answer; UserError elsewhere."""
        if given is not None:
            return read(given)
        if self.takes_offered:
            return read(question.offered)
        self.screen.print(f"{question.text} [{question.offered}]")
        self.screen.print(f"  {question.choices}", style="dim")
        while True:
            line = self._line(question)
            try:
                return read(line or question.offered)
            except UserError as error:
                if not self.is_terminal:
                    raise
                self.screen.print(error.faults[0])

    def agrees(self, text: str) -> bool:
        """Tell whether somebody says yes."""
        self.screen.print(f"{text} [y/N]")
        return self._line(None).lower() in ("y", "yes")

    def _line(self, question: Question | None) -> str:
        line = standard_input().readline()
        if not line:
            raise UserError(f"{question.text if question else 'replace it?'} there is no answer; {_ANOTHER}")
        return line.strip()


# --- answers ---------------------------------------------------------------------------------------------------


def _models() -> str:
    return ", ".join(entry.name for entry in NAMED) + "; a directory, a GGUF file or a hub name"


def _model(text: str) -> tuple[str, Published]:
    """Return a model's name and what is known of it; one that nobody knows, and that is not here, is refused."""
    name = canonical(text)
    if name == TINY:
        raise UserError(f"{TINY}: has its configurations, mlx-trace train -c {TINY} and -c demo; what is written here "
                        f"is for a pretrained model: {_models()}")  # fmt: skip
    if (known := published(name)) is not None:
        return name, known
    path = expanded(name)
    if path.is_dir() and not (path / "config.json").is_file():
        raise UserError(f"{name}: is a directory without a config.json, so it is no model")
    if is_hub_name(name) and not path.exists():
        folder = local_model(name)
        if folder is None:
            raise UserError(f"{name}: neither here nor among the models whose shape is known, so it cannot be planned; "
                            f"mlx-trace doctor lists those: {_models()}")  # fmt: skip
        return name, like(name, read_config_json(folder))
    if not path.exists():
        names = [entry.name for entry in NAMED]
        raise UserError(f"{name}: no such model; {meant(name, names) or 'names are ' + ', '.join(names)}".strip())
    located = path if path.is_dir() else local_model(name)
    return name, like(name, read_config_json(located or path))


def _data(given: str | list[str], told: Mapping[str, str]) -> tuple[list[dict[str, Any]], bool]:
    """Return the sources that files are, and whether one of them teaches by itself; none for the families alone."""
    from mlx_trace.problems.mixture import source_of

    names = given if isinstance(given, list) else [given] if expanded(given).exists() else given.split()
    sources, teaches = [], False
    for name in names:
        if name.lower() in (_SYNTHETIC, "none"):
            continue
        path = expanded(name)
        source = source_of(path, told)
        teaches |= _have_traces(path, told) or source.source == "compiled"
        sources.append(source.model_dump(mode="json", exclude_defaults=True))
    return sources, teaches


def _have_traces(path: Path, told: Mapping[str, str]) -> bool:
    """Tell whether rows of a file have traces; UserError if the first of them could not be read as problems."""
    from mlx_trace.problems.fields import Fields, check_fields
    from mlx_trace.problems.rows import read_rows

    fields, have = Fields(told), False
    for name, row, fault in islice(read_rows(path), _LOOKED_AT):
        try:
            if row is None:
                raise ValueError(fault)
            check_fields(fields.read(row), row)
        except ValueError as error:
            raise UserError(f"{path}:{name.rpartition(':')[2]}: {error}") from None
        have |= bool({"trace", "messages"} & set(row))
    return have


def _mac(text: str) -> tuple[int, Chip | None]:
    """Return a Mac's memory in GiB and its chip, where that is said."""
    match = _MAC.fullmatch(text.strip())
    if match is None or not (match[1] or match[2]):
        raise UserError(f"{text!r}: is no Mac; say its memory in GB, its chip, or both, as 16, or M2 Pro 32")
    kind = chip(re.sub(r"(?i)^(m\d)\s*", r"\1 ", match[1]).strip()) if match[1] else None
    if match[1] and kind is None:
        raise UserError(
            f"{text!r}: is no chip that is known here; those are {', '.join(known.name for known in CHIPS)}"
        )
    size = int(match[2] or _SMALL)
    if size < 1:
        raise UserError(f"{text!r}: no Mac has {size} GB")
    return size, kind


def _purpose(text: str) -> Purpose:
    names: Mapping[str, Purpose] = {name: name for name in PURPOSES}
    if text.lower() not in names:
        raise UserError(f"{text!r}: is none of {', '.join(names)}")
    return names[text.lower()]


def _this_mac() -> tuple[int, Chip | None]:
    """Return this machine's memory in GiB, and its chip if it is a Mac; elsewhere the memory of a usual Mac."""
    machine = this_machine()
    if machine.chip is None:
        return _SMALL, None
    return max(1, round(physical_memory() / GIB)), machine.chip
