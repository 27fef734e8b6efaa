"""Parameters of chat completions that are not honoured here: which are let pass, with which values, and what is said
of the others. OpenAI's, and those that vLLM, llama.cpp, LM Studio, Ollama and mlx_lm.server take beside them.

What bears on labels, speed, or ways of thinking that a trace has none of is let pass; what would change a reply is not.
"""

import json
from typing import Any, Final

LET_PASS: Final = frozenset({
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "prediction", "parallel_tool_calls", "request_id", "priority",  # who asks, where it is kept, when it is done
    "cache_prompt", "id_slot", "slot_id", "n_cache_reuse", "timings_per_token", "return_progress", "keep_alive", "ttl",
    "draft_model", "num_draft_tokens", "cache_salt", "return_token_ids",  # how fast, and what is told of that
    "reasoning_effort", "verbosity", "reasoning", "reasoning_format", "include_reasoning", "thinking",
    "enable_thinking", "chat_template_kwargs",  # how much is thought and said: a trace has one way
    "repetition_context_size", "repeat_last_n", "xtc_threshold", "mirostat_tau", "mirostat_eta", "dry_base",
    "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers", "dynatemp_exponent",  # of what is refused
    "skip_special_tokens", "spaces_between_special_tokens", "add_generation_prompt", "include_stop_str_in_output",
})  # fmt: skip
NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {  # values that ask for nothing, and may be given
    "top_p": (1,), "top_k": (0, -1), "min_p": (0,), "typical_p": (1,), "top_a": (0,), "tfs_z": (1,),
    "repetition_penalty": (1,), "repeat_penalty": (1,), "presence_penalty": (0,), "frequency_penalty": (0,),
    "length_penalty": (1,), "xtc_probability": (0,), "dry_multiplier": (0,), "mirostat": (0,), "dynatemp_range": (0,),
    "logit_bias": ({}, []), "logprobs": (False,), "top_logprobs": (0,), "prompt_logprobs": (0,), "n_probs": (0,),
    "best_of": (1,), "use_beam_search": (False,), "min_tokens": (0,), "ignore_eos": (False,), "echo": (False,),
    "bad_words": ([],), "stop_token_ids": ([],), "continue_final_message": (False,),
    "response_format": ({"type": "text"},), "modalities": (["text"],), "functions": ([],),
    "function_call": ("none", "auto"), "tools": ([],), "tool_choice": ("none", "auto"), "documents": ([],),
}  # fmt: skip
_REFUSED: Final = (  # whatever they say, but by a name that is known
    "audio", "web_search_options", "grammar", "json_schema", "guided_json", "guided_regex", "guided_choice",
    "guided_grammar", "structured_outputs", "format", "adapters", "lora", "logits_processors", "allowed_token_ids",
    "chat_template", "role_mapping", "options", "prompt", "input", "moderation",
)  # fmt: skip
_INSTEAD: Final = {
    "best_of": "samples makes a vote of as many replies",
    "functions": "a trace calls nothing", "tools": "a trace calls nothing", "tool_choice": "a trace calls nothing",
    "logprobs": "mlx_trace tells of a vote how sure it is", "prompt": "messages holds the question",
    "input": "messages holds the question",
    **dict.fromkeys(("response_format", "format", "json_schema", "guided_json", "structured_outputs"),
                    "a reply is a trace, and mlx_trace beside it holds the answer as JSON"),
}  # fmt: skip


def is_known(name: str) -> bool:
    """Tell whether a parameter has a meaning elsewhere, though it has none here."""
    return name in LET_PASS or name in NEUTRAL or name in _REFUSED


def asks_for_nothing(name: str, given: dict[str, Any]) -> bool:
    """Tell whether a reply is as it would be without a parameter."""
    value = given[name]
    if name == "logit_bias" and isinstance(value, dict):
        return not any(value.values())
    if name in ("tools", "functions"):  # what is not to be called need not be known
        return value == [] or given.get("tool_choice" if name == "tools" else "function_call") == "none"
    allowed = NEUTRAL.get(name, ())
    return name in LET_PASS or any(value == own and isinstance(value, bool) == isinstance(own, bool) for own in allowed)


def refusal_of(name: str) -> str:
    """Return why a parameter is not let pass, and what can be said instead."""
    allowed = " or ".join(json.dumps(value) for value in NEUTRAL.get(name, ()))
    words = "cannot be honoured here; leave it out" + (f", or say {allowed}" if allowed else "")
    return f"{words} ({_INSTEAD[name]})" if name in _INSTEAD else words
