"""A Modelfile, with which Ollama serves a fused model's GGUF file: how to ask, when to stop, what to choose.

Takes the tokenizer of a fused folder. Its template is tried on sentinels, and what stands between them is written in
Go's template language; where that does not ask as training did, none is written, and the file says why.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from mlx_trace.config_reinforce import MAX_TOKENS
from mlx_trace.model.chat_template import PROBES, render
from mlx_trace.model.prompts import CLOSING, Prompter

MARK: Final = "# written by mlx-trace fuse"
_CONTEXT: Final = 4096
_SYSTEM, _FIRST, _REPLY, _SECOND = (f"sentinel{n}of4" for n in range(4))
_QUOTES: Final = '"""'


@dataclass(frozen=True, slots=True)
class Exchange:
    """What stands around a system text, a question and its reply; one after the other they are a conversation."""

    before_system: str
    behind_system: str
    before_question: str
    before_reply: str
    behind_reply: str

    def go(self) -> str:
        """Return the template that Ollama runs for every exchange, the last one up to its reply."""
        system = f"{{{{ if .System }}}}{_go(self.before_system)}{{{{ .System }}}}{_go(self.behind_system)}{{{{ end }}}}"
        return (f"{system}{_go(self.before_question)}{{{{ .Prompt }}}}{_go(self.before_reply)}{{{{ .Response }}}}"
                f"{_go(self.behind_reply)}")  # fmt: skip

    def prompt(self, system: str, question: str) -> str:
        """Return what Ollama makes of a question."""
        shown = self.before_system + system + self.behind_system if system else ""
        return shown + self.before_question + question + self.before_reply


def modelfile(prompter: Prompter, tokenizer: Any, file_name: str, context: int) -> str:
    """Return a Modelfile for a GGUF file beside it; `tokenizer` is the fused folder's, `prompter` the adapter's."""
    system = _default_system(tokenizer)
    begin = tokenizer.bos_token if begins_texts(tokenizer) and begins_prompts(prompter) else ""
    exchange = _exchange(tokenizer, begin, bool(system))
    fault = _fault(prompter, tokenizer, begin, exchange, system)
    lines = [MARK, "FROM " + (f'"./{file_name}"' if re.search(r"\s", file_name) else f"./{file_name}")]
    if exchange is None or fault:
        lines += [f'# no TEMPLATE: {fault}; ask with the whole prompt, and "raw": true']
    else:
        lines += [f"TEMPLATE {_QUOTES}{exchange.go()}{_QUOTES}"]
        lines += [f"SYSTEM {_QUOTES}{system}{_QUOTES}"] * bool(system)
    ends = tokenizer.convert_ids_to_tokens(sorted(prompter.tokenizer.eos_token_ids))
    lines += [f'PARAMETER stop "{end}"' for end in ends if '"' not in end]
    lines += ["PARAMETER temperature 0", "PARAMETER repeat_penalty 1", f"PARAMETER num_predict {MAX_TOKENS}",
              f"PARAMETER num_ctx {min(context, _CONTEXT)}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def _default_system(tokenizer: Any) -> str:
    """Return the system text that a template gives where the user gives none; empty if that cannot be told."""
    asked = {"role": "user", "content": _FIRST}
    given = render(tokenizer, tokenizer.chat_template, [{"role": "system", "content": _SYSTEM}, asked])
    before, mark, rest = given.partition(_SYSTEM)
    bare = render(tokenizer, tokenizer.chat_template, [asked])
    if not mark or not bare.startswith(before) or not bare.endswith(rest):
        return ""
    return bare[len(before) : len(bare) - len(rest)]


def _exchange(tokenizer: Any, begin: str, with_system: bool) -> Exchange | None:
    """Read off a template what it writes around texts; None if it does not write them one after the other."""
    said = [("user", _FIRST), ("assistant", _REPLY + CLOSING), ("user", _SECOND)]
    said = [("system", _SYSTEM)] * with_system + said
    text = render(tokenizer, tokenizer.chat_template, [{"role": role, "content": content} for role, content in said])
    marks = [_SYSTEM] * with_system + [_FIRST, _REPLY + CLOSING, _SECOND]
    if any(text.count(mark) != 1 for mark in marks):
        return None
    *pieces, between, last = re.split("|".join(map(re.escape, marks)), text.removeprefix(begin))  # llama.cpp writes it
    before_system, before_first = (pieces[0], pieces[1]) if with_system else ("", pieces[0])
    question = _behind_end(tokenizer, _common_end(before_first, between))
    behind_system = before_first.removesuffix(question)
    if not with_system and behind_system:
        return None
    return Exchange(before_system, behind_system, question, last, between.removesuffix(question))


def begins_texts(tokenizer: Any) -> bool:
    """Tell whether a tokenizer begins every text with its begin-of-sequence token."""
    return bool(tokenizer.encode("x")[:1] == [tokenizer.bos_token_id])


def begins_prompts(prompter: Prompter) -> bool:
    """Tell whether prompts begin with the tokenizer's begin-of-sequence token."""
    return prompter.ids("x")[:1] == [prompter.tokenizer.bos_token_id]


def _common_end(first: str, second: str) -> str:
    size = 0
    while size < min(len(first), len(second)) and first[-1 - size] == second[-1 - size]:
        size += 1
    return first[len(first) - size :]


def _behind_end(tokenizer: Any, text: str) -> str:
    """Return what stands before a question without the end of the turn before it, which need not be there."""
    shorter = text.removeprefix(tokenizer.eos_token)
    return shorter.lstrip() if shorter != text else text


def _fault(prompter: Prompter, tokenizer: Any, begin: str, exchange: Exchange | None, system: str) -> str:
    if exchange is None:
        return "the model's own does not write question and reply one after the other"
    if _QUOTES in system or _QUOTES in exchange.go():
        return f"it would hold {_QUOTES}"
    for question in (probe for probe in PROBES if probe == probe.strip()):
        text = exchange.prompt(system, question)
        if _ids(tokenizer, begin + text) != prompter.ids(question):
            return "Go's templates cannot ask as training did"
    return ""


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def _go(text: str) -> str:
    """Return text as a Go template writes it."""
    return text.replace("{{", '{{ "{{" }}')
