"""The files of an evaluation: records as they come and when all are there, and beside them a summary of the run."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_trace.errors import UserError, one_line
from mlx_trace.files import write_atomically
from mlx_trace.notice import tell
from mlx_trace.run_files import SUMMARY
from mlx_trace.times import clock

if TYPE_CHECKING:
    from mlx_trace.evaluate.polled import Polled
    from mlx_trace.evaluate.record import Record
    from mlx_trace.train.gold_loss import GoldLoss


def file_of(output: Path, way: str) -> Path:
    """Return the file of the records of a way to ask: FILE.jsonl of the main one, FILE.free.jsonl of others."""
    return output.with_name(f"{output.stem}.{way}{output.suffix}") if way else output


def write_records(path: Path, rows: "Sequence[Record | Polled | GoldLoss]") -> UserError | None:
    """Write the records; where that fails, keep them elsewhere, and return the fault, which is told at the end."""
    lines = [row.as_json() + "\n" for row in rows]
    try:
        write_atomically(path, lines)
    except UserError as error:
        try:
            kept = Path(tempfile.gettempdir()) / f"mlx-trace-{path.name}"
            write_atomically(kept, lines)
        except (UserError, FileNotFoundError) as other:  # the latter where there is no folder for temporary files
            return UserError(*error.faults, one_line(other), "the records are not kept; the counts above are complete")
        return UserError(*error.faults, f"the records are in {kept} instead")
    return None


def write_summary(output: Path, report: Mapping[str, Any]) -> None:
    """Write beside the records what `--json` prints; where that fails it is told, for the counts are printed."""
    try:
        write_atomically(output.with_suffix(SUMMARY), [json.dumps(report, ensure_ascii=False, indent=1) + "\n"])
    except UserError as error:
        tell(str(error))


def reporter(show: Callable[[str], None], total: int, known: int) -> Callable[[int], None]:
    """Return what shows how many replies are done, and the time to come, given that so many were known before."""
    began = time.perf_counter()

    def report(done: int) -> None:
        left = (total - done) * (time.perf_counter() - began) / max(1, done - known)
        show(f"{done} of {total}" + (f", ETA {clock(left)}" if done < total else ""))

    return report
