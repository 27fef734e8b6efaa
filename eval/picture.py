"""Draw README's picture: the bundled adapter solves a question in the terminal, recorded by rich as SVG.

python eval/picture.py [QUESTION]     # writes eval/solved.svg
"""

import argparse
import io
import re
from pathlib import Path

from rich.console import Console

from mlx_trace.chat import Reply, ask
from mlx_trace.cli.ledger import print_ledger
from mlx_trace.config import Prompt
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.params import SamplingParams
from mlx_trace.language.syntax import Trace, parse
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import load_base
from mlx_trace.model.prompts import Prompter
from mlx_trace.resources import adapters_dir

QUESTION = "A desk costs $80. Nora gets 25% off and then pays 10% tax on the lower price. How much does she pay?"
PICTURE = Path(__file__).parent / "solved.svg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default=QUESTION, metavar="QUESTION")
    question = parser.parse_args().question
    base = load_base("tiny")
    load_adapter(base, adapters_dir() / "tiny")
    decoder = Decoder(base, Prompter(base.tokenizer, Prompt()), Decoding())
    *_, reply = ask(decoder, question, SamplingParams(max_tokens=300))
    trace = parse(reply.text) if isinstance(reply, Reply) else None
    if not isinstance(reply, Reply) or not isinstance(trace, Trace) or reply.grade.answer is None:
        raise SystemExit(f"not solved: {reply}")
    console = Console(record=True, width=92, highlight=False, file=io.StringIO(), force_terminal=True)
    console.print(f"[bold]1>[/bold] {question}\n")
    console.print(reply.text + "\n", style="dim", markup=False)
    print_ledger(console, trace)
    console.print(f"= {reply.grade.answer}", style="bold green")
    drawn = console.export_svg(title="mlx-trace chat")
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)  # no fonts from elsewhere
    PICTURE.write_text(drawn, encoding="utf-8")
    print(f"{PICTURE}: {question} = {reply.grade.answer}")


if __name__ == "__main__":
    main()
