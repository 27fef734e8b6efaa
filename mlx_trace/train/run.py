"""Assemble a run from its configuration: model, data, adapter, memory, phases; then train, or go on training."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.memory import plan as budget
from mlx_trace.memory.predict import MemoryPlan
from mlx_trace.memory.shape import Shape, shape_of
from mlx_trace.model.adapter import ADAPTER_WEIGHTS, attach_adapter, check_same_base, check_trainable
from mlx_trace.model.base import Base, Outline, load_base, read_outline
from mlx_trace.model.bursts import burst_of, device_info, display_speed, held_to, wired
from mlx_trace.model.config_json import positions_of
from mlx_trace.model.layers import Split, check_split
from mlx_trace.model.precision import is_dequantised
from mlx_trace.model.prompts import Prompter
from mlx_trace.model.start import check_start, start_from
from mlx_trace.notice import tell
from mlx_trace.numbered import numbered
from mlx_trace.setting import setting
from mlx_trace.train import checkpoint
from mlx_trace.train.checkpoint import Checkpoint
from mlx_trace.train.examples import Watch, unwatched
from mlx_trace.train.gather import Material, gather
from mlx_trace.train.loop import Phase, Report, Run
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rehearse import try_reward
from mlx_trace.train.rl.reinforce import Reinforce
from mlx_trace.train.rl.reward import Scorer, make_scorer
from mlx_trace.train.run_dir import (
    Hold,
    check_new,
    check_unheld,
    check_writable,
    locked,
    open_run,
    sweep,
)
from mlx_trace.train.saved_plan import check_same_data, read_plan, write_plan
from mlx_trace.train.sft import Sft
from mlx_trace.train.validation import Validation, replies_at_once
from mlx_trace.train.work import work_of


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start: everything loaded and checked, nothing written yet."""

    config: Config  # with as many layers as there are
    asked: Config  # as it was given
    base: Base
    prompter: Prompter
    material: Material
    memory: MemoryPlan
    needs: budget.PlannedRun
    ranks: Ranks
    phases: list[Phase] = field(default_factory=list)
    validation: Validation | None = None
    notes: list[str] = field(default_factory=list)  # what each phase will do, for people


