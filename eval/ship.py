"""Make an adapter that comes along out of a run: in bf16, its base by name, nothing of the machine it was trained on.

python eval/ship.py NAME RUN...  # writes adapters/NAME but for its README.md, the model card, which is written by hand

Of several runs, each of which went on from the one before, the last is shipped: the configurations of all come along
(stage1.yaml, stage2.yaml, …, config.yaml), and what they measured, one after the other.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from mlx_trace.model.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_adapter_config  # before MLX

# isort: split
import mlx.core as mx
import yaml

from mlx_trace.model.named import named
from mlx_trace.resources import adapters_dir


def main() -> None:
    name, *folders = sys.argv[1:] or ("",)
    if named(name) is None or not folders:
        raise SystemExit(__doc__)
    runs = list(map(Path, folders))
    for run in runs:
        read_adapter_config(run)  # refuses what is none
    folder = adapters_dir() / name
    folder.mkdir(exist_ok=True)
    weights = mx.load(str(runs[-1] / ADAPTER_WEIGHTS))
    mx.save_safetensors(
        str(folder / ADAPTER_WEIGHTS), {key: value.astype(mx.bfloat16) for key, value in weights.items()}
    )
    content = json.loads((runs[-1] / ADAPTER_CONFIG).read_text(encoding="utf-8")) | {"model": name}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for stage, run in enumerate(runs, 1):
        last = stage == len(runs)
        settings = without_paths(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")))
        settings |= {"model": name, "adapter_path": f"adapters/{name}" if last else f"runs/stage{stage}"}
        if stage > 1:
            settings["resume_adapter_file"] = f"runs/stage{stage - 1}/{ADAPTER_WEIGHTS}"
        file = folder / ("config.yaml" if last else f"stage{stage}.yaml")
        file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    (folder / "metrics.jsonl").write_bytes(b"".join((run / "metrics.jsonl").read_bytes() for run in runs))
    shutil.copyfile(runs[-1] / "chat_template.jinja", folder / "chat_template.jinja")
    print(f"{folder}: {(folder / ADAPTER_WEIGHTS).stat().st_size / 1e6:.1f} MB")


def without_paths(settings: Any) -> Any:
    """Return settings with files by their names alone."""
    if isinstance(settings, dict):
        return {key: without_paths(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [without_paths(value) for value in settings]
    return Path(settings).name if isinstance(settings, str) and settings.startswith("/") else settings


if __name__ == "__main__":
    main()
