"""`mlx-trace fuse`: an adapter and its base become one model directory, or one GGUF file with its Modelfile."""

import argparse
import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mlx_trace.api.loading import settle_adapter
from mlx_trace.cli.options import add_model_options, at_least, load_named
from mlx_trace.cli.output import as_word, show
from mlx_trace.cli.screen import Screen
from mlx_trace.config import FUSE_QUESTIONS
from mlx_trace.errors import UserError
from mlx_trace.files import unreadable
from mlx_trace.notice import tell

_MOST_CHECKED: Final = 1000
_KINDS: Final = ("f32", "f16", "bf16", "q8_0")
_KIND: Final = "f16"


def add_fuse_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument(
        "--save-path",
        type=Path,
        metavar="DIR",
        help="where to write the model, for mlx-lm and transformers; this, --gguf, or both",
    )
    parser.add_argument("--dequantize", action="store_true", help="write full-precision weights of a quantised base")
    parser.add_argument("--check-n", type=at_least(0, _MOST_CHECKED), metavar="N",
                        help="held-out questions whose greedy traces and logits are compared with the adapter's, from "
                             f"what was written; {FUSE_QUESTIONS} unless given, 0 for none")  # fmt: skip
    parser.add_argument("--allow-loss", action="store_true",
                        help="write a model that loses what its adapter learnt, as 4-bit weights may")  # fmt: skip
    line = "write the model as a GGUF file for llama.cpp, with a Modelfile for Ollama beside it"
    parser.add_argument("--gguf", type=Path, metavar="FILE", help=line)
    parser.add_argument("--gguf-type", choices=_KINDS,
                        help=f"how its weights are stored (default {_KIND})")  # fmt: skip


def run_fuse(options: argparse.Namespace) -> int:
    _check(options)
    base, prompt = load_named(options)
    from mlx_trace.fuse import fuse
    from mlx_trace.llama_cpp import check_for_llama_cpp, write_for_llama_cpp
    from mlx_trace.model.adapter import read_adapter_config
    from mlx_trace.model.prompts import Prompter

    adapter = options.adapter_path  # as load_named settled it
    if adapter is not None and read_adapter_config(adapter).loss == "choices":
        tell(f"{adapter}: learnt only what the constraint leaves to choose (loss: choices): a tool without the "
             "constraint will not get whole traces of the fused model")  # fmt: skip
    prompter = Prompter(base.tokenizer, prompt)
    if options.gguf is not None:
        check_for_llama_cpp(base.path, options.gguf, prompter)
    source = base.name if options.adapter_path is None else f"{base.name} with {options.adapter_path}"
    with _folder(options) as folder:
        n = FUSE_QUESTIONS if options.check_n is None else options.check_n
        with Screen(stderr=True).status("merging, writing, and comparing" if n else "merging and writing"):
            fidelity = fuse(base, prompter, folder, options.dequantize or options.save_path is None, n,
                            options.allow_loss)  # fmt: skip
        if options.save_path is not None:
            show(f"{source} is now {folder}, in {base.written_type}")
        show("not compared with the adapter" if fidelity is None else f"read back and compared: {fidelity}")
        if options.gguf is not None:
            kind = options.gguf_type or _KIND
            modelfile = write_for_llama_cpp(folder, options.gguf, kind, prompter)
            show(f"{source} is now {options.gguf}, in {kind}: llama-server --jinja -m {as_word(options.gguf)}, "
                 f"or ollama create {_ollama_name(options.gguf)} -f {as_word(modelfile)}")  # fmt: skip
    if options.save_path is not None:
        show(f"try: mlx-trace chat --model {as_word(options.save_path)}")
    return 0


def _ollama_name(file: Path) -> str:
    """Return a name for a file's model that Ollama takes, and no shell reads otherwise."""
    return re.sub(r"[^\w.-]+", "-", file.stem, flags=re.ASCII).strip("-.") or "my-model"


def _check(options: argparse.Namespace) -> None:
    """Refuse paths that cannot be written to, before anything is loaded."""
    from mlx_trace.folders import check_free
    from mlx_trace.llama_cpp import check_new_gguf

    if options.save_path is None and options.gguf is None:
        raise UserError("where to? --save-path DIR writes a model directory, --gguf FILE a GGUF file")
    has_adapter = settle_adapter(options.model, options.adapter_path) is not None
    if not has_adapter and options.gguf is None and not options.dequantize:
        raise UserError(f"there is no adapter to merge into {options.model or 'tiny'}; name one: --adapter-path RUN")
    if options.gguf is None and options.gguf_type is not None:
        raise UserError(f"--gguf-type {options.gguf_type} says how --gguf FILE is written, and no FILE is given")
    if options.save_path is not None:
        check_free(options.save_path, "a fused model")
    if options.gguf is not None:
        check_new_gguf(options.gguf)


@contextlib.contextmanager
def _folder(options: argparse.Namespace) -> Iterator[Path]:
    """Yield where to write the model directory: as named, or a temporary one beside the GGUF file."""
    if options.save_path is not None:
        yield options.save_path
        return
    try:
        options.gguf.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=options.gguf.parent, prefix=".fuse.") as temporary:
            yield Path(temporary) / options.gguf.stem
    except OSError as error:
        raise unreadable(options.gguf, error) from None
