"""A wheel installed elsewhere finds its families, configurations, tiny base and adapter, and answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the repository and unpacked where nothing of the repository is."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    return target


def run(installed: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "mlx_trace", *arguments]
    done = subprocess.run(command, cwd=installed.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_resources_are_its_own(installed: Path) -> None:
    probe = "from mlx_trace import resources as r; print(r.schemas_dir(), r.configs_dir(), r.tiny_dir(), r.adapters_dir(), r.sets_dir(), r.report_dir())"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    out = subprocess.run([sys.executable, "-c", probe], cwd=installed.parent, env=environment, capture_output=True, text=True,
                         check=True).stdout  # fmt: skip
    assert all(path.startswith(str(installed)) for path in out.split())


def test_it_generates_and_answers(installed: Path) -> None:
    assert "arithmetic/price_chain" in run(installed, "generate", "--list")
    (installed.parent / "q.txt").write_text(
        "Ben has 12 apples and gives 5 to Ava. How many apples does Ben have left?\n"
    )
    environment = os.environ | {"PYTHONPATH": str(installed)}
    with (installed.parent / "q.txt").open() as question:
        out = subprocess.run([sys.executable, "-m", "mlx_trace", "chat", "--json"], cwd=installed.parent, env=environment,
                             stdin=question, capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert json.loads(out)["trace"]


def test_it_writes_a_report(installed: Path) -> None:
    assert "page.html: 1 run, " in run(installed, "report", "site/mlx_trace/adapters/tiny", "-o", "page.html")
    assert "</html>" in (installed.parent / "page.html").read_text(encoding="utf-8")


def test_it_trains_from_a_bundled_configuration(installed: Path) -> None:
    out = run(installed, "train", "-c", "configs/tiny.yaml", "--iters", "1", "--batch-size", "2", "--reinforce.iters", "0",
              "--data", "[{source: synthetic, n: 4}]", "--adapter-path", "run")  # fmt: skip
    assert "sft 1/1" in out
