"""The planner's figures grow with what there is to do, its plan keeps to the budget, and what it advises works."""

import gc
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlx_trace.model  # before MLX: it loads OpenBLAS where that is wanted

import mlx.core as mx  # isort: skip

from mlx_trace.cli.main import main
from mlx_trace.cli.memory import Machine, planned_of, settle_on
from mlx_trace.config import Config
from mlx_trace.config_file import find_config, load_config
from mlx_trace.decode import cache, engine
from mlx_trace.errors import UserError
from mlx_trace.memory import plan as budget
from mlx_trace.memory import predict as memory
from mlx_trace.memory.plan import PlannedRun, settle
from mlx_trace.memory.predict import ExampleLengths, MemoryPlan, Rollouts, Work, predict
from mlx_trace.memory.published import PUBLISHED
from mlx_trace.memory.shape import Shape, shape_of
from mlx_trace.model.adapter import attach_adapter
from mlx_trace.model.base import load_base
from mlx_trace.model.layers import Split
from mlx_trace.model.named import same_model
from mlx_trace.train import learner
from mlx_trace.train.examples import Example
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.run import _shape, plan
from mlx_trace.train.run_dir import PLAN_FILE
from mlx_trace.train.saved_plan import read_plan
from mlx_trace.train.sft import Sft
from tests.train.test_run import config as run_config
from tests.train.test_run import run as train

assert mlx_trace.model is not None
README = Path(__file__).parents[2] / "README.md"

