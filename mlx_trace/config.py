"""A run's configuration as pydantic models. Defaults are written here and only here, but for those of data
(`config_sources`), of decoding (`config_decoding`) and of reinforcement (`config_reinforce`).

Keys that mlx-lm has too mean the same, but for `iters`: ours counts optimizer updates, mlx-lm's micro-batches. Unknown
keys are errors.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mlx_trace.config_decoding import Decoding, unquoted_off
from mlx_trace.config_reinforce import ReinforceConfig
from mlx_trace.config_sources import Section, Source, SyntheticSource, read_sources

SYSTEM_PROMPT: Final = (
    "You are a helpful assistant with access to the following experts: "
    "entity_track, arithmetic, rate_equation, comparison, percentage"
)
MODEL: Final = "a name such as tiny or smollm2-135m, a directory, a GGUF file, or a hub name"
DTYPE: Final = "what to compute in; auto: float32 on a CPU, the model's own type on a GPU"
LINEAR: Final = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)
_MOST_EPOCHS: Final = 100_000
SEEDS: Final = 1 << 64  # how many seeds there are
VOTING_TEMPERATURE: Final = 0.7  # of samples that vote, unless one is given
FUSE_QUESTIONS: Final = 8  # on which a fused model is compared with its adapter
STRATA_KEY: Final = {  # by what an evaluation counts apart, and how its JSON calls the counts
    "expert": "experts", "steps": "steps", "length": "lengths", "numbers": "numbers", "source": "sources"
}  # fmt: skip
GPU_SECONDS: Final = 2.0  # of work that a GPU with a display is given at once
_FULL_RATE: Final = 1e-5  # where all weights of a layer are trained


class LoraParameters(Section):
    """As in mlx-lm."""

    rank: int = Field(8, ge=1, description="rank of the added matrices")
    scale: float = Field(20.0, gt=0, description="what their product is multiplied by, as it stands (no alpha)")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on their input")
    keys: list[str] | None = Field(None, description="layers to adapt, as [self_attn.q_proj]; null: every linear one")

    @field_validator("keys")
    @classmethod
    def _linear(cls, keys: list[str] | None) -> list[str] | None:
        """Refuse embeddings, heads, norms and slips, of which mlx-lm would train some, and others never."""
        beyond = [key for key in keys or () if key not in LINEAR]
        if beyond or keys == []:
            named = f"names {', '.join(beyond)}" if beyond else "is empty, which names nothing"
            raise ValueError(f"{named}; what is adapted are linear parts of layers: {', '.join(LINEAR)}")
        return keys


TraceForm = Literal["operation_first", "name_first", "commented"]
OPERATION_FIRST: Final[TraceForm] = "operation_first"


class Prompt(Section):
    """How a question becomes a prompt, and in which form its trace is the reply."""

    template: Literal["chat", "raw"] = Field("chat", description="chat: the tokenizer's template; raw: plain text")
    system: str = Field(SYSTEM_PROMPT, description="the system prompt; empty for none")
    trace_form: TraceForm = Field(
        OPERATION_FIRST,
        description="operation_first: a step says what it does, then to what name; name_first: first a name that says "
        "what is computed (eggs_left), and arithmetic wherever several experts can be right; commented: as name_first, "
        "and before each computation and what it needs a line of reasons in words (# …), which the solver passes over",
    )


def _auto_or_size(value: object) -> object:
    if value == "auto" or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6):
        return value
    raise ValueError("input should be auto or a number of gigabytes")


Dtype = Literal["auto", "float32", "bfloat16", "float16"]
TrackerName = Literal["wandb", "tensorboard", "trackio", "swanlab"]
TRACKER_NAMES: Final[tuple[TrackerName, ...]] = get_args(TrackerName)


def read_trackers(value: object) -> Any:
    """Return trackers' names, also of names with commas between, `none` and `all`; ValueError for anything else."""
    named = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    if named in (None, ["none"]):
        return []
    if named == ["all"]:
        return [*TRACKER_NAMES]
    if isinstance(named, list) and all(name in TRACKER_NAMES for name in named):
        return list(dict.fromkeys(named))
    raise ValueError(f"input should be none, all, or some of {', '.join(TRACKER_NAMES)}")


