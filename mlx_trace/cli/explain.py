"""`mlx-trace explain`: a model writes out solutions to problems with answers, and those that are right become data."""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from mlx_trace.cli.options import FORMATS, add_field_option, add_sampling_options, at_least, sampling_of
from mlx_trace.cli.output import output_file, show_json, shower
from mlx_trace.cli.records import reporter
from mlx_trace.cli.screen import Screen
from mlx_trace.config import DTYPE, MODEL, Dtype
from mlx_trace.destination import check_apart
from mlx_trace.files import check_output, write_atomically
from mlx_trace.notice import tell
from mlx_trace.numbered import numbered

if TYPE_CHECKING:
    from mlx_trace.explain import Explanation

_LONGEST: Final = 256


def add_explain_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="FILE", help=f"problems with answers: {FORMATS}")
    parser.add_argument("--model", required=True, metavar="M", help=f"{MODEL}; it is asked without an adapter")
    parser.add_argument("-o", "--output", type=output_file, required=True, metavar="FILE.jsonl",
                        help="where to write the solutions that come to their answers, in GSM-8K's form")  # fmt: skip
    add_field_option(parser)
    parser.add_argument("-n", "--limit", dest="n", type=at_least(1), metavar="N",
                        help="how many problems, a random sample drawn by --seed; all unless given")  # fmt: skip
    add_sampling_options(parser, "solutions to a problem, of which every one that is right is kept")
    parser.add_argument("--max-tokens", type=at_least(1), default=_LONGEST, metavar="N",
                        help="longest solution, in tokens (default %(default)s)")  # fmt: skip
    parser.add_argument("--batch-size", type=at_least(1), default=64, metavar="N",
                        help="solutions decoded at once (default %(default)s; fewer take less memory)")  # fmt: skip
    parser.add_argument("--dtype", choices=get_args(Dtype), default="auto", help=f"{DTYPE} (default %(default)s)")
    parser.add_argument("--trust-remote-code", action="store_true", help="allow code that comes with the model")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_explain(options: argparse.Namespace) -> int:
    from mlx_trace.evaluate.suites import draw
    from mlx_trace.problems.fields import parse_told

    params = sampling_of(options, seeds_problems=True)
    check_output(options.output)
    check_apart(options.output, [Path(options.data)])
    problems = draw(options.data, options.n, parse_told(options.field), options.seed or 0, golds=False).problems
    from mlx_trace.explain import explanations
    from mlx_trace.model.base import load_base

    base = load_base(options.model, options.trust_remote_code, options.dtype)
    tally, began = _Tally(), time.perf_counter()
    with Screen(stderr=True).status("") as status:
        report = reporter(status.update, len(problems) * params.n, 0)
        written = explanations(base, problems, params, options.batch_size, report)
        kept = write_atomically(options.output, tally.kept(written))
    if tally.is_stopped:
        tell(f"stopped; what was done is in {options.output}")
        raise KeyboardInterrupt
    _show(options, tally, kept, time.perf_counter() - began)
    return 0


@dataclass
class _Tally:
    """What became of solutions, how many of those that were kept had a calculation put right, and all tokens."""

    fates: Counter[str] = field(default_factory=Counter)
    mended: int = 0
    tokens: int = 0
    is_stopped: bool = False

    def kept(self, written: "Iterable[Explanation]") -> Iterator[str]:
        """Yield the lines of those that are kept, and count all; Ctrl-C ends them, and what was done is written."""
        try:
            for explanation in written:
                self.fates[explanation.fate] += 1
                self.tokens += explanation.tokens
                if explanation.fate == "kept":
                    self.mended += bool(explanation.mistakes)
                    yield json.dumps(explanation.as_row(), ensure_ascii=False) + "\n"
        except KeyboardInterrupt:
            self.is_stopped = True


def _show(options: argparse.Namespace, tally: _Tally, kept: int, seconds: float) -> None:
    """Say what became of the solutions."""
    total = tally.fates.total()
    if options.json:
        show_json({"solutions": total, "fates": dict(tally.fates.most_common()), "corrected": tally.mended,
                   "tokens": tally.tokens, "seconds": round(seconds, 3)})  # fmt: skip
        return
    show = shower(options.output)
    show(f"{numbered(total, 'solution')}, {tally.tokens:,} tokens, in {seconds:.1f} s")
    for name, count in tally.fates.most_common():
        show(f"  {name:<20} {count:>7,}  {count / total:6.1%}")
    show(f"{numbered(kept, 'solution')} written to {options.output}, {tally.mended:,} of them with a calculation put "
         "right; say it as file of a compiled source (README)")  # fmt: skip