CONTENT = st.fixed_dictionaries({
    "num_hidden_layers": st.integers(1, 40), "hidden_size": st.sampled_from([64, 256, 2048, 4096]),
    "intermediate_size": st.sampled_from([64, 704, 8192]), "num_attention_heads": st.sampled_from([1, 4, 32]),
    "num_key_value_heads": st.just(1), "head_dim": st.sampled_from([16, 64, 128]),
    "vocab_size": st.sampled_from([500, 32_000, 128_256]), "tie_word_embeddings": st.booleans(),
    "torch_dtype": st.sampled_from(["float32", "bfloat16"]),
    "quantization": st.sampled_from([None, {"bits": 4, "group_size": 64}, {"bits": 8, "group_size": 32}]),
})  # fmt: skip
CONFIG = st.fixed_dictionaries({
    "num_layers": st.integers(1, 40) | st.just(-1), "fine_tune_type": st.sampled_from(["lora", "dora", "full"]),
    "grad_checkpoint": st.booleans(), "lora_parameters": st.fixed_dictionaries({"rank": st.integers(1, 64)}),
})  # fmt: skip
SHAPES = st.builds(lambda content, config: shape_of(content, Config.model_validate(config)), CONTENT, CONFIG)
EXAMPLES = st.builds(
    lambda shared, own, target, *others: ExampleLengths(shared + own, shared, min(own, target), *others),
    st.integers(0, 100), st.integers(2, 2000), st.integers(1, 400), st.integers(1, 64), st.integers(0, 10**7),
    st.integers(0, 100), st.just(True), st.booleans(),
)  # fmt: skip
ROLLOUTS = st.builds(
    lambda prefix, own, *others: Rollouts(prefix + own, prefix, *others),
    st.integers(0, 100), st.integers(1, 300), st.integers(1, 800), st.integers(1, 16), st.integers(1, 16), st.booleans(),
    st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
WORKS = st.builds(Work, EXAMPLES, st.none() | ROLLOUTS, st.booleans()) | st.builds(Work, st.none(), ROLLOUTS)
RUNS = st.builds(PlannedRun, SHAPES, WORKS, st.sampled_from(["auto", "memory", "disk", "off"]),
                 st.floats(6, 11.5).map(lambda digits: int(10**digits)))  # fmt: skip
PLANS = st.builds(MemoryPlan, st.integers(1, 20_000), st.integers(1, 64), st.sampled_from(["memory", "disk", "off"]))


def most(shape: Shape, work: Work, planned: MemoryPlan) -> int:
    return predict(shape, work, planned).most


@given(SHAPES, WORKS, PLANS)
def test_larger_networks_take_more(shape: Shape, work: Work, planned: MemoryPlan) -> None:
    before = most(shape, work, planned)
    wider = replace(shape, vocabulary=2 * shape.vocabulary)
    deeper = replace(shape, layers=shape.layers + 1)
    assert most(wider, work, planned) >= before
    assert most(deeper, work, planned) >= before
    if shape.has_frozen_layers:
        assert most(replace(shape, trained_layers=shape.trained_layers + 1), work, planned) >= before * 0.9, (
            "but that the trunk passes by unfused where training keeps nothing"
        )


@given(SHAPES, WORKS, st.integers(1, 8), st.integers(1, 64))
def test_more_at_once_takes_more(shape: Shape, work: Work, rows: int, width: int) -> None:
    planned = MemoryPlan(rows * work.longest, width)
    more, wider = replace(planned, micro_tokens=2 * rows * work.longest), replace(planned, max_sequences=width + 1)
    assert predict(shape, work, wider).rollout >= predict(shape, work, planned).rollout
    if work.rollouts is None:
        waiting = shape.trained  # gradients of one micro-batch wait while another is learnt from
        assert most(shape, work, more) >= most(shape, work, planned) - waiting


@given(SHAPES, EXAMPLES, PLANS, st.integers(1, 500))
def test_longer_examples_take_more_where_there_is_one_at_a_time(
    shape: Shape, examples: ExampleLengths, planned: MemoryPlan, longer: int
) -> None:
    one, alone = replace(planned, micro_tokens=1), replace(examples, batch=1, held_out=0)
    long = replace(alone, longest=alone.longest + longer)
    # the last layer attends from the targets alone: a smaller part of a slightly longer example
    assert most(shape, Work(long, None), one) >= 0.9 * most(shape, Work(alone, None), one)


@given(RUNS, st.integers(0, 10**12))
def test_a_plan_keeps_to_the_budget_or_is_refused(run: PlannedRun, disk: int) -> None:
    try:
        planned = settle(run, disk, 2 * run.budget)
    except UserError as error:
        assert most(run.shape, run.work, run.smallest) > run.budget
        assert "needs" in error.faults[0]
        return
    assert most(run.shape, run.work, planned) <= run.budget
    assert planned.micro_tokens >= run.work.longest
    if run.keep != "auto":
        assert planned.activation_cache == run.keep
    elif planned.activation_cache == "memory":
        left = run.budget - most(run.shape, run.work, run.smallest)
        assert memory.cache_size(run.shape, run.work) <= left / 4
    elif planned.activation_cache == "disk":
        assert memory.cache_size(run.shape, run.work) <= disk / 5
    if run.keep == "auto" and not (run.shape.has_frozen_layers and run.work.examples and run.work.examples.repeats):
        assert planned.activation_cache == "off"


@given(RUNS)
def test_what_is_advised_makes_it_fit(run: PlannedRun) -> None:
    usable = 2 * run.budget
    try:
        settle(run, 0, usable)
    except UserError as error:
        advised = [line.removeprefix("it fits with ") for line in error.faults[1:] if line.startswith("it fits")]
        assert advised or "no setting" in error.faults[1]
        found = {text: changed for change in budget._CHANGES for text, changed in change(run, usable)}
        if len(advised) == 1 and advised[0].endswith("all together"):
            return
        for text in advised:
            settle(found[text])


def test_changes_that_only_fit_together_are_named_together() -> None:
    content = {"num_hidden_layers": 28, "hidden_size": 3072, "intermediate_size": 8192, "num_attention_heads": 24,
               "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256, "torch_dtype": "bfloat16"}  # fmt: skip
    shape = shape_of(content, Config.model_validate({"num_layers": 28}))
    work = Work(ExampleLengths(1000, 50, 400, 4), Rollouts(300, 50, 800, 8, 8), is_fused=True)
    with pytest.raises(UserError) as error:
        settle(PlannedRun(shape, work, "off", 3 * 10**9))
    assert len(error.value.faults) == 2
    assert "all together" in error.value.faults[1]
    assert "a 4-bit base" in error.value.faults[1]


@pytest.mark.parametrize(("given", "usable", "expected"), [("auto", 16, 12), (2.5, 16, 2.5), ("auto", 0, None)])
def test_the_budget_is_three_quarters_or_what_was_said(given: object, usable: int, expected: float | None) -> None:
    found = budget.budget_of(given, usable * 10**9)  # type: ignore[arg-type]
    assert found == (expected * 10**9 if expected else 1 << 62)
    assert budget.usable_memory({"max_recommended_working_set_size": 7, "memory_size": 9}) == 7
    assert budget.usable_memory({"device_name": "NVIDIA RTX", "total_memory": 24, "free_memory": 20}) == 24
    assert budget.usable_memory({}) == budget.physical_memory()


def test_what_is_counted_is_what_is_done() -> None:
    assert cache._STEP == memory._ROOM
    assert engine._READ == memory._READ


# --- a real network --------------------------------------------------------------------------------------------


def update_peak(changes: dict[str, int], folder: Path) -> tuple[int, int]:
    """Return the prediction and the measured peak of an SFT update of tiny, in two micro-batches."""
    rng = np.random.default_rng(0)
    prefix = rng.integers(5, 4000, 40).tolist()
    rows = [Example([*prefix, at, *rng.integers(5, 4000, 60).tolist()], rng.integers(5, 4000, 120).tolist())
            for at in range(8)]  # fmt: skip
    settings = Config.model_validate({"batch_size": 8, "epochs": 3, "adapter_path": str(folder)} | changes)
    gc.collect()  # networks of other tests
    standing = mx.get_active_memory()
    base = load_base("tiny")
    attach_adapter(base, settings)
    planned = MemoryPlan(4 * 220)
    sft = Sft(base, Split(base.network, settings.num_layers, settings.grad_checkpoint), settings, rows, [], planned,
              Ranks())  # fmt: skip
    sft.update(0)
    mx.reset_peak_memory()
    sft.update(1)
    work = Work(ExampleLengths(220, 40, 120, 8), None)
    return most(_shape(base, settings), work, planned), mx.get_peak_memory() - standing


@pytest.mark.parametrize("changes", [{"num_layers": 2}, {"num_layers": 4, "grad_checkpoint": True}])
def test_the_prediction_is_within_a_fifth_of_the_measured_peak(tmp_path: Path, changes: dict[str, int]) -> None:
    predicted, measured = update_peak(changes, tmp_path)
    assert predicted == pytest.approx(measured, rel=0.2)


def test_the_heads_logits_are_there_one_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = update_peak({"num_layers": 1}, tmp_path)
    monkeypatch.setattr(learner, "LOGITS", 1 << 18)
    _, parts = update_peak({"num_layers": 1}, tmp_path)
    logits = 4 * 120 * 4608 * 4
    assert parts < whole - 3 * logits


def test_a_loaded_network_has_the_shape_that_its_config_says(random_model: Path) -> None:
    settings = Config.model_validate({"num_layers": 1, "lora_parameters": {"rank": 4}})
    base = load_base(str(random_model))
    attach_adapter(base, settings)
    loaded, read = _shape(base, settings), shape_of(base.config | {"torch_dtype": "float32"}, settings)
    assert replace(loaded, weights=read.weights) == read
    assert loaded.weights == pytest.approx(read.weights, rel=0.02)  # norms are not counted


def test_a_resumed_run_keeps_its_plan(random_model: Path, tmp_path: Path) -> None:
    data = [{"source": "synthetic", "n": 4}]
    settings = run_config(random_model, tmp_path / "run", reinforce={"iters": 0}, data=data, contamination=[])
    train(settings)
    file = tmp_path / "run" / PLAN_FILE
    content = json.loads(file.read_text(encoding="utf-8"))
    settled = {"micro_tokens": 2048, "max_sequences": 64, "activation_cache": "off", "headroom": None}
    assert content == settled | {"data": content["data"]}
    file.write_text(json.dumps(content | {"micro_tokens": 777, "max_sequences": 3}), encoding="utf-8")
    assert plan(settings, resume=True).memory == MemoryPlan(777, 3, "off")
    earlier = {"micro_tokens": 777, "width": 3, "trunk_cache": "off", "headroom": None}
    file.write_text(json.dumps(earlier), encoding="utf-8")
    assert plan(settings, resume=True).memory == MemoryPlan(777, 3, "off"), "as an earlier version named it"
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="not what a run writes"):
        read_plan(tmp_path / "run")


def test_a_run_that_cannot_fit_is_refused_before_anything_is_written(random_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this run needs") as error:
        plan(run_config(random_model, tmp_path / "run", memory=0.002, contamination=[]))
    assert any("memory: " in line for line in error.value.faults[1:])
    assert not (tmp_path / "run").exists()


# --- in words --------------------------------------------------------------------------------------------------


def test_the_table_of_the_readme_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--markdown"]) == 0
    assert capsys.readouterr().out in README.read_text(encoding="utf-8")


def test_a_configuration_of_ones_own_is_planned(
    capsys: pytest.CaptureFixture[str], random_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    data = "data: [{source: synthetic, n: 4}]\ncontamination: []"
    file.write_text(f"model: {random_model}\nnum_layers: 1\nmax_seq_length: 2048\n{data}\n")
    assert main(["memory", "-c", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "8 GB" in shown
    file.write_text("model: Qwen/Qwen3-0.6B\n")
    assert main(["memory", "-c", str(file)]) == 0
    assert "planned from its published shape" in capsys.readouterr().err
    file.write_text("model: owner/model-that-is-nowhere\n")
    assert main(["memory", "-c", str(file)]) == 2
    assert "is not on this machine" in capsys.readouterr().err


def test_what_a_cpu_computes_in_float32_takes_more_there() -> None:
    for model in PUBLISHED:
        settings = load_config(find_config(model.configuration), {})
        planned = planned_of(model.content, settings, model.work(settings))
        if "quantization" not in model.content:  # whose numbers are as small on a CPU, but for scales and biases
            assert planned(True).shape.weights == 2 * planned(False).shape.weights
        assert settle_on(planned, Machine(2 * 10**8)) is None
        on_cpu, on_gpu = (settle_on(planned, Machine(10**11, on_cpu)) for on_cpu in (True, False))
        assert on_cpu is not None
        assert on_gpu is not None
        assert on_cpu[0] > on_gpu[0]


def test_every_published_model_has_its_configuration() -> None:
    for model in PUBLISHED:
        settings = load_config(find_config(model.configuration), {})
        assert same_model(settings.model, model.hub)
        known = model.lengths
        assert settings.reinforce.max_tokens >= known.target
        assert settings.max_seq_length >= max(known.example, known.prompt + settings.reinforce.max_tokens)