RENAMED: Final = {  # keys of earlier versions, which are still read
    "trunk_cache": "activation_cache",
    "decoding.cap": "decoding.max_tokens_per_pass",
    "reinforce.resample_dead": "reinforce.resample_zero_variance",
}


class Config(Section):
    """A training run: supervised fine-tuning, then reinforcement."""

    model: str = Field("tiny", min_length=1, description=MODEL)
    dtype: Dtype = Field("auto", description=DTYPE)
    adapter_path: Path = Field(Path("adapters/run"), description="the run's directory")
    seed: int = Field(0, ge=0, lt=SEEDS, description="of everything random")
    fine_tune_type: Literal["lora", "dora", "full"] = Field("lora", description="lora, dora or full")
    num_layers: int = Field(
        16, ge=-1, description="how many top layers are trained; -1, or more than there are, is all"
    )
    lora_parameters: LoraParameters = Field(LoraParameters(), description="rank, scale, dropout, keys")
    resume_adapter_file: Path | list[Path] | None = Field(
        None,
        description="start from this adapter (a file, or a run's directory), of other layers or another rank, too, "
        "or from the mean of several",
    )
    prompt: Prompt = Field(Prompt(), description="template, system, trace_form")
    decoding: Decoding = Field(Decoding(), description="constraint, grounding, rules, max_tokens_per_pass")
    data: list[Source] = Field(
        [SyntheticSource(source="synthetic", n=1000)],
        min_length=1,
        description="sources: {source: synthetic, n: N} or {share: X}, {source: compiled, file: F, variants: K}, "
        "{source: file, path: F}",
    )
    examples: int | None = Field(None, ge=1, description="all problems together, where every source has a share")
    curriculum: Literal["none", "steps"] = Field(
        "none", description="steps: SFT's first epoch goes from short traces to long ones"
    )
    contamination: list[str] = Field(
        ["synthetic", "phrasing", "everyday"],
        description="evaluation sets that the data is checked against before training",
    )
    max_seq_length: int = Field(1024, ge=16, description="longest example; longer ones are an error, never cut")
    iters: int | None = Field(
        None, ge=0, description="SFT updates (mlx-lm's iters counts micro-batches); null: as the epochs say"
    )
    epochs: int = Field(
        1, ge=0, le=_MOST_EPOCHS, description="times that SFT sees every example; 0 leaves the phase out"
    )
    batch_size: int = Field(8, ge=1, description="examples of an SFT batch")
    batch_tokens: int | None = Field(
        None, ge=16, description="tokens of an SFT batch, padding and all, instead of batch_size"
    )
    grad_accumulation_steps: int = Field(1, ge=1, description="SFT batches of one update; iters counts updates")
    learning_rate: float = Field(
        1e-4,
        gt=0,
        le=1,
        description=f"AdamW's peak rate in SFT; where fine_tune_type is full, {_FULL_RATE:g} unless it is given",
    )
    warmup: int = Field(0, ge=0, description="updates in which the rate rises to its peak")
    lr_decay: Literal["none", "cosine", "linear"] = Field("none", description="how it then falls, to a tenth")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's, in SFT")
    loss: Literal["all", "choices"] = Field(
        "all",
        description="what of a gold trace SFT learns: all of its tokens; choices: those that the constraint leaves "
        "to the model, among what it offers there",
    )
    name_weight: float = Field(
        1.0,
        ge=0,
        le=1,
        description="under loss: choices, what a token weighs in the loss that spells a name or a comment; those that "
        "choose among operations, fields, names and numbers that are there weigh 1",
    )
    finish_on_all: int = Field(
        0,
        ge=0,
        description="under loss: choices, the last so many updates of SFT learn all tokens, as other tools need it",
    )
    grad_clip: float = Field(1.0, ge=0, description="largest gradient norm; 0 is none")
    grad_checkpoint: bool = Field(False, description="recompute activations: less memory, more time")
    activation_cache: Annotated[Literal["auto", "memory", "disk", "off"], BeforeValidator(unquoted_off)] = Field(
        "auto", description="where SFT keeps what the frozen layers make of each example: auto, memory, disk or off"
    )
    memory: Annotated[Annotated[float, Field(gt=0, lt=1e6)] | Literal["auto"], BeforeValidator(_auto_or_size)] = Field(
        "auto", description="most memory to plan for, in GB; auto: three quarters of what the device recommends"
    )
    gpu_seconds: float = Field(
        GPU_SECONDS,
        ge=0,
        le=3600,
        description="on a Mac, most seconds of work that its GPU is given at once, as computed from its speed, since "
        "the display waits for it; 0: no bound",
    )
    val_examples: int = Field(0, ge=0, description="SFT examples that are held out to measure the loss on")
    steps_per_eval: int = Field(100, ge=1, description="SFT updates between two such measurements")
    patience: int | None = Field(None, ge=1, description="stop SFT after so many measurements without a better one")
    eval_every: int | None = Field(
        None,
        ge=1,
        description="updates, of either phase, between two measurements of accuracy, by which the best adapter is then "
        "kept; null: none",
    )
    eval_suite: str = Field(
        "synthetic", min_length=1, description="the problems they are made on: synthetic, phrasing, everyday, or a file"
    )
    eval_n: int = Field(100, ge=1, description="how many problems of it, at most")
    save_every: int = Field(100, ge=1, description="updates between checkpoints")
    reinforce: ReinforceConfig = Field(ReinforceConfig(), description="the reinforcement phase")
    trust_remote_code: bool = Field(False, description="allow code that comes with the model")
    report_to: Annotated[list[TrackerName], BeforeValidator(read_trackers)] = Field(
        [],
        description="who else is told what updates measure: none, all, or some of wandb, tensorboard, trackio, swanlab",
    )
    project_name: str | None = Field(None, min_length=1, description="their project; null: mlx-trace")
    run_name: str | None = Field(None, min_length=1, description="their name of the run; null: that of adapter_path")

    _sources = field_validator("data", mode="before")(read_sources)

    @field_validator("adapter_path", "resume_adapter_file", mode="before")
    @classmethod
    def _named(cls, path: Any) -> Any:
        if path in ("", [""]):  # a path without a name would be the current folder
            raise ValueError("the path is empty")
        return path

    @field_validator("num_layers")
    @classmethod
    def _some_layers(cls, layers: int) -> int:
        if layers == 0:
            raise ValueError("no layers would be trained; -1 is all of them")
        return layers

    @model_validator(mode="before")
    @classmethod
    def _rate(cls, content: Any) -> Any:
        """Fill in a rate at which whole layers learn and forget nothing, where they are trained and none is given."""
        is_full = isinstance(content, dict) and content.get("fine_tune_type") == "full"
        return {"learning_rate": _FULL_RATE} | content if is_full else content

    @property
    def starts(self) -> list[Path]:
        """Return the adapters whose mean the run starts from."""
        given = self.resume_adapter_file
        return given if isinstance(given, list) else [given] if given is not None else []

    @property
    def has_sft(self) -> bool:
        """Tell whether the run begins with SFT."""
        return self.epochs > 0 if self.iters is None else self.iters > 0

    @model_validator(mode="after")
    def _choosing(self) -> Self:
        if self.loss == "choices" and self.decoding.constraint == "none":
            raise ValueError("loss: choices learns what a constraint leaves to choose: set decoding.constraint: scope")
        if self.name_weight != 1 and self.loss == "all":
            raise ValueError("name_weight: weighs choices alone: set loss: choices")
        if self.finish_on_all and self.patience is not None:
            raise ValueError("finish_on_all: patience may end the run before its last updates: set one of the two")
        return self

    @model_validator(mode="after")
    def _patient(self) -> Self:
        if self.patience is not None and not self.val_examples:
            raise ValueError("patience waits for a better loss on held-out examples: set val_examples")
        return self
