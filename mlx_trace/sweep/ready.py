"""What a sweep needs besides its configurations, looked for before its first arm begins, of all arms and measures.

Models are found, and fetched where they are not here; no weights are read, and no code of a reward is run.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from mlx_trace.config import Config
from mlx_trace.config_file import unallowed
from mlx_trace.config_sources import CompiledSource, Source, SyntheticSource
from mlx_trace.errors import UserError
from mlx_trace.evaluate.suites import EVERYDAY, SUITES, draw
from mlx_trace.model.base import locate_model
from mlx_trace.model.gguf.convert import check_file
from mlx_trace.model.start import check_start
from mlx_trace.notice import hushed
from mlx_trace.problems.rows import read_rows
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas
from mlx_trace.sweep.file import Measure, Sweep
from mlx_trace.sweep.runs import SweepRun
from mlx_trace.tracking.trackers import check_installed


def check_ready(content: Sweep, runs: Sequence[SweepRun], measures: Sequence[Measure]) -> None:
    """Refuse a sweep of which an arm could not be trained or measured for want of something; UserError with all."""
    faults = [f"{content.located(('measure', str(content.measure.index(measure)), 'data'))}: {fault}"
              for measure in measures for fault in _faults(partial(_check_measure, measure))]  # fmt: skip
    for run in runs:
        if run.done() is None:
            faults += [f"{_where(content, run, key)}{fault}" for key, fault in _missing(run.config)]
    if faults:
        raise UserError(*dict.fromkeys(faults))  # what is missing for all seeds, once


def _where(content: Sweep, run: SweepRun, key: str) -> str:
    place = content.origin(run.arm, run.seed, key.split("."))
    return f"{run.arm}: {key}: " if place is None else f"{place}: "


def _check_measure(measure: Measure) -> None:
    if measure.data not in SUITES:
        with hushed():  # eval tells it
            draw(measure.data, measure.n, golds=False)


def _missing(config: Config) -> Iterator[tuple[str, str]]:
    """Yield by its key what a run would be refused for once it is its turn."""
    for key, _, what in unallowed(config, {}):
        yield key, f"{what}, which only the command line of train can allow"
    checks: list[tuple[str, Callable[[], object]]] = [
        ("report_to", lambda: check_installed(config.report_to)),
        ("resume_adapter_file", lambda: check_start(config.starts)),
        ("model", partial(_check_model, config.model)),
    ]
    for key, sources in (("data", config.data), ("reinforce.data", config.reinforce.data)):
        checks += [(key, partial(_check_source, source)) for source in sources or ()]
    if config.eval_every is not None and config.eval_suite not in (*SUITES, EVERYDAY):
        checks.append(("eval_suite", lambda: _check_rows(Path(config.eval_suite))))
    for key, check in checks:
        for fault in _faults(check):
            yield key, fault.removeprefix(f"{key}: ")


def _check_model(name: str) -> None:
    check_file(name)
    locate_model(name)


def _check_source(source: Source) -> None:
    if isinstance(source, SyntheticSource):
        select_schemas(source.schemas, load_schemas())
    else:
        _check_rows(source.file if isinstance(source, CompiledSource) else source.path)


def _check_rows(path: Path) -> None:
    """Refuse a file that is not there, or is of no form that is read."""
    next(read_rows(path), None)


def _faults(check: Callable[[], object]) -> Sequence[str]:
    try:
        check()
    except UserError as error:
        return error.faults
    return ()
