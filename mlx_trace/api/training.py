"""Training from Python: a configuration and its overrides become a run, as with `mlx-trace train`."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from mlx_trace.api.arguments import check_report
from mlx_trace.api.loading import locate_base
from mlx_trace.api.quiet import LOGGER, quietly
from mlx_trace.api.trained import TrainedRun
from mlx_trace.config import Config
from mlx_trace.config_file import find_config, load_config, unallowed
from mlx_trace.errors import UserError
from mlx_trace.resources import expanded
from mlx_trace.run_files import CONFIG_FILE

Metrics = dict[str, float | int | str]
Report = Callable[[str, int, int, Metrics], None]
_DATA: Final = ("data", "reinforce.data")


def _unheard(phase: str, done: int, updates: int, metrics: Metrics) -> None:
    """Report nothing."""


@quietly
def train(
    config: str | Path | Mapping[str, Any] | Config | None = None, *, resume: bool = False, overwrite: bool = False,
    report: Report = _unheard, **overrides: Any,
) -> TrainedRun:  # fmt: skip
    """Train an adapter, and return its run: a configuration is a file, a bundled one's name, or keys with values.

    Overrides are keys of the configuration: `iters=20`, `reinforce={"iters": 5}`, `**{"reinforce.iters": 5}`; `data`
    may be files, too. `report` is called after every update with (phase, updates done, of how many, what was measured).
    Ctrl-C saves after the update at hand and raises `Interrupted`; `train(resume=True, adapter_path=…)` goes on. In
    another thread than the main one signals are not heard, and an exception that `report` raises ends the run.

    >>> import mlx_trace
    >>> tiny = {"model": "tiny", "data": [{"source": "synthetic", "n": 8}], "max_seq_length": 512, "num_layers": 1}
    >>> run = mlx_trace.train(tiny, iters=2, batch_size=2, adapter_path="adapters/of-a-notebook", overwrite=True)
    >>> [row["update"] for row in run.metrics]
    [1, 2]
    >>> updates, losses = run.curve("loss")
    >>> model = run.load()
    """
    check_report(report)
    settled = _settled(config, overrides, resume, overwrite)
    return _trained(settled, report, resume, overwrite)


def _trained(settled: Config, report: Report, resume: bool, overwrite: bool) -> TrainedRun:
    """Check all that a run needs, train it, and return it."""
    from mlx_trace.model.base import locate_model
    from mlx_trace.model.gguf.convert import check_file
    from mlx_trace.tracking.trackers import check_installed
    from mlx_trace.train import run, tracked
    from mlx_trace.train.interrupt import Interrupted

    check_file(settled.model)
    check_installed(settled.report_to)
    run.check_folder(settled, resume, overwrite)
    if resume:
        locate_base(settled.model, settled.adapter_path / CONFIG_FILE)
    else:
        locate_model(settled.model)
    planned = run.plan(settled, resume)
    for note in planned.notes:
        LOGGER.info(note)
    try:
        doubts = tracked.train(planned, report, resume, overwrite)
    except Interrupted:
        path = settled.adapter_path
        raise Interrupted(
            f"{path}: stopped and saved; train(resume=True, adapter_path={str(path)!r}) goes on"
        ) from None
    for doubt in doubts:
        LOGGER.warning(doubt)
    return TrainedRun(settled.adapter_path, tuple(doubts))


def _settled(
    config: str | Path | Mapping[str, Any] | Config | None, overrides: Mapping[str, Any], resume: bool, overwrite: bool
) -> Config:
    """Return the configuration that is meant, or that of the run that is resumed; UserError with every fault."""
    path = find_config(str(config)) if isinstance(config, str | Path) else None
    given = config.model_dump(mode="json", exclude_unset=True) if isinstance(config, BaseModel) else config
    content = None if path is not None or given is None else _mapping(given)
    wanted = {key: _sources(value) if key in _DATA else _plain(value) for key, value in overrides.items()}
    if resume:
        from mlx_trace.train.resuming import resumed

        settled = resumed(path, wanted, overwrite, content, as_flags=False)
    else:
        settled = load_config(path, wanted, content, as_flags=False)
    if faults := [f"{key}: {what}; train({key}={value!r}) allows it, which only the call can"
                  for key, value, what in unallowed(settled, wanted)]:  # fmt: skip
        raise UserError(*faults)
    return settled


def _mapping(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise UserError(f"config is a {type(given).__name__}, not a file, a bundled one's name, or keys with values")
    content = {str(key): _plain(value) for key, value in given.items()}
    return content | {key: _sources(content[key]) for key in _DATA if key in content}


def _plain(value: Any) -> Any:
    """Return a value as YAML would give it."""
    return value.model_dump(mode="json", exclude_unset=True) if isinstance(value, BaseModel) else value


def _sources(value: Any) -> Any:
    """Return sources: those that are given, and of files what they are."""
    if value is None:
        return None
    from mlx_trace.problems.mixture import source_of

    items = [value] if isinstance(value, str | Path | Mapping | BaseModel) else value
    if not isinstance(items, Iterable):
        raise UserError(f"data is a {type(value).__name__}, not a file, a source, or a list of them")
    return [source_of(expanded(item)).model_dump(mode="json", exclude_defaults=True)
            if isinstance(item, str | Path) else _plain(item) for item in items]  # fmt: skip
