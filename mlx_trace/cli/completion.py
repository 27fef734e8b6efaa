"""`mlx-trace completion`: what a shell reads to complete commands, flags and their values, by argcomplete.

The shell then calls `mlx-trace` with its line whenever Tab is pressed, which imports no network's library.
"""

import argparse
import os
import re
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from mlx_trace.cli.output import show
from mlx_trace.errors import UserError

SHELLS: Final = ("bash", "zsh", "fish")
_CALL: Final = re.compile(r"[;&|(]\s*(?=(?:\S*/)?mlx-trace\s)")
_FILES: Final = ("output", "save_path", "gguf", "examples_from")


def add_completion_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shell", nargs="?", choices=SHELLS, help="whose completions; by default those of the shell that $SHELL names"
    )
    parser.epilog = f"{parser.epilog}\n\n{_HOW}"


_HOW: Final = """\
in ~/.bashrc:                  eval "$(mlx-trace completion bash)"
in ~/.zshrc, after compinit:   eval "$(mlx-trace completion zsh)"
in fish, once:                 mlx-trace completion fish \\
                                 > ~/.config/fish/completions/mlx-trace.fish"""


def run_completion(options: argparse.Namespace) -> int:
    shell = options.shell or Path(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        raise UserError(f"$SHELL names {shell or 'no shell'!r}, not one of {', '.join(SHELLS)}; say which")
    from argcomplete.shell_integration import shellcode

    show(shellcode(["mlx-trace"], shell=shell))
    return 0


def complete(commands: dict[str, tuple[str, str, str]]) -> None:
    """Tell the shell that asks what may come next, and end the process."""
    import argcomplete

    line = os.environ.get("COMP_LINE", "")
    if cut := _before(line):  # zsh gives the whole line, and argcomplete takes its first command for ours
        line = line[cut:]
        os.environ["COMP_LINE"] = line
        os.environ["COMP_POINT"] = str(max(0, int(os.environ.get("COMP_POINT", "0")) - cut))
    argcomplete.autocomplete(_parser(commands, line.split()))


def _before(line: str) -> int:
    """Return how many characters stand before the last call of mlx-trace in a line of several commands."""
    return max((match.end() for match in _CALL.finditer(line)), default=0)


def _parser(commands: dict[str, tuple[str, str, str]], words: list[str]) -> argparse.ArgumentParser:
    """Return the parser of all commands, with the options of the one that is named in a line alone."""
    parser = argparse.ArgumentParser("mlx-trace")
    parser.add_argument("--version", action="store_true", help="say which version this is")
    chosen = parser.add_subparsers()
    for name, (module, purpose, _) in commands.items():
        command = chosen.add_parser(name, help=purpose, allow_abbrev=False)
        if name in words[1:2]:
            getattr(import_module(f"mlx_trace.cli.{module}"), f"add_{name}_options")(command)
            for action in command._actions:
                _teach(action)
    return parser


def _teach(action: Any) -> None:
    """Say what the values of an option may be, where argparse does not know; files and folders otherwise."""
    from argcomplete.completers import DirectoriesCompleter, SuppressCompleter

    name = action.dest.removeprefix("key:")
    if name == "model":
        action.completer = _and_files(_models)
    elif name in ("adapter_path", "resume_adapter_file", "schemas_dir"):
        action.completer = DirectoriesCompleter()
    elif name == "config":
        action.completer = _and_files(_configs)
    elif name == "data" and action.dest == "data":
        action.completer = _and_files(_suites)
    elif name == "question" or (not action.choices and action.type is not None and name not in _FILES
                                and action.type is not Path):  # fmt: skip
        action.completer = SuppressCompleter()
    elif action.dest.startswith("key:") and (values := _values(name)):
        action.choices = values


def _and_files(names: Callable[[], Iterable[str]]) -> Callable[..., list[str]]:
    from argcomplete.completers import FilesCompleter

    files = FilesCompleter()

    def found(prefix: str, **_: Any) -> list[str]:
        own = [name for name in names() if name.startswith(prefix)]
        return [*own, *files(prefix)]

    return found


def _models() -> list[str]:
    from mlx_trace.model.named import NAMED, TINY

    return [TINY, *(entry.name for entry in NAMED)]


def _configs() -> list[str]:
    from mlx_trace.resources import configs_dir

    return sorted(path.stem for path in configs_dir().glob("*.yaml"))


def _suites() -> list[str]:
    from mlx_trace.evaluate.suites import SUITES

    return list(SUITES)


def _values(key: str) -> list[str]:
    """Return what a key of a configuration may be, if that is one of some words."""
    from mlx_trace.config import Config

    model: Any = Config
    *sections, last = key.split(".")
    for section in sections:
        model = type(model.model_fields[section].get_default())
    kind = model.model_fields[last].annotation if last in model.model_fields else None  # or an earlier name
    if kind is bool:
        return ["true", "false"]
    return [str(value) for value in get_args(kind)] if get_origin(kind) is Literal else []
