"""Assemble a run from its configuration: model, data, adapter, memory, phases; then train, or go on training."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.generate import wired_limit

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.files import read_json, write_atomically
from mlx_trace.model import budget
from mlx_trace.model.adapter import ADAPTER_WEIGHTS, attach_adapter, check_same_base, check_trainable, start_from
from mlx_trace.model.base import Base, load_base, locate_model
from mlx_trace.model.config_json import positions_of, read_config_json
from mlx_trace.model.layers import Split, check_split
from mlx_trace.model.memory import MemoryPlan
from mlx_trace.model.prompts import Prompter
from mlx_trace.model.shape import Shape, shape_of
from mlx_trace.train import checkpoint
from mlx_trace.train.checkpoint import Checkpoint
from mlx_trace.train.gather import Material, gather
from mlx_trace.train.loop import Phase, Report, Run, check_new, open_run
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rehearse import try_reward
from mlx_trace.train.rl.reinforce import Reinforce
from mlx_trace.train.rl.reward import make_scorer
from mlx_trace.train.sft import Sft
from mlx_trace.train.work import work_of

PLAN_FILE: Final = "plan.json"


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start: everything loaded and checked, nothing written yet."""

    config: Config
    base: Base
    material: Material
    memory: MemoryPlan
    needs: budget.Run
    ranks: Ranks
    phases: list[Phase] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what each phase will do, for people


def plan(config: Config, resume: bool = False) -> Plan:
    """Load and check all that a run needs; UserError if it cannot start."""
    ranks = Ranks.found()
    check_trainable(config, read_config_json(locate_model(config.model), config.trust_remote_code))
    base = load_base(config.model, config.trust_remote_code, config.dtype, identify=True)
    if resume:
        check_same_base(base, config.adapter_path)
    check_split(base.network, base.name)
    prompter = Prompter(base.tokenizer, config.prompt)
    material = gather(config, prompter, positions_of(base.config))
    attach_adapter(base, config)
    if config.resume_adapter_file is not None:
        start_from(base, config.resume_adapter_file)
    split = Split(base.network, config.num_layers, config.grad_checkpoint)
    usable = budget.usable_memory(dict(mx.device_info()) if hasattr(mx, "device_info") else {})
    work = work_of(config, material, prompter, ranks.size, mx.default_device().type == mx.gpu)
    needs = budget.Run(_shape(base, config), work, config.activation_cache, budget.budget_of(config.memory, usable))
    saved = _saved_plan(config.adapter_path) if resume else None
    memory = saved or budget.settle(needs, _free_disk(config.adapter_path), usable)
    memory = MemoryPlan(**ranks.from_first(asdict(memory)))
    planned = Plan(config, base, material, memory, needs, ranks)
    if config.has_sft:
        sft = Sft(base, split, config, material.rows, material.held_out, memory, ranks)
        planned.phases.append(sft)
        planned.notes.append(f"sft: {sft.updates:,} updates on {len(material.rows):,} examples")
    if config.reinforce.iters > 0:
        scorer = make_scorer(config.reinforce)
        try_reward(material.problems, scorer)
        rl = Reinforce(base, split, prompter, config, material.problems, material.rows, memory, ranks, scorer)
        planned.phases.append(rl)
        planned.notes.append(f"rl ({config.reinforce.algorithm}): {rl.updates:,} updates on "
                             f"{len(material.problems):,} prompts")  # fmt: skip
    return planned


def _shape(base: Base, config: Config) -> Shape:
    """Return a loaded network's shape, its sizes as they are."""
    shape = shape_of(base.config, config)
    trained = [value for _, value in tree_flatten(base.network.trainable_parameters())]
    shape = replace(shape, item=base.network.model.norm.weight.dtype.size, trained_item=trained[0].dtype.size,
                    trained_each=sum(value.size for value in trained) // shape.trained_layers)  # fmt: skip
    everything = sum(value.nbytes for _, value in tree_flatten(base.network.parameters()))
    return replace(shape, weights=everything - shape.added)


def _free_disk(path: Path) -> int:
    """Return how much is free where a run's directory is, or will be."""
    return shutil.disk_usage(next(one for one in (path, *path.absolute().parents) if one.exists())).free


def _saved_plan(path: Path) -> MemoryPlan | None:
    """Return what was settled when a run was started; None if it never got that far."""
    file = path / PLAN_FILE
    if not file.exists():
        return None
    content = read_json(file)
    try:
        return MemoryPlan.from_json(content)
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{file}: not the plan of a run") from None


def train(
    planned: Plan,
    report: Report,
    resume: bool = False,
    overwrite: bool = False,
    after_phase: Callable[[str], None] = lambda _: None,
) -> None:
    """Run what was planned in its directory. Raises `Interrupted` after Ctrl-C, once everything is saved."""
    run = Run(planned.config, planned.base, report, planned.ranks, after_phase)
    with _opened(planned, resume, overwrite) as saved, wired_limit(planned.base.network):  # on Metal: no paging
        _settle_passes(planned)
        run.train(planned.phases, _shared(saved, planned.ranks))


def _settle_passes(planned: Plan) -> None:
    """Time the device's passes, unless that was done when the run was started, and save the plan with the run.

    Passes of other widths round differently: a resumed run is to repeat those that it had.
    """
    engines = [phase.decoder.engine for phase in planned.phases if isinstance(phase, Reinforce)]
    headroom = planned.memory.headroom
    if engines and headroom is None and engines[0].max_tokens_per_pass == "auto" and planned.ranks.is_first:
        rl = planned.config.reinforce
        headroom = engines[0].probe(min(planned.memory.max_sequences, rl.batch_size * rl.group_size))
    headroom = planned.ranks.from_first(headroom)
    for engine in engines:
        engine.headroom = headroom
    if planned.ranks.is_first:
        settled = asdict(replace(planned.memory, headroom=headroom))
        write_atomically(planned.config.adapter_path / PLAN_FILE, [json.dumps(settled) + "\n"])


@contextmanager
def _opened(planned: Plan, resume: bool, overwrite: bool) -> Iterator[Checkpoint | None]:
    """Hold the run's directory, new or as it was left, and yield its last checkpoint.

    The first process does; the others wait until it has, and yield nothing.
    """
    path, is_ready = planned.config.adapter_path, False
    if not planned.ranks.is_first:
        if not planned.ranks.from_first(True):
            raise UserError("the first process could not start; it says why")
        yield None
        return
    try:
        if not resume:
            check_new(path, overwrite)
        with checkpoint.locked(path):
            checkpoint.sweep(path)
            saved = checkpoint.load(path) if resume else None
            if resume and saved is None and (path / ADAPTER_WEIGHTS).exists():
                raise UserError(f"{path}: has an adapter but no checkpoint to go on from; --overwrite replaces it")
            if saved is None:
                open_run(planned.base, planned.config)
            is_ready = planned.ranks.from_first(True)
            yield saved
    finally:
        if not is_ready:
            planned.ranks.from_first(False)


def _shared(saved: Checkpoint | None, ranks: Ranks) -> Checkpoint | None:
    """Return the first rank's checkpoint, on every rank."""
    progress = ranks.from_first(None if saved is None else saved.progress)
    if progress is None:
        return None
    mine = saved or Checkpoint({}, {}, {})
    adapter, optimizer, extra = (ranks.arrays_from_first(one) for one in (mine.adapter, mine.optimizer, mine.extra))
    return Checkpoint(adapter, optimizer, progress, extra)
