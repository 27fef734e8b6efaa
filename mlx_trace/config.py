"""placeholder"""
from typing import Final
from pydantic import BaseModel, ConfigDict, model_validator


class Rewards(BaseModel):
    """The five rewards; they may be changed but must stay in this order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    correct: float = 1.0
    wrong_answer: float = 0.7
    invalid_trace: float = 0.5
    wrong_expert: float = 0.3
    parse_failure: float = 0.0

    @model_validator(mode="after")
    def _in_order(self) -> "Rewards":
        values = list(self.model_dump().values())
        if any(above <= below for above, below in zip(values, values[1:], strict=False)):
            raise ValueError(f"rewards must fall from correct to parse_failure, got {values}")
        return self


REWARDS: Final = Rewards()


