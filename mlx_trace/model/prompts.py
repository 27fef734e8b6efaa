"""Problem → messages → token ids: the one owner of chat templates, for training, rollouts, evaluation and chat.

A prompt ends in an opened fence, and a target is the trace, the closing fence and the end of sequence. Takes a
tokenizer as mlx-lm wraps it; knows nothing of models or batches.
"""

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import takewhile
from typing import Any, Final, NamedTuple, get_args

from mlx_trace.config import OPERATION_FIRST, Prompt, TraceForm
from mlx_trace.errors import UserError
from mlx_trace.model import jinja
from mlx_trace.model.jinja import DAY

FENCE: Final = "```"
OPENING: Final = f"{FENCE}yaml\n"
CLOSING: Final = f"\n{FENCE}"
DATE: Final = "26 Jul 2024"
LONGEST: Final = 10_000  # characters of a question; a word problem has some hundreds
_NOW: Final = re.compile(r"strftime_now\(\s*(['\"])(?P<format>[^'\"]*)\1\s*\)")
_PLAIN: Final = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9 .,;:?!$%'\"()/-]*[A-Za-z0-9.?!])?"
)  # text, and no template's syntax
_TRIED: Final = ("How many?", "A box holds 12 eggs. " * 20 + "How many do 3 boxes hold?")
_FORM: Final = re.compile(r"\{# trace_form: (\w+) #\}")
_SHOWN: Final = 60  # characters of a question in a message


def own_template(tokenizer: Any) -> str | None:
    """Return a tokenizer's chat template, of several the one that is used when nothing is said."""
    own = getattr(tokenizer, "chat_template", None)
    template = own.get("default") if isinstance(own, dict) else own
    if template is not None and not isinstance(template, str):
        raise UserError(f"the model's chat template is no text, but of the type {type(template).__name__}")
    return template


def dated(template: str) -> str:
    """Return a template that writes the one day wherever it asks what day it is."""
    return _NOW.sub(lambda call: jinja_literal(DAY.strftime(call["format"])), template)


def jinja_literal(text: str) -> str:
    """Return a string of Jinja that every engine reads alike."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + "'"


def carried_form(template: str | None) -> TraceForm:
    """Return the form of traces that a chat template was written for."""
    mark = _FORM.search(template or "")
    return next((form for form in get_args(TraceForm) if mark and mark[1] == form), OPERATION_FIRST)


def with_form(template: str, form: TraceForm) -> str:
    """Return a template that tells the form of traces in a comment, which other tools pass over."""
    bare = _FORM.sub("", template)
    return bare if form == OPERATION_FIRST else f"{{# trace_form: {form} #}}{bare}"


def carried_prompt(tokenizer: Any) -> Prompt:
    """Return the prompt settings of a model without an adapter: its own if its template asks by itself, else defaults.

    A fused model carries its system text in its template, so that none is given to it, and the form of its traces.
    """
    bare = Prompt(system="", trace_form=carried_form(own_template(tokenizer)))
    return bare if getattr(tokenizer, "chat_template", None) and Prompter(tokenizer, bare).opens_fence else Prompt()


def _holds(text: str, parts: Sequence[str]) -> bool:
    """Tell whether a text holds all parts, one behind the other."""
    place = 0
    for part in parts:
        place = text.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True


def common_prefix(ask: Callable[[str], list[int]]) -> list[int]:
    """Return the ids that prompts begin with, whatever the question; `ask` returns a question's prompt."""
    first, *others = (ask(question) for question in ("How many?", "5 of them", "a"))
    same = (len(set(column)) == 1 for column in zip(first, *others, strict=False))
    return first[: sum(1 for _ in takewhile(bool, same))]


class TurnPair(NamedTuple):
    """A user turn, and the trace that was the reply to it, as they stand before a conversation's last turn."""

    said: str
    reply: str


