"""A planned run, trained and followed: what its updates measure goes to the trackers of `report_to`, too."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate

from mlx_trace.files import lenient_lines
from mlx_trace.json_text import parse_json
from mlx_trace.run_files import METRICS_FILE
from mlx_trace.tracking.tracker import State
from mlx_trace.tracking.tracking import Tracking
from mlx_trace.train import run
from mlx_trace.train.interrupt import Interrupted
from mlx_trace.train.loop import Report
from mlx_trace.train.metrics import Metrics, figures_of


def train(
    planned: run.Plan,
    report: Report,
    resume: bool = False,
    overwrite: bool = False,
    after_phase: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Run what was planned as `run.train` does, with the trackers that the configuration names."""
    if not planned.config.report_to:
        return run.train(planned, report, resume, overwrite, after_phase)
    sizes = [phase.updates for phase in planned.phases]
    before = dict(zip((phase.name for phase in planned.phases), accumulate([0, *sizes]), strict=False))
    tracking = Tracking(planned.config, before, resume)

    def both(phase: str, done: int, updates: int, metrics: Metrics) -> None:
        report(phase, done, updates, metrics)
        tracking.note(phase, done, metrics)

    with _ended(planned, tracking):
        return run.train(planned, both, resume, overwrite, after_phase)


@contextmanager
def _ended(planned: run.Plan, tracking: Tracking) -> Iterator[None]:
    """End what follows a run as the run ends."""
    state: State = "failed"
    try:
        yield
        state = "finished"
    except (Interrupted, KeyboardInterrupt):
        state = "stopped"
        raise
    finally:
        if tracking.trackers:
            tracking.finish(_figures(planned), state)


def _figures(planned: run.Plan) -> dict[str, float]:
    rows, file = list[Metrics](), planned.config.adapter_path / METRICS_FILE
    for _, line in lenient_lines(file) if file.is_file() else ():
        with suppress(ValueError):
            row = parse_json(line or "")
            rows += [row] if isinstance(row, dict) and "phase" in row else []
    return figures_of(rows)