def check_folder(config: Config, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse a run whose folder is not as it has to be, before anything is loaded.

    The first process looks; the others wait until it has.
    """
    ranks, is_ready, path = Ranks.found(), False, config.adapter_path
    if not ranks.is_first:
        if not ranks.from_first(True):
            raise UserError("the first process could not start; it says why")
        return
    try:
        if not resume:
            check_new(path, overwrite)
        check_writable(path)
        check_unheld(path)
        if resume:
            read_plan(path)
            _check_resumable(path, checkpoint.load(path, is_said=False))
        is_ready = True
    finally:
        ranks.from_first(is_ready)


def _check_resumable(path: Path, saved: Checkpoint | None) -> None:
    if saved is None and (path / ADAPTER_WEIGHTS).exists():
        raise UserError(f"{path}: has an adapter but no checkpoint to go on from; "
                        f"{setting('overwrite', True)} replaces it")  # fmt: skip


def plan(asked: Config, resume: bool = False, watch: Watch = unwatched) -> Plan:
    """Load and check all that a run needs, and the weights last; UserError if it cannot start."""
    ranks = Ranks.found()
    outline = read_outline(asked.model, asked.trust_remote_code)
    config = fitted(asked, outline.config, ranks)
    check_trainable(config, outline.config)
    starts = [] if resume and checkpoint.exists(config.adapter_path) else config.starts  # they are in it
    check_start(starts)
    prompter = Prompter(outline.tokenizer, config.prompt)
    scorer = make_scorer(config.reinforce)
    material = gather(config, prompter, watch, positions_of(outline.config))
    try_reward(material.problems, scorer)
    usable, speed = budget.usable_memory(device_info()), display_speed()
    on_gpu = mx.default_device().type == mx.gpu
    work = work_of(config, material, prompter, ranks.size, on_gpu)
    allowed = budget.budget_of(config.memory, usable)
    shape = shape_of(outline.config, config, not on_gpu, is_dequantised(outline.path))
    saved, digest = read_plan(config.adapter_path) if resume else (None, None)
    if saved is not None:
        check_same_data(config.adapter_path, digest, material.digest)
    if saved is None:  # refused on its shape alone, if it is
        budget.settle(budget.PlannedRun(shape, work, config.activation_cache, allowed), usable=usable)
    base = _load(config, outline, resume, starts)
    needs = budget.PlannedRun(_shape(base, config), work, config.activation_cache, allowed, config.gpu_seconds, speed)
    memory = saved or budget.settle(needs, _free_disk(config.adapter_path), usable)
    if saved is None:
        memory = replace(memory, max_sequences=replies_at_once(config, needs, memory, prompter, material.validation))
    memory = MemoryPlan(**ranks.from_first(asdict(memory)))
    validation = None
    if material.validation:
        validation = Validation(base, prompter, config, material.validation, memory.max_sequences, ranks)
    planned = Plan(config, asked, base, prompter, material, memory, needs, ranks, validation=validation)
    _add_phases(planned, scorer)
    return planned


def fitted(config: Config, outline: Mapping[str, Any], ranks: Ranks) -> Config:
    """Return a configuration with as many layers as the model has, told where it asks for more."""
    layers = outline.get("num_hidden_layers")
    if not isinstance(layers, int) or config.num_layers <= layers:
        return config
    if ranks.is_first:
        tell(f"num_layers is {config.num_layers}, and {config.model} has {layers} layers: all of them are trained")
    return config.model_copy(update={"num_layers": layers})


def _load(config: Config, outline: Outline, resume: bool, starts: Sequence[Path]) -> Base:
    """Return the model with its adapter attached, which begins with the weights of others."""
    base = load_base(config.model, config.trust_remote_code, config.dtype, identify=True, outline=outline)
    if resume:
        check_same_base(base, config.adapter_path)
    check_split(base.network, base.name)
    attach_adapter(base, config)
    if starts:
        start_from(base, starts)
    return base


def _add_phases(planned: Plan, scorer: Scorer) -> None:
    base, config, material, memory, ranks = (planned.base, planned.config, planned.material, planned.memory,
                                             planned.ranks)  # fmt: skip
    prompter = planned.prompter
    split = Split(base.network, config.num_layers, config.grad_checkpoint, burst_of(base.network, config.gpu_seconds))
    if config.has_sft:
        sft = Sft(base, split, config, material.rows, material.held_out, memory, ranks)
        planned.phases.append(sft)
        planned.notes.append(f"sft: {numbered(sft.updates, 'update')} on {len(material.rows):,} examples")
    if config.reinforce.iters > 0:
        rl = Reinforce(base, split, prompter, config, material.problems, material.rows, memory, ranks, scorer)
        planned.phases.append(rl)
        planned.notes.append(f"rl ({config.reinforce.algorithm}): {numbered(rl.updates, 'update')} on "
                             f"{len(material.problems):,} prompts")  # fmt: skip


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
    return shutil.disk_usage(next(folder for folder in (path, *path.absolute().parents) if folder.exists())).free


def train(
    planned: Plan,
    report: Report,
    resume: bool = False,
    overwrite: bool = False,
    after_phase: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Run what was planned in its directory, and return what is doubtful of phases that are done, each in a line.

    Raises `Interrupted` after Ctrl-C, once everything is saved.
    """
    with (
        _opened(planned, resume, overwrite) as (hold, saved),
        wired(planned.base.network),
        held_to(planned.needs.budget),
    ):
        _settle_passes(planned)
        run = Run(planned.config, planned.base, report, planned.ranks, hold, after_phase, planned.validation)
        run.train(planned.phases, _shared(saved, planned.ranks))
        return run.doubts


def _settle_passes(planned: Plan) -> None:
    """Settle how passes are weighed, timed only if that was asked for, and save the plan with the run.

    Passes of other widths round differently: a resumed run is to repeat those that it had.
    """
    decoders = [phase.decoder for phase in planned.phases if isinstance(phase, Reinforce)]
    headroom = planned.memory.headroom
    if decoders and headroom is None and planned.ranks.is_first:
        rl = planned.config.reinforce
        batch_size = min(planned.memory.max_sequences, rl.batch_size * rl.group_size)
        headroom = decoders[0].probed_headroom(batch_size)
    headroom = planned.ranks.from_first(headroom)
    for decoder in decoders:
        decoder.settle_passes(headroom)
    if planned.ranks.is_first:
        settled = replace(planned.memory, headroom=headroom)
        write_plan(planned.config.adapter_path, settled, planned.material.digest)


@contextmanager
def _opened(planned: Plan, resume: bool, overwrite: bool) -> Iterator[tuple[Hold | None, Checkpoint | None]]:
    """Hold the run's directory, new or as it was left, and yield the hold and its last checkpoint.

    The first process does; the others wait until it has, and yield nothing.
    """
    path, is_ready = planned.config.adapter_path, False
    if not planned.ranks.is_first:
        if not planned.ranks.from_first(True):
            raise UserError("the first process could not start; it says why")
        yield None, None
        return
    try:
        if not resume:
            check_new(path, overwrite)
        with locked(path) as hold:
            sweep(path)
            saved = checkpoint.load(path) if resume else None
            checkpoint.tidy(path)
            if resume:
                _check_resumable(path, saved)
            if saved is None:
                open_run(planned.base, planned.config, planned.asked)
            is_ready = planned.ranks.from_first(True)
            yield hold, saved
    finally:
        if not is_ready:
            planned.ranks.from_first(False)


def _shared(saved: Checkpoint | None, ranks: Ranks) -> Checkpoint | None:
    """Return the first rank's checkpoint, on every rank."""
    progress = ranks.from_first(None if saved is None else saved.progress)
    if progress is None:
        return None
    mine = saved or Checkpoint({}, {}, {})
    adapter, optimizer, extra = map(ranks.arrays_from_first, (mine.adapter, mine.optimizer, mine.extra))
    return Checkpoint(adapter, optimizer, progress, extra)
