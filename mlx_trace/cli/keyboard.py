"""Questions as a person types them: lines edited and remembered, a paste taken whole, /commands completed.

Takes a prompt; returns what was entered, None where there is no more. Knows nothing of what it means.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import create_output

_LARGE: Final = 4_000  # characters from which a paste is not shown but counted: drawing it takes seconds
_LARGEST: Final = 1 << 20  # characters of an entry


class Keyboard:
    """A terminal at which somebody types. `commands` say of each /command what its word is completed from."""

    def __init__(
        self, history: History, commands: dict[str, Callable[[], Iterable[str]] | str], **terminal: Any
    ) -> None:
        self.pastes: list[str] = []
        terminal.setdefault("output", create_output(always_prefer_tty=True))
        self.session: PromptSession[str] = PromptSession(
            history=history, completer=_CommandCompleter(commands), complete_while_typing=False, enable_suspend=True,
            erase_when_done=True, key_bindings=self._bindings(), reserve_space_for_menu=4, **terminal,
        )  # fmt: skip

    def read(self, prompt: str) -> str | None:
        """Return what is entered; KeyboardInterrupt for a Ctrl-C where nothing was typed."""
        self.pastes.clear()
        try:
            entered = self.session.prompt(prompt, prompt_continuation=" " * len(prompt))
        except EOFError:
            return None
        return self._whole(entered)

    def _whole(self, entered: str) -> str:
        """Return an entry with its large pastes, whose places it holds."""
        for number, paste in enumerate(self.pastes):
            entered = entered.replace(_place(number, paste), paste, 1)
        return entered

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()
        has_text = Condition(lambda: bool(self.session.default_buffer.text))

        @bindings.add("c-c", filter=has_text)
        def clear(event: KeyPressEvent) -> None:
            event.current_buffer.reset()

        @bindings.add("escape", "enter")
        def another_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @bindings.add(Keys.BracketedPaste)
        def paste(event: KeyPressEvent) -> None:
            text = event.data.replace("\r\n", "\n").replace("\r", "\n")[:_LARGEST].strip("\n")
            if len(text) >= _LARGE:
                self.pastes.append(text)
                text = _place(len(self.pastes) - 1, text)
            event.current_buffer.insert_text(text)

        return bindings


def _place(number: int, paste: str) -> str:
    return f"[paste {number + 1}: {len(paste):,} characters]"


class _CommandCompleter(Completer):
    """Completes a /command, then its word: a name, or a path."""

    def __init__(self, commands: dict[str, Callable[[], Iterable[str]] | str]) -> None:
        self.commands, self.paths = commands, PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what may stand at the cursor."""
        before = document.text_before_cursor
        command, blank, word = before.partition(" ")
        if not before.startswith("/"):
            return
        if not blank:
            yield from _starting(command, sorted(self.commands))
            return
        known = self.commands.get(command, "")
        if known == "path":
            yield from self.paths.get_completions(Document(word, len(word)), complete_event)
        elif callable(known):
            yield from _starting(word, sorted(known()))


def _starting(word: str, known: Sequence[str]) -> Iterable[Completion]:
    return (Completion(name, start_position=-len(word)) for name in known if name.startswith(word))
