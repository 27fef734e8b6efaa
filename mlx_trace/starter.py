"""A configuration of one's own from four answers, as text with comments: which model, which data, what Mac, what for.

Returns text; writes nothing, and loads no model. What does not fit the Mac is made to fit, as far as settings can.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import yaml

from mlx_trace.config import Config
from mlx_trace.config_file import validate_config
from mlx_trace.memory.macs import Chip
from mlx_trace.memory.published import Published
from mlx_trace.memory.recipe import OnMac, on_mac

Purpose = Literal["train", "try", "answers", "reasons"]
PURPOSES: Final[dict[Purpose, str]] = {
    "train": "an adapter: examples first, then reinforcement",
    "try": "a short try, a tenth of that",
    "answers": "to learn from answers alone, where the data have no solutions",
    "reasons": "the best that was found: a line of reasons before each step; takes longer",
}
assert set(PURPOSES) == set(get_args(Purpose))
_EXAMPLES: Final = 3000
_LAYERS: Final = (8, 6, 4, 2, 1)  # that are tried, one after the other, where more do not fit


@dataclass(frozen=True)
class Answers:
    """What somebody wants: a model with its recipe's settings, sources of data, a Mac, and what for."""

    model: str
    known: Published
    recipe: Config  # the bundled configuration of the model, or of one of its size
    sources: list[dict[str, Any]]  # files; none for the families alone
    has_traces: bool  # whether the files teach by themselves, with solutions or traces
    size: int  # of the Mac, in GiB
    chip: Chip | None
    purpose: Purpose


def settled(answers: Answers) -> tuple[dict[str, Any], OnMac]:
    """Return the content of a configuration that fits the Mac, or the least one if none does, and what it takes."""
    for changes in _made_to_fit(answers.recipe):
        content = _content(answers) | changes
        config = validate_config(content, "the configuration")
        mac = on_mac(answers.known.content, config, answers.known.work(config), answers.known.load(config),
                     answers.size, answers.chip)  # fmt: skip
        if mac.peak is not None:
            break
    return content, mac


def _made_to_fit(recipe: Config) -> Iterator[dict[str, Any]]:
    yield {"grad_checkpoint": recipe.grad_checkpoint}
    yield {"grad_checkpoint": True}
    for layers in _LAYERS:
        if layers < recipe.num_layers:
            yield {"grad_checkpoint": True, "num_layers": layers}


def _content(answers: Answers) -> dict[str, Any]:
    """Return the keys of a configuration, in the order in which they are written."""
    recipe, purpose = answers.recipe, answers.purpose
    share = 10 if purpose == "try" else 1
    families = {"source": "synthetic", "n": _EXAMPLES // share}
    learns = answers.has_traces and purpose != "answers"
    reasons = {"name_weight": 0.4} if purpose == "reasons" else {}
    rl: dict[str, Any] = {
        "iters": 0 if purpose == "reasons" else 90 if purpose == "answers" else 50 // share,
        "batch_size": 4, "group_size": 8 if purpose == "answers" else 4, "temperature": 1.0, "max_tokens": 400,
        "learning_rate": 2e-5 if purpose == "answers" else 1e-5,
    }  # fmt: skip
    if answers.sources and not learns:
        rl["data"] = answers.sources
    return {
        "model": answers.model, "adapter_path": "adapters/my-run", "num_layers": recipe.num_layers,
        "lora_parameters": {"rank": recipe.lora_parameters.rank, "scale": recipe.lora_parameters.scale},
        "prompt": {"template": recipe.prompt.template,
                   "trace_form": "commented" if purpose == "reasons" else "name_first"},
        "max_seq_length": 1024, "data": [families, *(answers.sources if learns else [])], "epochs": 1,
        "batch_size": 4 if purpose == "reasons" else recipe.batch_size, "learning_rate": recipe.learning_rate,
        "warmup": 20 // share, "lr_decay": "cosine", "loss": "choices", **reasons, "finish_on_all": 20 // share,
        "grad_checkpoint": recipe.grad_checkpoint, "save_every": 50, "reinforce": rl,
    }  # fmt: skip


_COMMENTS: Final[Mapping[str, str]] = {  # before a key, why it is there and what else may stand there
    "model": "what is trained: a name, a directory, a GGUF file or a hub name",
    "adapter_path": "where it goes; Ctrl-C saves, and mlx-trace train --resume --adapter-path HERE goes on",
    "num_layers": "how many of the top layers learn: more learn more, and take memory and time",
    "lora_parameters": "the size of what is learnt, and how much it counts",
    "prompt": "name_first: a step names what it computes; commented: a line of reasons before it",
    "max_seq_length": "tokens of the longest example; longer ones are an error, never cut",
    "data": "families are generated; files are read as they are: {source: compiled, file: train.jsonl}",
    "epochs": "examples first: how often each is seen, and how fast is learnt from it",
    "loss": "choices: only what the constraint leaves open is learnt; at last all, for other tools",
    "grad_checkpoint": "true: less memory, more time",
    "save_every": "updates between two checkpoints",
    "reinforce": "then reinforcement: iters rollouts of batch_size problems, group_size replies each; iters: 0 is none",
}


def written(content: Mapping[str, Any], title: list[str]) -> str:
    """Return a configuration as YAML with a comment before each part."""
    lines = [f"# {' '.join(line.split())}" for line in title]
    for key, value in content.items():
        if key in _COMMENTS:
            lines += ["", f"# {_COMMENTS[key]}"]
        lines.append(_yaml({key: value}))
    return "\n".join(lines) + "\n"


def _yaml(pair: Mapping[str, Any]) -> str:
    """Return a key with its value: on one line, but for sources and what reinforcement says."""
    (key, value), = pair.items()  # fmt: skip
    if isinstance(value, dict) and key != "reinforce":
        return f"{key}: {yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).strip()}"
    if isinstance(value, list):
        flows = (yaml.safe_dump(row, default_flow_style=True, sort_keys=False, width=1000, allow_unicode=True).strip()
                 for row in value)  # fmt: skip
        return f"{key}:\n" + "\n".join(f"- {flow}" for flow in flows)
    return yaml.safe_dump(dict(pair), sort_keys=False, allow_unicode=True, width=1000).strip()
