"""What is computed for Macs follows from its parts, and is what the configurations say of themselves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.config import Config
from mlx_trace.config_file import load_config
from mlx_trace.memory.duration import Load, layer_flops, seconds, trained_flops, update_flops
from mlx_trace.memory.macs import CHIPS, GIB, USUAL, chip, chip_of, recommended
from mlx_trace.memory.plan import PlannedRun, describe, settle
from mlx_trace.memory.predict import ExampleLengths, MemoryPlan, Rollouts, Work
from mlx_trace.memory.published import PUBLISHED, published
from mlx_trace.memory.recipe import SIZES, on_mac
from mlx_trace.memory.shape import Shape, shape_of
from mlx_trace.resources import configs_dir

BUNDLED = [path for path in sorted(configs_dir().glob("*.yaml")) if path.stem not in ("tiny", "demo")]
HISTORY = sorted((configs_dir() / "history").glob("run*.yaml"))
WORK = Work(ExampleLengths(389, 54, 274, 8), Rollouts(134, 54, 400, 4, 4), is_fused=True)
LOAD = Load(3000, 3000, 375, 50, 1, 38, 109)
CHIP = st.sampled_from(CHIPS)


def shape(**changes: Any) -> Shape:
    llama = next(model for model in PUBLISHED if model.configuration == "llama32-1b")
    return shape_of(llama.content, Config.model_validate({"num_layers": 6} | changes))


@pytest.mark.parametrize("path", [*BUNDLED, *HISTORY], ids=lambda path: path.stem)
def test_a_configuration_says_of_macs_what_the_tool_says(path: Path) -> None:
    config = load_config(path, {})
    known = published(config.model)
    assert known is not None
    said = [line.removeprefix("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    told = list(known.recipe(config))
    assert len(told) == 1 + len(SIZES)
    first = said.index(told[0])
    assert said[first : first + len(told)] == told


def test_the_history_has_a_configuration_for_every_run_that_is_told_of() -> None:
    numbers = [int(path.stem.removeprefix("run")) for path in HISTORY]
    assert numbers == [*range(1, 14), *range(17, 26)]


@pytest.mark.parametrize("path", HISTORY, ids=lambda path: path.stem)
def test_a_historical_run_is_trained_as_it_was(path: Path) -> None:
    config, run = load_config(path, {}), int(path.stem.removeprefix("run"))
    rl = config.reinforce
    assert (config.learning_rate, rl.learning_rate, config.batch_size, rl.batch_size) == (2e-5, 5e-7, 4, 8)
    assert (rl.algorithm, rl.baseline, rl.ema_decay, rl.ema_start, rl.temperature) == (
        "reinforce",
        "ema",
        0.9,
        0.5,
        0.7,
    )
    assert (rl.iters, rl.kl, rl.group_size, config.decoding.constraint) == (20, 0, 1, "none")
    assert config.num_layers == {24: 8, 25: 16}.get(run, 6)
    assert rl.max_tokens == (250 if run < 18 else 750)
    assert "composition" in str(config.data) or run < 7


def test_the_families_of_the_history_are_there() -> None:
    from mlx_trace.problems.synthetic.generator import generate_balanced
    from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas

    schemas = load_schemas()
    for path in (HISTORY[0], HISTORY[6], HISTORY[-1]):
        (source,) = load_config(path, {}).data
        assert source.source == "synthetic"
        drawn = generate_balanced(select_schemas(source.schemas, schemas), 60, 0, weights=source.weights)
        experts = {problem.source.partition("/")[0] for problem in drawn}
        assert len(drawn) == 60 and experts >= {
            "entity_track",
            "arithmetic",
            "rate_equation",
            "comparison",
            "percentage",
        }


def test_chips_are_known_by_the_names_that_mlx_gives_them() -> None:
    for known in CHIPS:
        assert chip_of({"device_name": f"Apple {known.name}"}) is known
        assert chip(known.name.lower()) is known
    assert chip_of({"device_name": "Apple M99"}) is chip_of({}) is CHIPS[0], "the slowest, so that bounds are kept"
    assert min(CHIPS, key=lambda known: known.speed) is CHIPS[0]
    assert all(chip(name) is not None for name in USUAL.values())
    assert recommended(16 * GIB) == 16 * GIB * 2 // 3 and recommended(64 * GIB) == 48 * GIB


@given(CHIP, CHIP, st.integers(1, 5), st.sampled_from(["off", "memory"]))
def test_more_work_takes_longer_and_a_faster_chip_is_faster(one: Any, other: Any, times: int, keep: Any) -> None:
    plan, more = MemoryPlan(2048, 16, keep), replace(LOAD, seen=times * LOAD.seen, rollouts=times * LOAD.rollouts)
    before, after = (seconds(shape(), WORK, plan, load, one) for load in (LOAD, more))
    assert after["rl"] == pytest.approx(times * before["rl"])
    assert after["sft"] >= before["sft"] and (
        keep == "memory" or after["sft"] == pytest.approx(times * before["sft"], rel=0.02)
    )
    if one.teraflops >= other.teraflops and one.bandwidth >= other.bandwidth:
        assert sum(before.values()) <= sum(seconds(shape(), WORK, plan, LOAD, other).values())


def test_flops_are_those_of_a_networks_matrices(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts what the linear parts of a layer really multiply, in a pass of some tokens."""
    import mlx.core as mx
    import mlx.nn as nn

    from mlx_trace.model.base import load_base

    base, done = load_base(str(random_model)), []
    plain = nn.Linear.__call__

    def counted(self: nn.Linear, states: Any) -> Any:
        done.append(2 * self.weight.size * states.size // states.shape[-1])
        return plain(self, states)

    monkeypatch.setattr(nn.Linear, "__call__", counted)
    mx.eval(base.network.model(mx.zeros((2, 10), dtype=mx.int32)))
    own = shape_of(base.config, Config.model_validate({"num_layers": 1}))
    assert sum(done) == 2 * 10 * own.layers * layer_flops(own, 0)


def test_what_is_trained_costs_more_than_what_is_not() -> None:
    frozen = layer_flops(shape(), 200)
    lora, full = trained_flops(shape(), 200), trained_flops(shape(fine_tune_type="full"), 200)
    assert 2 * frozen < lora < 2.2 * frozen and 2.9 * frozen < full < 3.2 * frozen
    again = trained_flops(shape(grad_checkpoint=True), 200)
    assert lora + frozen <= again <= 1.6 * lora


@given(st.floats(0.05, 20), CHIP, st.integers(500, 10**5))
def test_no_micro_batch_keeps_the_display_waiting_but_a_single_sequence(bound: float, used: Any, budget: int) -> None:
    run = PlannedRun(shape(), WORK, "off", budget * 10**6, bound, used.speed)
    if not run.fits(run.smallest):
        return
    plan = settle(run)
    spent = update_flops(run.shape, WORK, plan.micro_tokens) / used.speed
    assert spent <= bound or plan.micro_tokens == WORK.longest
    assert (len(describe(run, plan)) == 3) == (spent > bound)
    free = settle(replace(run, gpu_seconds=0.0))
    assert free.micro_tokens >= plan.micro_tokens and free == settle(replace(run, speed=0.0))


def test_four_bits_are_said_where_the_base_does_not_fit() -> None:
    config = load_config(configs_dir() / "llama32-3b.yaml", {})
    known = published(config.model)
    assert known is not None
    small = next(line for line in known.recipe(config) if "8 GB" in line)
    assert "does not fit, a 4-bit base" in small
    found = on_mac(known.content, config, known.work(config), None, 16)
    assert found.seconds is None and "depends on files" in found.in_words()
    again = on_mac(known.content, config, known.work(config), known.load(config), 16, chip("M4 Max"))
    slow = on_mac(known.content, config, known.work(config), known.load(config), 16)
    assert again.seconds is not None and slow.seconds is not None
    assert sum(again.seconds.values()) < sum(slow.seconds.values()) / 3


def test_of_files_without_a_number_no_time_is_said() -> None:
    known = PUBLISHED[0]
    base: dict[str, Any] = {"model": known.hub, "reinforce": {"iters": 0}}
    several = [{"source": "synthetic", "n": 30}, {"source": "compiled", "file": "x.jsonl"}]
    assert known.load(Config.model_validate(base | {"data": several})) is None
    shared = [{"source": "synthetic", "share": 0.5}, {"source": "compiled", "file": "x.jsonl", "share": 0.5}]
    load = known.load(Config.model_validate(base | {"data": shared, "examples": 100, "epochs": 2}))
    assert load is not None and (load.examples, load.seen) == (100, 200)
    plain = known.load(Config.model_validate(base | {"data": [{"source": "synthetic", "n": 100}], "epochs": 2}))
    assert plain is not None and plain.target < load.target
