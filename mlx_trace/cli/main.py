"""The `mlx-trace` command: finds the subcommand, imports only what it needs, and turns a `UserError` into lines."""

import argparse
import errno
import io
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO

from mlx_trace.cli.output import drop_output, read_path, show
from mlx_trace.errors import UserError, meant, why
from mlx_trace.language.number_words import CURRENCY
from mlx_trace.notice import one_message, tell

# name: (module, what it does, an example)
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "solve": ("solve", "run a trace and grade it", "mlx-trace solve trace.yaml --expected 26"),
    "generate": ("problems", "write generated problems to a file", "mlx-trace generate -n 1000 -o problems.jsonl"),
    "audit": ("audit", "check every problem family for wrong labels and bad English", "mlx-trace audit"),
    "compile": ("compile", "turn worked solutions into gold traces", "mlx-trace compile gsm8k.jsonl -o compiled.jsonl"),
    "variants": ("compile", "tell compiled problems again with other numbers and people",
                 "mlx-trace variants compiled.jsonl -k 20 -o variants.jsonl"),
    "explain": ("explain", "let a model solve problems in its words, and keep what is right",
                "mlx-trace explain questions.jsonl --model smollm2-135m -o solutions.jsonl"),
    "init": ("init", "write a configuration of one's own, from four questions",
             "mlx-trace init --model llama32-1b --mac 16 -o mine.yaml"),
    "train": ("train", "train an adapter: SFT, then reinforcement", "mlx-trace train -c configs/tiny.yaml"),
    "samples": ("samples", "look through what reinforcement sampled, and how replies changed",
                "mlx-trace samples adapters/run --worst"),
    "plot": ("plot", "draw what a run's updates measured in the terminal", "mlx-trace plot adapters/tiny"),
    "eval": ("evaluate", "measure a model on problems", "mlx-trace eval --adapter-path adapters/tiny -n 200"),
    "compare": ("compare", "compare measurements, problem by problem: gained, lost, and p",
                "mlx-trace compare before.jsonl after.jsonl"),
    "report": ("report", "show runs and measurements in one page, or as Markdown tables",
               "mlx-trace report adapters/mine records.jsonl -o report.html"),
    "sweep": ("sweep", "train and measure a configuration in several ways; compare them",
              "mlx-trace sweep eval/levers.yaml"),
    "fuse": ("fuse", "merge an adapter into its base", "mlx-trace fuse --adapter-path adapters/tiny --save-path fused"),
    "export": ("exchange", "write an adapter as PEFT, vLLM and others load it",
               "mlx-trace export --adapter-path adapters/mine --peft adapters/mine-peft"),
    "import": ("exchange", "take over a PEFT adapter", "mlx-trace import peft-adapter --adapter-path adapters/theirs"),
    "push": ("push", "upload an adapter or a model to the Hugging Face hub, with a card",
             "mlx-trace push adapters/mine me/mine --plan"),
    "ask": ("ask", "answer one word problem", 'mlx-trace ask "I had 20 eggs and sold 4 of them. How many are left?"'),
    "chat": ("chat", "ask a model word problems", "mlx-trace chat"),
    "serve": ("serve", "answer word problems over HTTP, to any OpenAI client", "mlx-trace serve --port 8080"),
    "demo": ("demo", "train, measure and ask the tiny model, all in six minutes", "mlx-trace demo"),
    "tiny": ("tiny", "rebuild the bundled tiny base", "mlx-trace tiny rebuild --save-path tiny-base"),
    "memory": ("memory", "say which models can be trained in how much memory", "mlx-trace memory"),
    "doctor": ("doctor", "say what this machine has, and what to do about it", "mlx-trace doctor"),
    "completion": ("completion", "print what bash, zsh or fish needs to complete commands",
                   "mlx-trace completion bash"),
}  # fmt: skip
USAGE: Final = 2
_UNKNOWN: Final = "unrecognized arguments: "
_REFUSED: Final = frozenset({  # what a machine says to anybody, and no command foresees everywhere
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG, errno.ELOOP,
    errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EILSEQ,
})  # fmt: skip
_NEGATIVE: Final = re.compile(rf"-[{CURRENCY}]?\.?[0-9]")


