"""Make an adapter that comes along out of a run: in bf16, its base by name, nothing of the machine it was trained on.

    python eval/ship.py NAME RUN... [--average STAGE...]

Writes adapters/NAME but for its README.md, the model card, which is written by hand. Of several runs, each of which
went on from earlier ones, the last is shipped, or the mean of some stages' weights (1 is the first; one that is named
twice counts twice; Wortsman et al. 2022). The configurations of all come along (stage1.yaml, stage2.yaml, …,
config.yaml), and all metrics in one file.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from mlx_trace.model.adapter import ADAPTER_WEIGHTS, read_adapter_config  # before MLX

# isort: split
import mlx.core as mx
import yaml

from mlx_trace.model.named import NAMED
from mlx_trace.resources import adapters_dir
from mlx_trace.run_files import ADAPTER_CONFIG


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[entry.name for entry in NAMED], metavar="NAME")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--average", type=int, nargs="+", metavar="STAGE", help="the mean of these, not the last")
    options = parser.parse_args()
    name, runs = options.name, options.runs
    stages = options.average or [len(runs)]
    if not set(stages) <= set(range(1, len(runs) + 1)):
        parser.error(f"--average: {stages} of {len(runs)} runs")
    for run in runs:
        read_adapter_config(run)  # refuses what is none
    folder = adapters_dir() / name
    folder.mkdir(exist_ok=True)
    averaged = [mx.load(str(runs[stage - 1] / ADAPTER_WEIGHTS)) for stage in stages]
    if any(weights.keys() != averaged[0].keys() for weights in averaged):
        parser.error("--average: stages of other layers have no mean here; a run's resume_adapter_file takes them")
    means = {key: sum(weights[key] for weights in averaged) / len(averaged) for key in averaged[0]}
    mx.save_safetensors(str(folder / ADAPTER_WEIGHTS), {key: mean.astype(mx.bfloat16) for key, mean in means.items()})
    content = json.loads((runs[-1] / ADAPTER_CONFIG).read_text(encoding="utf-8")) | {"model": name}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for stage, run in enumerate(runs, 1):
        last = stage == len(runs)
        settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        settings["resume_adapter_file"] = starts(settings, run, [earlier.name for earlier in runs[: stage - 1]])
        settings = without_paths(settings) | {"model": name}
        settings["adapter_path"] = f"adapters/{name}" if last else f"runs/stage{stage}"
        file = folder / ("config.yaml" if last else f"stage{stage}.yaml")
        file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    (folder / "metrics.jsonl").write_bytes(b"".join((run / "metrics.jsonl").read_bytes() for run in runs))
    shutil.copyfile(runs[-1] / "chat_template.jinja", folder / "chat_template.jinja")
    print(f"{folder}: {(folder / ADAPTER_WEIGHTS).stat().st_size / 1e6:.1f} MB")


def starts(settings: dict[str, Any], run: Path, earlier: list[str]) -> str | list[str] | None:
    """Return what a run went on from, by stages; whatever is none of the earlier runs ends it."""
    given = settings.get("resume_adapter_file") or []
    paths = [Path(path) for path in ([given] if isinstance(given, str) else given)]
    names = [path.parent.name if path.suffix else path.name for path in paths]
    if unknown := [str(path) for path, name in zip(paths, names, strict=True) if name not in earlier]:
        raise SystemExit(f"{run}: went on from {', '.join(unknown)}, which is no earlier run")
    stages = [f"runs/stage{earlier.index(name) + 1}/{ADAPTER_WEIGHTS}" for name in names]
    return stages if len(stages) > 1 else next(iter(stages), None)


def without_paths(settings: Any) -> Any:
    """Return settings with files by their names alone."""
    if isinstance(settings, dict):
        return {key: without_paths(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [without_paths(value) for value in settings]
    return Path(settings).name if isinstance(settings, str) and settings.startswith("/") else settings


if __name__ == "__main__":
    main()
