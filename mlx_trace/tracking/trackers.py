"""The trackers there are: wandb, tensorboard, trackio and swanlab, each imported where it is started."""

from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import partial
from importlib.util import find_spec
from time import time
from typing import Any, Final

import yaml

from mlx_trace.config import TrackerName
from mlx_trace.errors import UserError
from mlx_trace.tracking.tracker import State, TrackedRun, Tracker

_PATIENCE: Final = 30.0  # seconds that a server may take to answer before the run goes on without it
_FINAL: Final = "final/"


class Wandb:
    """Weights & Biases; WANDB_MODE=offline keeps everything in the run's folder, for `wandb sync`."""

    def start(self, run: TrackedRun) -> str | None:
        """Begin a run, or go on with the one of its id."""
        import wandb

        run.folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(silent=True, console="off", init_timeout=_PATIENCE, save_code=False)
        self._run = wandb.init(
            project=run.project, name=run.name, id=run.id, resume="allow", config=dict(run.config), dir=str(run.folder),
            settings=settings, reinit="create_new",
        )  # fmt: skip
        url: str | None = None if self._run.offline else self._run.url
        return url

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Note an update; what was noted already is not noted again."""
        self._run.log(dict(values), step=step)

    def finish(self, figures: Mapping[str, float], step: int, state: State) -> None:
        """Put the figures into the run's summary."""
        self._run.summary.update({**figures, "state": state})
        self._run.finish(exit_code=int(state == "failed"))


class TensorBoard:
    """Event files in the run's folder, as PyTorch writes them: with TensorBoard's own writer."""

    def start(self, run: TrackedRun) -> str | None:
        """Begin a file, with the configuration as text."""
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = run.folder / "tensorboard"
        self._writer = EventFileWriter(str(folder))
        indented = yaml.safe_dump(dict(run.config), sort_keys=False).replace("\n", "\n    ")
        self._add(text_pb("config", f"    {indented}"), 0)
        return f"tensorboard --logdir {folder}"

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Note an update; of what is noted twice TensorBoard shows both, which are equal."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._add(Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()]), step)

    def finish(self, figures: Mapping[str, float], step: int, state: State) -> None:
        """Note the figures at the last step."""
        self.log({_FINAL + name: value for name, value in figures.items()}, step)
        self._writer.close()

    def _add(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(summary=summary, step=step, wall_time=time()))


class Trackio:
    """Trackio: a local database, or a Space of the hub that TRACKIO_SPACE_ID names."""

    def start(self, run: TrackedRun) -> str | None:
        """Begin a run, or go on with the one of its name, which has the run's id."""
        import trackio

        name = f"{run.name}-{run.id[:6]}"  # names are what it tells runs apart by
        resume = "allow" if run.is_resumed else "never"
        begin = partial(trackio.init, run.project, name=name, config=dict(run.config), resume=resume, embed=False)
        self._run = copy_context().run(begin)  # or it would end the run once more as Python ends, and print
        return f"trackio show --project {run.project}"

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Note an update."""
        self._run.log(dict(values), step=step)

    def finish(self, figures: Mapping[str, float], step: int, state: State) -> None:
        """Note the figures at the last step."""
        self._run.log({_FINAL + name: value for name, value in figures.items()}, step=step)
        self._run.finish()


class Swanlab:
    """SwanLab; SWANLAB_MODE=offline or local keeps everything in the run's folder."""

    def start(self, run: TrackedRun) -> str | None:
        """Begin a run, or go on with the one of its id, which only its server can."""
        import swanlab

        folder = run.folder / "swanlog"
        folder.mkdir(parents=True, exist_ok=True)
        settings = swanlab.Settings(interactive=False, terminal=swanlab.Settings.Terminal(proxy_type="none"))
        self._run = swanlab.init(
            project=run.project, name=run.name, id=run.id, resume="allow", config=dict(run.config), log_dir=str(folder),
            settings=settings, reinit=True,
        )  # fmt: skip
        return None

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Note an update."""
        self._run.log(dict(values), step=step)

    def finish(self, figures: Mapping[str, float], step: int, state: State) -> None:
        """Note the figures at the last step."""
        self._run.log({_FINAL + name: value for name, value in figures.items()}, step=step)
        self._run.finish(state="crashed" if state == "failed" else "success")


TRACKERS: Final[dict[TrackerName, Callable[[], Tracker]]] = {
    "wandb": Wandb, "tensorboard": TensorBoard, "trackio": Trackio, "swanlab": Swanlab
}  # fmt: skip


def check_installed(names: list[TrackerName]) -> None:
    """Refuse trackers that are not installed, before a run begins."""
    if faults := [f"report_to: {name} is not installed: pip install {name}" for name in names if not find_spec(name)]:
        raise UserError(*faults)
