"""Kill training for real, many times and at every stage, fill its disk, and compare with a run that was left alone.

`python tests/train/never_lose.py [--kills 30] [--quick]` prints a line a check, and exits with 1 if anything was lost.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from multiprocessing.process import BaseProcess

from tests.train.lab import KINDS, UPDATES, Lab, Lost, check, checkpoints, expect, litter, place, read_metrics, seen

_PAGE: Final = 4096  # bytes, what a small disk is given out in
_SIGNS: Final[dict[str, Callable[[Path], bool]]] = {  # what a kill waits to see
    "anything": lambda run: True,
    "beginning": lambda run: (run / "state").exists(),
    "checkpoint": lambda run: any(run.glob("state/*.tmp")),
    "adapter": lambda run: any(run.glob(".adapters.tmp*")),
    "pruning": lambda run: len(checkpoints(run)) > 2,
    "end": lambda run: (run / "state" / f"{UPDATES:07d}").exists(),
}
_AIMS: Final = ("anything", "anything", "checkpoint", "adapter", "pruning", "end")
_FIRST_AIMS: Final = ("anything", "anything", "anything", "beginning")  # while the run has no configuration yet


def kill_often(lab: Lab, kind: str, kills: int) -> str:
    """Kill runs so many times in all; each is gone on with until it ends, and compared."""
    lab.whole(kind)
    places: Counter[str] = Counter()
    runs = 1
    while places.total() < kills:
        run = lab.folder / f"killed-{kind}-{runs}"
        where = kill(lab, kind, run)
        if where is None:
            lab.finish(kind, run)
            runs += 1
        else:
            places[where] += 1
    lab.finish(kind, lab.folder / f"killed-{kind}-{runs}")
    return f"{kills} kills in {runs} runs: " + ", ".join(f"{count} {where}" for where, count in places.most_common())


def kill(lab: Lab, kind: str, run: Path) -> str | None:
    """Go on with a run and kill it at a random moment; return where that fell, None if the run ended first."""
    before, began = litter(run), (run / "config.yaml").exists()
    aims = _AIMS if began else _FIRST_AIMS
    aim = lab.random.choice(aims)
    process = lab.train(kind, run)
    process.join(lab.random.uniform(0, lab.seconds[kind] * (0.9 if aim == "anything" else 0.3)))
    seen(process, lambda: _SIGNS[aim](run))
    time.sleep(lab.random.choice([0, 0.0005, 0.001, 0.002]))
    process.kill()
    process.join()
    if process.exitcode != -signal.SIGKILL:
        expect(process.exitcode == 0, f"{run.name}: exit {process.exitcode}: {lab.told(run)}")
        return None
    check(run)
    stale = before & litter(run) if lab.has_updated(run) else set()
    expect(not stale, f"{run.name}: a resume left {sorted(stale)}")
    return place(lab, run)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a disk of so many bytes; False where that is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    able = sys.platform == "linux" and shutil.which("mount") is not None
    mounted = able and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def fill_disk(lab: Lab, every: int = 1) -> str | None:
    """Let runs fill their disk, each with `every` pages more, until one fits; None where no disk can be mounted."""
    size, full = 1 << 20, Counter[str]()
    lab.whole("sft")
    with small_disk(lab.folder / "disk", size) as mounted:
        if not mounted:
            return None
        for room in range(0, size, every * _PAGE):
            run, ballast = lab.folder / "disk" / f"run-{room}", lab.folder / "disk" / "ballast"
            ballast.write_bytes(bytes(size - room))
            process = lab.train("sft", run)
            if lab.wait(process) == 0:
                return f"{full.total()} times, at " + ", ".join(f"{name} {count}" for name, count in full.items())
            full[Path(refusal(lab, run, process, "no space left").split(": ")[1]).name] += 1
            check(run)
            refusal(lab, run, lab.train("sft", run), "no space left")
            check(run)
            ballast.unlink()
            lab.finish("sft", run)
            shutil.rmtree(run)
    raise Lost("no room sufficed")


def refusal(lab: Lab, run: Path, process: BaseProcess, because: str) -> str:
    """Expect exit 2 and one line that says why; return the line."""
    code, told = lab.wait(process), lab.told(run)
    lines = [line for line in told.splitlines() if line.startswith("mlx-trace: ")]
    clear = code == 2 and len(lines) == 1 and because in lines[0] and "Traceback" not in told
    expect(clear, f"{run.name}: exit {code}, not one line with {because!r}: {told}")
    return lines[0]


def run_twice(lab: Lab) -> str:
    """Start two more processes on a run that is being trained."""
    run = lab.folder / "twice"
    first = lab.train("sft", run)
    expect(seen(first, lambda: len(read_metrics(run)) > 2), f"the first process ended: {lab.told(run)}")
    os.kill(first.pid or 0, signal.SIGSTOP)
    before = contents(run)
    for more in (["--resume", "--adapter-path", str(run)], ["-c", str(lab.config("sft", run)), "--overwrite"]):
        refusal(lab, run, lab.train("sft", run, *more), "another process")
    expect(contents(run) == before, "the second process wrote")
    os.kill(first.pid or 0, signal.SIGCONT)
    expect(lab.wait(first) == 0, "the first process did not go on")
    lab.finish("sft", run)
    return "--resume and --overwrite were refused, the first went on"


def contents(run: Path) -> dict[Path, bytes]:
    """Return every file of a run."""
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def interrupt(lab: Lab, kind: str, presses: int) -> str:
    """Press Ctrl-C on a terminal and go on; twice counts only if the second one came before the update was saved."""
    for attempt in range(20):
        run = lab.folder / f"pressed-{kind}-{presses}-{attempt}"
        code, shown = press(lab, kind, run, presses)
        expect(code == 130, f"{run.name}: exit {code}: {shown}")
        expect(f"--resume --adapter-path {run}" in shown, f"{run.name}: no word of --resume: {shown}")
        expect(shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l"), f"{run.name}: the cursor stayed hidden: {shown!r}")
        check(run)
        done, saved = len(read_metrics(run)), len(checkpoints(run)) and int(checkpoints(run)[-1].name)
        expect(presses > 1 or saved == done, f"{run.name}: {done} updates, {saved} saved")
        lab.finish(kind, run)
        if presses == 1 or "stopped and saved" not in shown:
            return f"{done} updates, {saved} saved, then gone on with"
    raise Lost("a second Ctrl-C never stopped anything")


def press(lab: Lab, kind: str, run: Path, presses: int) -> tuple[int, str]:
    """Train on a terminal of its own and press Ctrl-C in the third update; return the exit code and what was shown."""
    keyboard, screen = os.openpty()
    os.set_blocking(keyboard, False)
    process = lab.train(kind, run, terminal=os.ttyname(screen))
    shown = b""

    def look() -> bool:
        nonlocal shown
        with contextlib.suppress(BlockingIOError):
            shown += os.read(keyboard, 1 << 16)
        return len(read_metrics(run)) > 1

    expect(seen(process, look), f"{run.name}: ended early: {shown.decode(errors='replace')}")
    for _ in range(presses):
        os.write(keyboard, b"\x03")
        time.sleep(0.003)
    seen(process, lambda: look() and False)
    look()
    os.close(keyboard)
    os.close(screen)
    return lab.wait(process), shown.decode(errors="replace")


def main() -> int:
    """Do every check, print a line each, return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, metavar="N", help="of SFT, and of RL (default 30)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default 0)")
    parser.add_argument("--quick", action="store_true", help="four kills each, and a few sizes of the disk")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), options.seed)
        kills, every = (4, 6) if options.quick else (options.kills, 1)
        checks: dict[str, Callable[[], str | None]] = {
            **{f"{kind}: kill -9": partial(kill_often, lab, kind, kills) for kind in KINDS},
            "full disk": partial(fill_disk, lab, every),
            "two processes": partial(run_twice, lab),
            **{f"{kind}: Ctrl-C {word}": partial(interrupt, lab, kind, presses)
               for kind in KINDS for presses, word in ((1, "once"), (2, "twice"))},
        }  # fmt: skip
        lost = sum(not report(name, one) for name, one in checks.items())
    print(f"{len(checks)} checks, " + (f"{lost} lost something" if lost else "nothing was lost"))
    return 1 if lost else 0


def report(name: str, one: Callable[[], str | None]) -> bool:
    """Do one check and print what came of it."""
    began = time.monotonic()
    try:
        found = one()
    except Lost as error:
        print(f"LOST  {name}: {error}", flush=True)
        return False
    said = f"ok    {name}: {found}" if found is not None else f"skip  {name}: mounting a small disk is not permitted"
    print(f"{said} ({time.monotonic() - began:.0f} s)", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
