"""`mlx-trace push`: an adapter or a model, with a card, goes to the Hugging Face hub; what goes is listed first."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlx_trace.cli.output import show
from mlx_trace.errors import UserError
from mlx_trace.notice import tell
from mlx_trace.resources import adapter_at

if TYPE_CHECKING:
    from mlx_trace.card import CardSubject, Form

INTERRUPTED: Final = 130


def add_push_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER",
                        help="a run's directory, a fused model, or what export --peft wrote")  # fmt: skip
    parser.add_argument("repository", metavar="OWNER/NAME", help="where on the hub; it is made if it is not there")
    parser.add_argument("--plan", action="store_true", help="show the files and the card, and stop; nothing is sent")
    parser.add_argument("--private", action="store_true", help="make the repository private; it is public otherwise")
    parser.add_argument("--run", type=Path, metavar="RUN", help="the run that the card of a fused model tells of")
    parser.add_argument("--records", type=Path, nargs="+", action="extend", default=[], metavar="RECORDS.jsonl",
                        help="what eval -o wrote: its figures go into the card")  # fmt: skip
    parser.add_argument(
        "--base-model", metavar="OWNER/NAME", help="the base's name on the hub, where the run names a folder or a file"
    )
    parser.add_argument(
        "--license", metavar="ID", help="the licence, as the hub names it; by default the base's, where it is known"
    )
    parser.add_argument("--message", metavar="TEXT", help="the commit's message")


def run_push(options: argparse.Namespace) -> int:
    from mlx_trace.push import README, check_repository, form_of, push, upload_files

    if not adapter_at(options.folder).is_dir() and adapter_at(Path(options.repository)).is_dir():
        raise UserError(f"the folder comes first: mlx-trace push {options.repository} {options.folder}")
    check_repository(options.repository)
    options.folder, options.run = adapter_at(options.folder), options.run and adapter_at(options.run)
    form = form_of(options.folder)
    if (options.folder / README).is_file() and (options.records or options.license):
        raise UserError(f"{options.folder}: its own {README} is the card, into which no --records and no --license go; "
                        "mlx-trace report --markdown makes tables for it")  # fmt: skip
    told = _told(options, form)
    from mlx_trace.card import card

    files = upload_files(options.folder, form, told.origin.hub, card(told))
    seen = "private" if options.private else "public, unless it is there already and private"
    show(f"to {options.repository} ({seen}):", flush=True)
    for file in files:
        show(f"{file.size:>15,}  {file.name}")
    show(f"{sum(file.size for file in files):>15,}  bytes in all", flush=True)
    if (options.folder / README).is_file():
        show(f"{README} is the folder's own")
    else:
        _advise(told)
    if options.plan:
        content = files[0].content
        show("\n" + (content.decode() if isinstance(content, bytes) else ""))
        return 0
    try:
        address = push(files, options.repository, options.private, options.message or f"mlx-trace push ({form})")
    except KeyboardInterrupt:
        tell("stopped; a commit is whole or not at all, and none was made, though the repository may be there by now")
        return INTERRUPTED
    show(f"pushed: {address}")
    return 0


def _told(options: argparse.Namespace, form: "Form") -> "CardSubject":
    """Gather what the card tells of."""
    from mlx_trace.card import CardSubject, origin_of, read_summaries
    from mlx_trace.evaluate.records import read_records
    from mlx_trace.evaluate.report.training import read_training
    from mlx_trace.model.adapter import read_adapter_config
    from mlx_trace.push import base_name_of

    run = options.run or (options.folder if form == "adapter" else None)
    if run is not None:
        from mlx_trace.train.run_dir import check_unheld

        check_unheld(run)
    name = base_name_of(options.folder, form) or (read_adapter_config(run).model if run else None)
    origin = origin_of(name, options.base_model, options.license)
    return CardSubject(
        form, options.repository, origin, read_training(run) if run else None,
        [read_records(path) for path in options.records], read_summaries(run) if run else {},
    )  # fmt: skip


def _advise(told: "CardSubject") -> None:
    """Say what of a card is lacking, or what a licence asks for."""
    from mlx_trace.card import LLAMA
    from mlx_trace.model.named import TINY

    if told.form == "model" and told.run is None:
        tell("the card says nothing of how the model was trained, and from what; --run RUN names the run")
    if told.origin.hub is None and told.origin.name != TINY:
        use = "" if told.form == "model" else ", without which an adapter is of little use"
        tell(f"the card names no base on the hub{use}; --base-model OWNER/NAME")
    if told.origin.licence is None:
        tell("the base's licence is not known here, and the card names none; --license ID")
    if told.origin.licence == LLAMA and not told.repository.partition("/")[2].lower().startswith("llama"):
        tell(f"the licence {LLAMA} asks for a name that begins with Llama")
    if not (told.files or told.summaries):
        tell("the card has no figures; mlx-trace eval -o RECORDS.jsonl makes some, and --records takes them")
