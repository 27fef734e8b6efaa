"""What `mlx-trace train --plan` says of Macs: memory and time, for a model that is here and for one that is not.

Nothing is loaded for it and nothing fetched: a model is planned from its config.json, or from what is published of it.
"""

from typing import TYPE_CHECKING

from mlx_trace.cli.memory import local_model
from mlx_trace.cli.screen import Screen
from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.memory.duration import Load
from mlx_trace.memory.published import Published, like, published
from mlx_trace.memory.recipe import recipe
from mlx_trace.model.config_json import read_config_json
from mlx_trace.model.named import NAMED
from mlx_trace.model.precision import is_dequantised
from mlx_trace.resources import expanded

if TYPE_CHECKING:
    from mlx_trace.train.run import Plan


def elsewhere(config: Config) -> Published | None:
    """Return what is known of a model that is not here, or of which there is a config.json alone; None if it is here.

    UserError if nothing is known.
    """
    path = expanded(config.model)
    if path.is_dir() and (path / "config.json").is_file() and not any(path.glob("*.safetensors")):
        return like(config.model, read_config_json(path))
    if local_model(config.model) is not None:
        return None
    if (known := published(config.model)) is None:
        raise UserError(f"{config.model}: is not on this machine, and not among the models whose shape is known "
                        f"({', '.join(entry.name for entry in NAMED)}); a directory with its config.json will do for "
                        "--plan")  # fmt: skip
    return known


def show_elsewhere(screen: Screen, config: Config, known: Published) -> None:
    """Print what a run comes to on Macs, for a model that is not here."""
    screen.print(f"{config.model}: not on this machine, so that its data are not read; planned from its shape, for "
                 "examples as long as the families give")  # fmt: skip
    for line in known.recipe(config):
        screen.print(line, style="dim")


def show_macs(screen: Screen, planned: "Plan") -> None:
    """Print what a run that is planned here would come to on Macs."""
    load = load_of(planned)
    base = planned.base
    for line in recipe(base.config, planned.config, planned.needs.work, load, is_dequantised(base.path)):
        screen.print(line, style="dim")


def load_of(planned: "Plan") -> Load:
    """Return what a planned run does in all, from its data."""
    config, work, rows = planned.config, planned.needs.work, planned.material.rows
    lengths = [row for row in planned.material.lengths if row.trace] or planned.material.lengths
    count = max(1, sum(row.problems for row in lengths))
    prompt = sum(row.problems * row.prompt for row in lengths) / count
    target = sum(row.problems * row.trace for row in lengths) / count
    shared = work.examples.shared if work.examples else work.rollouts.prefix if work.rollouts else 0
    updates = {phase.name: phase.updates for phase in planned.phases}
    size = config.batch_size * config.grad_accumulation_steps
    sft = updates.get("sft", 0)
    seen = 0 if not sft else sft * size if config.iters is not None else config.epochs * len(rows)
    return Load(seen, len(rows), sft, updates.get("rl", 0), config.reinforce.updates_per_batch,
                max(1.0, prompt - shared), target or config.reinforce.max_tokens / 2)  # fmt: skip
