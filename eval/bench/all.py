"""Every benchmark in its normal form, one after another, with its output and the time that it took.

    python eval/bench/all.py [--rows GSM8K-train.jsonl] [--tokenizer FOLDER] [--gguf FILE] [NAME ...]

Those that need data run where it is given: worked solutions, TinyLlama's tokenizer, a GGUF file. One that fails is
named at the end, and the exit code tells. The study of algorithms, which takes a day, is left out.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROWS, TOKENIZER, GGUF = "--rows", "--tokenizer", "--gguf"
# name: what it cannot do without; those that only do more with rows get them where there are some
BENCHMARKS = {
    "language": None, "problems": None, "constraint": None, "decode": None, "sft": None, "rl": None, "memory": None,
    "llama_cpp": None, "rules": None, "serve": None, "real_size": TOKENIZER, "families": ROWS, "gguf_files": GGUF,
}  # fmt: skip
TAKE_ROWS = ("problems", "constraint", "rules")


def command(name: str, given: dict[str, Path | None]) -> list[str] | None:
    """Return a benchmark's command, or None if what it needs is not given."""
    words, need = [sys.executable, str(HERE / f"{name}.py")], BENCHMARKS[name]
    if need is not None:
        if given[need] is None:
            return None
        words += [TOKENIZER] * (need == TOKENIZER) + [str(given[need])]
    if name in TAKE_ROWS and given[ROWS] is not None:
        words += [ROWS, str(given[ROWS])]
    return words


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(BENCHMARKS)} (default all)")
    parser.add_argument(ROWS, type=Path, help="worked solutions, such as GSM-8K's training split")
    parser.add_argument(TOKENIZER, type=Path, help="the folder of TinyLlama's tokenizer")
    parser.add_argument(GGUF, type=Path, help="a GGUF file of a pretrained model")
    options = parser.parse_args()
    given = {ROWS: options.rows, TOKENIZER: options.tokenizer, GGUF: options.gguf}
    names = options.names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]}; {', '.join(BENCHMARKS)} there are")
    took: dict[str, float] = {}
    failed: list[str] = []
    for name in names:
        words = command(name, given)
        if words is None:
            print(f"== {name}: left out, it needs {BENCHMARKS[name]}", flush=True)
            continue
        print(f"== {name}", flush=True)
        began = time.perf_counter()
        code = subprocess.run(words, check=False, cwd=HERE.parents[1]).returncode
        took[name] = time.perf_counter() - began
        print(f"== {name}: {'failed' if code else 'done'} after {took[name]:.0f} s\n", flush=True)
        if code:
            failed.append(name)
    print("seconds: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in took.items()))
    print(f"failed: {', '.join(failed)}" if failed else f"all {len(took)} ran")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
