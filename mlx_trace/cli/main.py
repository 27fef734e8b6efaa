"""The `mlx-trace` command: finds the subcommand, imports only what it needs, and turns a `UserError` into lines."""

import argparse
import difflib
import io
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Final, NoReturn

from mlx_trace.errors import UserError

# name: (module, what it does, an example)
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "solve": ("solve", "run a trace and grade it", "mlx-trace solve trace.yaml --expected 26"),
    "generate": ("problems", "write generated problems to a file", "mlx-trace generate -n 1000 -o problems.jsonl"),
    "audit": ("audit", "check every problem family for wrong labels and bad English", "mlx-trace audit"),
    "compile": ("compile", "turn worked solutions into gold traces", "mlx-trace compile gsm8k.jsonl -o compiled.jsonl"),
    "variants": ("compile", "tell compiled problems again with other numbers and people",
                 "mlx-trace variants compiled.jsonl -k 20 -o variants.jsonl"),
    "train": ("train", "train an adapter: SFT, then reinforcement", "mlx-trace train -c configs/tiny.yaml"),
    "eval": ("evaluate", "measure a model on problems", "mlx-trace eval --adapter-path adapters/tiny -n 200"),
    "fuse": ("fuse", "merge an adapter into its base", "mlx-trace fuse --adapter-path adapters/tiny --save-path fused"),
    "chat": ("chat", "ask a model word problems", "mlx-trace chat"),
    "demo": ("demo", "train, measure and ask the tiny model, all in ten minutes", "mlx-trace demo"),
    "tiny": ("tiny", "rebuild the bundled tiny base", "mlx-trace tiny rebuild --save-path tiny-base"),
    "memory": ("memory", "say which models can be trained in how much memory", "mlx-trace memory"),
    "doctor": ("doctor", "say what this machine has, and what to do about it", "mlx-trace doctor"),
}  # fmt: skip
USAGE: Final = 2
_NEGATIVE: Final = re.compile(r"-[$€£¥₹]?\.?[0-9]")


class Parser(argparse.ArgumentParser):
    """An argument parser that says one line on a usage error, and shows an example in its help."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}\n(`{self.prog} --help` shows what there is)", file=sys.stderr)
        raise SystemExit(USAGE)


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
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")  # a terminal that cannot show a character gets another
    try:
        return _dispatch(arguments)
    except UserError as error:
        for line in error.lines():
            print(f"mlx-trace: {line}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit would complain
        return 0
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else USAGE
    if arguments[0] in ("-V", "--version"):
        print(f"mlx-trace {version('mlx-trace')}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; commands are {', '.join(COMMANDS)}"
        raise UserError(f"there is no command {name!r}{hint}")
    options = make_parser(name).parse_args(_bind_negatives(rest))
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
        ["usage: mlx-trace COMMAND [options]", "", "commands:", *lines, "", "`mlx-trace COMMAND --help` says more; "
         "begin with `mlx-trace demo` or `mlx-trace chat`."]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
