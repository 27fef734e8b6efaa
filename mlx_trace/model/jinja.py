"""A model's chat template, run within bounds: a template is a program that came with the model, and may never end.

Takes Jinja and what it is asked with; returns text, the same that transformers makes of it, but on the one day and
without chance. Everything that a template makes or goes through is counted, and too much of it ends in a TemplateError.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import lru_cache, wraps
from typing import Any, Final, cast

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from mlx_trace.model.counting import Counting

DAY: Final = date(2024, 7, 26)  # templates such as Llama 3's insert today's date: no two days would share a prompt
_SOURCE: Final = 1 << 18  # characters of a template; the longest there are have a tenth
_LEAST: Final = 200_000  # steps and characters that any template may take,
_EACH: Final = 200  # and so many more for each character that it is given
_NUMBER: Final = 100_000  # largest whole number that is handed to anything, such as a width
_BITS: Final = 10_000  # of a number that is computed
_UNSAFE_FORMAT: Final = re.compile(r"\d{5}|%[^a-zA-Z%]*\*|\{[^{}]*\{")  # wide fields, and widths that are given apart
_NOT_OFFERED: Final = ("random", "urlize", "wordwrap", "xmlattr", "pprint", "striptags")  # filters of no prompt
_NO_METHODS: Final = ("expandtabs", "translate", "encode", "maketrans")
_MULTIPLYING: Final = ("replace", "join", "format", "format_map")
_LONGEST: Final[dict[str, int]] = {}  # most characters with which a template was counted, and came to its end


def render(template: str, messages: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    """Return a conversation as a template writes it, up to where the next reply begins."""
    said = sum(len(str(value)) for message in messages for value in message.values())
    is_known = said <= _LONGEST.get(template, -1)  # counting everything takes five times as long
    compiled = _compiled(template, not is_known)
    cast(_Environment, compiled.environment).begin(_LEAST + _EACH * said)
    given: dict[str, Any] = {
        "messages": list(messages),
        "tools": None,
        "documents": None,
        "add_generation_prompt": True,
    }
    text = "".join(compiled.generate(given | dict(settings)))
    _LONGEST[template] = max(said, _LONGEST.get(template, 0))
    return text


@lru_cache(maxsize=32)
def _compiled(template: str, counts: bool) -> Any:
    if len(template) > _SOURCE:
        raise TemplateError(f"it is {len(template):,} characters long, of which {_SOURCE:,} are read")
    return _Environment(counts).from_string(template)


class _Generation(Extension):
    """The `generation` tag, with which a template marks replies for trainers: its body is written as it stands."""

    tags = {"generation"}  # noqa: RUF012 as Jinja has it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


class _Names(Namespace):
    """A template's namespace, without names by which it could reach behind itself."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *given = args  # so that a template may call one of its names self
        if any(str(name).startswith("_") for name in dict(*given, **kwargs)):
            raise TemplateError("a namespace's names do not begin with an underscore")
        Namespace.__init__(self, *given, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise TemplateError("a namespace's names do not begin with an underscore")
        super().__setitem__(name, value)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja as transformers sets it up, in which calls, filters and sums are counted; loops and all else on demand."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, counts: bool) -> None:
        self.counts = counts
        super().__init__(trim_blocks=True, lstrip_blocks=True, optimized=False, cache_size=0,
                         extensions=[_Generation, loopcontrols])  # fmt: skip
        self.left = self.limit = 0
        for name in _NOT_OFFERED:
            del self.filters[name]
        self.filters["tojson"] = _to_json
        self.filters = {name: self._counted(name, function) for name, function in self.filters.items()}
        del self.globals["lipsum"]
        self.globals |= {"raise_exception": _raise, "strftime_now": DAY.strftime, "namespace": _Names}

    def begin(self, limit: int) -> None:
        """Allow so much from here on."""
        self.left = self.limit = limit

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        parsed = super()._parse(source, name, filename)
        return cast(nodes.Template, Counting().visit(parsed)) if self.counts else parsed

    # --- counting ------------------------------------------------------------------------------------------------

    def spend(self, amount: int) -> str:
        """Count what is done or made before it is."""
        self.left -= amount
        if self.left < 0:
            raise TemplateError(
                f"it takes more than {self.limit:,} steps and characters, as a loop without an end does"
            )
        return ""

    def weigh(self, value: Any) -> Any:
        """Count a value that is looked at."""
        self.spend(1 + _length(value) // 64)
        return value

    def measure(self, value: Any) -> Any:
        """Count a value that was made, with all that is in it."""
        waiting = [value]
        while waiting:
            inner = waiting.pop()
            self.spend(1 + _length(inner))
            if isinstance(inner, dict):
                waiting += [*inner.keys(), *inner.values()]
            elif isinstance(inner, list | tuple | set | frozenset):
                waiting += inner
        return value

    def text(self, value: Any) -> str:
        """Return a value as it is written."""
        if not isinstance(value, str):
            self.measure(value)
        shown = str(value)
        self.spend(1 + len(shown))
        return shown

    def concat_texts(self, *values: Any) -> str:
        """Return values one behind the other."""
        return "".join(self.text(value) for value in values)

    # --- what a template can do ----------------------------------------------------------------------------------

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether an attribute is offered."""
        is_method = isinstance(obj, str) and attr in _NO_METHODS
        return not is_method and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return a string's method `format`, its fields checked; None for what is no such method."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def run(*args: Any, **kwargs: Any) -> str:
            self._check_format(value.__self__, (*args, *kwargs.values()))
            return str(wrapped(*args, **kwargs))

        return run

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 as Jinja has it
        """Call something, and count what goes in and what comes out."""
        owner = getattr(__obj, "__self__", None)
        if owner is __self:
            return __obj(*args)  # a count of ours
        given = {name: value for name, value in kwargs.items() if name not in ("_loop_vars", "_block_vars")}  # Jinja's
        args = __self._checked(getattr(__obj, "__name__", ""), owner, args, given)
        return __self.measure(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute with two values, and count what that makes before it is made."""
        numbers = [abs(value) for value in (left, right) if isinstance(value, int)]
        if operator == "**" and len(numbers) == 2 and numbers[0].bit_length() * numbers[1] > _BITS:
            raise TemplateError("it computes a number that is too large")
        if operator == "*" and len(numbers) == 2 and sum(number.bit_length() for number in numbers) > _BITS:
            raise TemplateError("it computes a number that is too large")
        if operator == "*" and len(numbers) == 1:
            self.spend(max(_length(left), _length(right)) * numbers[0])
        elif operator == "%" and isinstance(left, str):
            self._check_format(left, (right,))
        self.spend(1 + _length(left) + _length(right))
        return super().call_binop(context, operator, left, right)

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a filter that counts what goes in and what comes out."""
        own = int(hasattr(function, "jinja_pass_arg"))  # Jinja's own first argument

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            owner, *others = args[own:]
            if name == "join":
                owner, others = (others[0] if others else kwargs.get("d", "")), [owner]
                (items,) = self._checked(name, owner, tuple(others), kwargs)
                return self.measure(function(*args[:own], items, *args[own + 1 :], **kwargs))
            if name in ("indent", "tojson"):
                width = max((value for value in (*others, *kwargs.values()) if isinstance(value, int)), default=1)
                self.spend(len(self.text(owner)) * min(width, _NUMBER))
            if name == "sum" and not isinstance(kwargs.get("start", 0), int | float):
                raise TemplateError("it adds up what are no numbers")
            others = list(self._checked(name, owner, tuple(others), kwargs))
            return self.measure(function(*args[:own], owner, *others, **kwargs))

        return run

    def _checked(self, name: str, owner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the arguments of a call, once it is known not to make too much of them."""
        given = (*args, *kwargs.values())
        if any(isinstance(value, int) and abs(value) > _NUMBER for value in given):
            raise TemplateError(f"it asks for more than {_NUMBER:,} of something")
        self.spend(1 + _length(owner) + sum(_length(value) for value in given))
        if isinstance(owner, str) and name in _MULTIPLYING:
            if name == "join" and args:
                args = ([*args[0]], *args[1:])
                self.spend(len(owner) * len(args[0]) + sum(_length(value) for value in args[0]))
            elif name == "replace" and len(args) >= 2:
                self.spend(owner.count(str(args[0])) * _length(args[1]))
            else:
                self._check_format(owner, given)
        return args

    def _check_format(self, form: str, values: Sequence[Any]) -> None:
        if _UNSAFE_FORMAT.search(form):
            raise TemplateError("it formats text with a width that is too large, or not written there")
        flat = [value for entry in values for value in (entry if isinstance(entry, list | tuple) else [entry])]
        self.spend(len(form) * (1 + max((len(self.text(value)) for value in flat), default=0)))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple | dict | set | frozenset) else 0


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise TemplateError(message)
