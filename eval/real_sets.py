"""Make the files that figures on real sets are measured on: MAWPS without a fold and that fold, GSM-8K's held-out rows.

python eval/real_sets.py --gsm8k train.jsonl --mawps problems.jsonl FOLDER [--fold 0]

GSM-8K's rows are those of its training split whose wordings training leaves out, halved: `dev` to choose by, `final` to
report. MAWPS's rows carry their fold; of the fold that is measured, what another fold asks too is left out. Rows stand
in the order of a digest of their questions, so that the first n of them are a random n.
"""

import argparse
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlx_trace.problems.gsm8k import is_held_out, read_row
from mlx_trace.problems.rows import read_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gsm8k", type=Path, required=True, help="its training split")
    parser.add_argument("--mawps", type=Path, required=True, help="question, equation, answer, fold")
    parser.add_argument("--fold", type=int, default=0, help="the fold of MAWPS that is measured (default 0)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (gsm8k_sets(rows_of(options.gsm8k)) | mawps_sets(rows_of(options.mawps), options.fold)).items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in sorted(rows, key=digest))
        (options.folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(f"{name}.jsonl: {len(rows):,} rows")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [row for _, row, _ in read_rows(path) if row is not None]


def gsm8k_sets(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return both halves of the rows that training leaves out, with their answers alone."""
    told = [read_row(row, f"row {index}") for index, row in enumerate(rows)]
    held = [{"question": problem.question, "answer": problem.answer} for problem in told if is_held_out(problem)]
    half = {"dev": 0, "final": 1}
    return {f"gsm8k-{name}": [row for row in held if int(digest(row), 16) % 2 == bit] for name, bit in half.items()}


def mawps_sets(rows: list[dict[str, Any]], fold: int) -> dict[str, list[dict[str, Any]]]:
    """Return the folds to train on, these with answers alone, and the rows of the other that ask anew, once each."""
    train = [row for row in rows if int(row["fold"]) != fold]
    asked = {row["question"] for row in train}
    if len(train) == len(rows):
        raise SystemExit(f"no row has fold {fold}")
    own = {row["question"]: row for row in rows if int(row["fold"]) == fold and row["question"] not in asked}
    answers = [{"question": row["question"], "answer": row["answer"]} for row in train]
    return {"mawps-train": train, "mawps-train-answers": answers, f"mawps-fold{fold}": list(own.values())}


def digest(row: dict[str, Any]) -> str:
    """Return a number of 256 bits, in hexadecimal, that a question alone decides."""
    return hashlib.sha256(str(row["question"]).encode()).hexdigest()


if __name__ == "__main__":
    main()