class Parser(argparse.ArgumentParser):
    """An argument parser that says one line on a usage error, shows an example in its help, and knows paths."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.register("type", Path, read_path)

    def error(self, message: str) -> NoReturn:
        print(one_message(f"{self.prog}: {message}{self._hint(message)}"), file=sys.stderr)
        print(f"(`{self.prog} --help` shows what there is)", file=sys.stderr)
        raise SystemExit(USAGE)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help, and raise where that cannot be; argparse keeps it to itself."""
        print(message, end="", file=file, flush=True)

    def _hint(self, message: str) -> str:
        """Return which flag was meant, where one was given that there is not."""
        wrong = [word.partition("=")[0] for word in message.removeprefix(_UNKNOWN).split() if word.startswith("-")]
        if not (message.startswith(_UNKNOWN) and wrong):
            return ""
        shown = [action for action in self._actions if action.dest != "help" and action.help != argparse.SUPPRESS]
        flags = [flag for action in shown for flag in action.option_strings if flag.startswith("--")]
        near = [(self._elsewhere(word, flags) or meant(f"--{word.lstrip('-').replace('_', '-')}", flags)).strip()
                for word in wrong]  # fmt: skip
        return "".join(f"; {hint}" for hint in near if hint)

    def _elsewhere(self, word: str, flags: list[str]) -> str:
        """Return which flag was meant by a key of a section, or what another tool's flag is here."""
        key = word.lstrip("-").replace("-", "_")
        if "--learning-rate" in flags:
            from mlx_trace.config_file import meant_elsewhere

            return meant_elsewhere(key).replace("mean ", "mean --").replace("_", "-")
        from mlx_trace.other_words import NONE_HERE, OURS

        flag = f"--{OURS.get(key, '').rpartition('.')[2].replace('_', '-')}"
        return f"did you mean {flag}?" if flag in flags else NONE_HERE.get(key, "")


def make_parser(name: str) -> Parser:
    """Return the parser of a subcommand, with its options."""
    module_name, purpose, example = COMMANDS[name]
    parser = Parser(
        prog=f"mlx-trace {name}", description=purpose[0].upper() + purpose[1:] + ".", epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    module = import_module(f"mlx_trace.cli.{module_name}")
    getattr(module, f"add_{name}_options")(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return the exit code (0 done, 1 the command's own no, 2 the user's mistake)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what may come next, of streams of its own
        from mlx_trace.cli.completion import complete

        complete(COMMANDS)
    _prepare_streams()
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        for line in error.lines():
            tell(line)
        return USAGE
    except BrokenPipeError:
        drop_output(sys.stdout)
        return 0
    except OSError as error:
        if error.errno in _REFUSED and error.filename is not None:  # standard output has no name
            tell(f"{error.filename}: {why(error)}")
        elif error.errno == errno.ENOENT and error.filename is None:  # no folder for temporary files
            tell(why(error))
        elif _is_broken(sys.stdout):
            drop_output(sys.stdout)
            tell(f"standard output: {why(error)}")
        elif error.errno in _REFUSED:
            tell(why(error))
        else:
            raise
        return USAGE
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _prepare_streams() -> None:
    """Make what this process was started with fit to be used, though it be closed, or of another encoding."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the next file would get its number, and what is printed
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 as long as there is a process
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")  # a terminal that cannot show a character gets another
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # chat tells which line is no text


def _is_broken(output: TextIO) -> bool:
    """Tell whether it is standard output that cannot be written to: what failed may be forgotten, so it is tried."""
    try:
        output.write("\n")
        output.flush()
    except OSError:
        return True
    return False


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        show(_overview())
        return 0 if arguments else USAGE
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version  # takes half of the time that --help does

        show(f"mlx-trace {version('mlx-trace')}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        hint = meant(name, COMMANDS) or f"commands are {', '.join(COMMANDS)}"
        raise UserError(f"there is no command {name!r}; {hint.strip()}")
    options = make_parser(name).parse_args(_bind_negatives(rest))
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the current folder was removed, or replaced, since this shell entered it; cd to one that is "
                        "there") from None  # fmt: skip
    module = import_module(f"mlx_trace.cli.{COMMANDS[name][0]}")
    code: int = getattr(module, f"run_{name}")(options)
    return code


def _bind_negatives(arguments: list[str]) -> list[str]:
    """Write `--flag -1/2` as `--flag=-1/2`, since argparse takes all but the plainest negative numbers for flags."""
    bound: list[str] = []
    for argument in arguments:
        if bound and bound[-1].startswith("--") and "=" not in bound[-1] and _NEGATIVE.match(argument):
            bound[-1] += f"={argument}"
        else:
            bound.append(argument)
    return bound


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {purpose}" for name, (_, purpose, _) in COMMANDS.items()]
    return "\n".join(
        ["usage: mlx-trace COMMAND [options]", "", "commands:", *lines, "",
         "`mlx-trace COMMAND --help` says more, `mlx-trace --version` which one this is;",
         "begin with `mlx-trace demo` or `mlx-trace chat`. Exit codes: 0 done; 1 the",
         "command's own no, as no answer; 2 a mistake in what it was given; 130 Ctrl-C."]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
