"""The reinforcement phase of a run, and what the grades earn: defaults are written here and only here."""

from itertools import pairwise
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from mlx_trace.config_sources import Section, Source, read_sources

MAX_TOKENS: Final = 400  # of a reply
Algorithm = Literal["reinforce", "rloo", "grpo", "expert_iteration"]
PRESETS: Final[dict[str, dict[str, Any]]] = {  # what an algorithm means, where a key is not given
    "reinforce": {"baseline": "ema"},
    "rloo": {"baseline": "leave_one_out"},
    "grpo": {"baseline": "group_mean", "scale_rewards": "group", "clip": 0.2, "updates_per_batch": 2},
    "expert_iteration": {"baseline": "none", "kl": 0.0},
}
_COMPARING: Final = ("leave_one_out", "group_mean")  # baselines within a prompt's samples


class Rewards(Section, allow_inf_nan=False):
    """The five rewards; they may be changed but must stay in this order."""

    correct: float = Field(1.0, description="the right answer")
    wrong_answer: float = Field(0.7, description="a trace that runs, to another answer")
    invalid_trace: float = Field(0.5, description="a trace of the right expert that does not run")
    wrong_expert: float = Field(0.3, description="a trace of another expert than the problem's")
    parse_failure: float = Field(0.0, description="no trace")

    @model_validator(mode="after")
    def _in_order(self) -> "Rewards":
        values = list(self.model_dump().values())
        if not all(above > below for above, below in pairwise(values)):
            raise ValueError(f"rewards must fall from correct to parse_failure, got {values}")
        return self


REWARDS: Final = Rewards()


class ReinforceConfig(Section):
    """The reinforcement phase."""

    iters: int = Field(0, ge=0, description="rollouts that are learnt from; 0 leaves the phase out")
    algorithm: Algorithm = Field(
        "rloo",
        description="reinforce (ema baseline), rloo (leave_one_out), grpo (group_mean, scaled, clipped, two updates a "
        "rollout) or expert_iteration (SFT on solved samples); presets, whose keys may be given all the same",
    )
    batch_size: int = Field(8, ge=1, description="prompts of a rollout")
    group_size: int = Field(4, ge=1, description="samples of a prompt")
    learning_rate: float = Field(1e-5, gt=0, le=1, description="AdamW's rate in this phase")
    temperature: float = Field(1.0, gt=0, description="of sampling, and of training's log-probabilities")
    max_tokens: int = Field(MAX_TOKENS, ge=1, description="longest reply")
    baseline: Literal["ema", "leave_one_out", "group_mean", "none"] = Field(
        "leave_one_out",
        description="what rewards are centred on: ema, leave_one_out (the prompt's other samples), group_mean or none",
    )
    ema_decay: float = Field(0.9, ge=0, lt=1, description="of the ema baseline")
    ema_start: float = Field(0.5, description="of the ema baseline")
    scale_rewards: Literal["none", "group", "batch"] = Field(
        "none", description="divide advantages by the rewards' standard deviation: none, group or batch"
    )
    loss_divisor: Literal["sampled", "max_tokens"] = Field(
        "sampled", description="the loss is divided by all sampled tokens of a rollout, or by what there could be"
    )
    clip: float = Field(0.0, ge=0, lt=1, description="clip the ratio to the sampling policy at 1 ± this; 0 is none")
    updates_per_batch: int = Field(1, ge=1, description="optimizer steps on one rollout")
    kl: float = Field(0.01, ge=0, description="weight of the divergence from the adapter as RL found it")
    entropy: float = Field(0.0, ge=0, description="weight of the entropy, as a bonus")
    sft_weight: float = Field(0.0, ge=0, description="weight of the SFT loss on as many gold examples, mixed in")
    resample_zero_variance: int = Field(
        0, ge=0, description="times that groups of equal rewards are replaced by other prompts' samples"
    )
    mask_truncated: bool = Field(False, description="do not learn from replies that were cut off")
    rewards: Rewards = Field(REWARDS, description="what each grade earns")
    reward_function: str | None = Field(
        None, description="FILE.py:NAME, called with (problem, reply, grade), returns a reward instead"
    )
    samples_every: int = Field(1, ge=0, description="updates between two whose samples are saved; 0 saves none")
    samples_mb: float = Field(
        20.0, gt=0, le=1e6, description="most megabytes of saved samples, shared out evenly over the updates"
    )
    data: list[Source] | None = Field(None, description="prompts of this phase; null: those of SFT")
    examples: int | None = Field(None, ge=1, description="as examples, of this phase's data")

    _sources = field_validator("data", mode="before")(read_sources)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, content: Any) -> Any:
        """Fill in what the algorithm means; an algorithm that is none is left to be reported."""
        if not isinstance(content, dict):
            return content
        algorithm = content.get("algorithm", "rloo")
        return PRESETS.get(algorithm, {}) | content if isinstance(algorithm, str) else content

    @model_validator(mode="after")
    def _groups(self) -> "ReinforceConfig":
        if self.baseline in _COMPARING and self.group_size < 2:
            raise ValueError(f"{self.baseline} compares samples of one prompt: group_size must be 2 or more")
        if self.scale_rewards == "group" and self.group_size < 2:
            raise ValueError("scale_rewards: group compares samples of one prompt: group_size must be 2 or more")
        if self.resample_zero_variance and not self.skips_zero_variance:
            raise ValueError(
                f"resample_zero_variance replaces groups that teach nothing; with baseline {self.baseline} all do"
            )
        if self.updates_per_batch > 1 and not self.clip and self.algorithm != "expert_iteration":
            raise ValueError("updates_per_batch above 1 leaves the sampling policy behind: set clip, such as 0.2")
        return self

    @property
    def skips_zero_variance(self) -> bool:
        """Tell whether a group of equal rewards teaches nothing, so that it is left out."""
        return self.baseline in _COMPARING