class Prompter:
    """Turns questions into prompts for one tokenizer. Raises UserError if it cannot serve the wanted template."""

    def __init__(self, tokenizer: Any, prompt: Prompt) -> None:
        self.tokenizer = tokenizer
        self.prompt = prompt
        if prompt.template == "chat" and not getattr(tokenizer, "chat_template", None):
            raise UserError("the model has no chat template; say prompt.template: raw in the configuration")
        self._try_template()

    def _try_template(self) -> None:
        """Make sure that a template asks short questions and long ones; UserError if it does not."""
        for question in _TRIED:
            self.text(question)

    def text(self, question: str, before: Sequence[TurnPair] = ()) -> str:
        """Return the prompt as text, up to and with the opened fence; UserError if the question cannot be asked.

        `before` are the turns before it: examples, or what was asked and replied so far.
        """
        if len(question) > LONGEST:
            raise UserError(f"a question of {len(question):,} characters, and those that are asked have {LONGEST:,} at "
                            f"most: {question[:_SHOWN]!r}…")  # fmt: skip
        if self.prompt.template == "raw":
            system = f"{self.prompt.system}\n\n" if self.prompt.system else ""
            return f"{system}{''.join(map(self._raw, before))}Question: {question}\n\n{OPENING}"
        try:
            text = self._chat(question, before)
        except Exception as error:  # templates are programs, and fail in every way there is
            raise UserError(f"the model's chat template fails: {' '.join(str(error).split())[:120]}; "
                            "prompt.template: raw does without it") from None  # fmt: skip
        if not _holds(text, [part.strip() for exchange in before for part in exchange]):
            raise UserError(
                "the model's chat template leaves earlier turns of a conversation out; prompt.template: raw "
                "does without it"
            )
        if question.strip() not in text:
            raise UserError("the model's chat template leaves the question out of the prompt, or a part of it "
                            f"({question[:_SHOWN]!r}); prompt.template: raw does without it")  # fmt: skip
        return text + OPENING * (not self.opens_fence)

    def _raw(self, exchange: TurnPair) -> str:
        end = self.tokenizer.convert_ids_to_tokens(self.tokenizer.eos_token_id)
        return f"Question: {exchange.said}\n\n{OPENING}{exchange.reply}{CLOSING}{end}"

    def _chat(self, question: str, before: Sequence[TurnPair]) -> str:
        said = []
        for exchange in before:
            said += [{"role": "user", "content": exchange.said},
                     {"role": "assistant", "content": f"{OPENING}{exchange.reply}{CLOSING}"}]  # fmt: skip
        said.append({"role": "user", "content": question})
        if self.prompt.system and self.has_system_role:
            said.insert(0, {"role": "system", "content": self.prompt.system})
        elif self.prompt.system:
            said[0]["content"] = f"{self.prompt.system}\n\n{said[0]['content']}"
        return self.render(said)

    def check_turns(self) -> None:
        """Raise UserError if the template cannot hold a conversation of several turns."""
        exchange = TurnPair(_TRIED[1], "expert: arithmetic\ntrace:\n- {op: query, var: eggs}")
        self.text(_TRIED[0], [exchange, exchange])

    def render(self, messages: list[dict[str, str]]) -> str:
        """Return a conversation as the chat template writes it, up to where the reply begins."""
        own, settings = own_template(self.tokenizer), {"date_string": DATE, "enable_thinking": False}
        if not isinstance(own, str):  # a tokenizer whose class writes the conversation by itself
            return str(
                self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **settings)
            )
        return jinja.render(own, messages, self.tokenizer.special_tokens_map | settings)

    @cached_property
    def opens_fence(self) -> bool:
        """Tell whether the tokenizer's template opens the fence itself, as that of a fused model does."""
        if not getattr(self.tokenizer, "chat_template", None):
            return False
        try:
            return self.render([{"role": "user", "content": "How many?"}]).endswith(OPENING)
        except Exception:
            return False

    @cached_property
    def has_system_role(self) -> bool:
        """Tell whether the template shows a system turn; some refuse it, some leave it out."""
        probe = "a probe of the system turn"
        try:
            return probe in self.render([{"role": "system", "content": probe}, {"role": "user", "content": "x"}])
        except Exception:
            return False

    def ids(self, question: str, before: Sequence[TurnPair] = ()) -> list[int]:
        """Return the prompt's token ids, of `text`."""
        return self.encode(self.text(question, before))

    def many_ids(self, questions: Sequence[str]) -> list[list[int]]:
        """Return as `ids` for each question, all encoded at once where the tokenizer can."""
        texts = self._texts(questions)
        rust = getattr(self.tokenizer, "backend_tokenizer", None)
        if rust is not None and texts:
            is_raw = self.prompt.template == "raw"
            left, right = (0, 0) if is_raw else self._shared(texts, rust)
            ends = texts[0][:left], texts[0][len(texts[0]) - right :]
            before, after = (list(rust.encode(end, add_special_tokens=False).ids) for end in ends)
            own = [text[left : len(text) - right] for text in texts]
            encoded = rust.encode_batch_fast(own, add_special_tokens=is_raw)
            many = [[*before, *encoding.ids, *after] for encoding in encoded]
            tried = {0, len(texts) - 1, max(range(len(texts)), key=lambda index: len(texts[index]))}
            # or something of its own stands before the Rust tokenizer
            if all(many[index] == self.encode(texts[index]) for index in tried):
                return many
        return [self.encode(text) for text in texts]

    def _shared(self, texts: Sequence[str], rust: Any) -> tuple[int, int]:
        """Return how many characters all texts begin and end with, up to special tokens, which stand alone."""
        before, inside, after = self.text(_TRIED[0]).partition(_TRIED[0])
        tokens = rust.get_added_tokens_decoder().values()
        marks = [re.escape(token.content) for token in tokens if token.special and not (token.lstrip or token.rstrip)]
        if not (inside and marks and all(text.startswith(before) and text.endswith(after) for text in texts)):
            return 0, 0
        mark = re.compile("|".join(sorted(marks, key=len, reverse=True)))
        first, left = mark.search(after), max((match.end() for match in mark.finditer(before)), default=0)
        return left, len(after) - first.start() if first else 0

    def _texts(self, questions: Sequence[str]) -> list[str]:
        """Return as `text` for each question: plain ones between what the template writes before and after them.

        That it does so is tried on the first, the last, the shortest and the longest.
        """
        before, inside, after = self.text(_TRIED[0]).partition(_TRIED[0])
        plain = [question for question in questions if _PLAIN.fullmatch(question)]
        tried = {plain[0], plain[-1], min(plain, key=len), max(plain, key=len)} if plain else set()
        if not inside or any(self.text(question) != before + question + after for question in tried):
            return [self.text(question) for question in questions]
        return [before + question + after if _PLAIN.fullmatch(question) else self.text(question)
                for question in questions]  # fmt: skip

    def encode(self, text: str) -> list[int]:
        """Return the ids of a whole prompt's text."""
        # chat templates write the begin-of-sequence token themselves
        return list(self.tokenizer.encode(text, add_special_tokens=self.prompt.template == "raw"))

    @cached_property
    def prefix(self) -> list[int]:
        """Return the ids that prompts begin with, whatever the question."""
        return common_prefix(self.ids)

    def example(self, question: str, trace: str) -> tuple[list[int], list[int]]:
        """Return (prompt ids, target ids) of a training example; together they tokenize as one text does."""
        prompt = self.ids(question)
        whole = self.encode(self.text(question) + trace + CLOSING)
        if whole[: len(prompt)] != prompt:
            raise UserError(
                "this tokenizer merges the end of the prompt with the start of the reply; it cannot be used"
            )
        return prompt, [*whole[len(prompt) :], self.tokenizer.eos_token_id]

    def decode(self, ids: Sequence[int]) -> str:
        """Return a reply as text, without special tokens, up to the closing fence if it has one."""
        text = str(self.tokenizer.decode(list(ids), skip_special_tokens=True))
        return text.partition(CLOSING)[0]

    @cached_property
    def is_carried(self) -> bool:
        """Tell whether the tokenizer's template asks by itself, and just as these settings do."""
        return self.opens_fence and Prompter(self.tokenizer, Prompt(system="")).ids("x") == self.ids("x")

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Return the tokens that end a reply: end of sequence, and every token that holds a fence."""
        vocabulary = self.tokenizer.get_vocab()
        return frozenset(id_ for piece, id_ in vocabulary.items() if FENCE in piece) | set(self.tokenizer.eos_token_ids)
