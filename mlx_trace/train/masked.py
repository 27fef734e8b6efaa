"""An example token by token, as it is learnt: its text, and whether it is context, in the loss, or forced.

Takes an example and what makes text of ids. Knows nothing of networks or terminals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mlx_trace.train.examples import Example

Use = Literal["context", "loss", "spelled", "forced"]
_HALF: Final = "\ufffd"  # what stands for a character of which not all bytes are there


@dataclass(frozen=True, slots=True)
class MaskedToken:
    """A token's text, "" where its character is not whole yet, and what it is for; `spelled` is loss of less weight."""

    text: str
    use: Use


def masked_tokens(
    example: Example, decode: Callable[[Sequence[int]], str], name_weight: float = 1.0
) -> list[MaskedToken]:
    """Return the tokens of an example; together their texts are the decoded whole."""
    uses: list[Use] = ["forced"] * len(example.target)
    weights = [1.0] * len(example.target) if example.choices is None else example.choices.weights(name_weight)
    for index, weight in zip(example.counted, weights, strict=True):
        uses[index] = "loss" if weight == 1 else "spelled"
    ids = [*example.prompt, *example.target]
    before, tokens = "", []
    for end, use in enumerate([*["context"] * len(example.prompt), *uses], start=1):
        whole = decode(ids[:end])
        is_whole = end == len(ids) or not whole.endswith(_HALF)
        text = whole[len(before) :] if is_whole and whole.startswith(before) else ""
        if is_whole:
            before = whole
        tokens.append(MaskedToken(text, use))  # type: ignore[arg-type]
    return tokens
