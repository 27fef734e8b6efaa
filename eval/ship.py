"""Make an adapter that comes along out of a run: in bf16, its base by name, nothing of the machine it was trained on.

python eval/ship.py RUN NAME     # writes adapters/NAME but for its README.md, the model card, which is written by hand
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import yaml

from mlx_trace.model.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_adapter_config
from mlx_trace.model.named import named
from mlx_trace.resources import adapters_dir


def main() -> None:
    run, name = Path(sys.argv[1]), sys.argv[2]
    if named(name) is None:
        raise SystemExit(f"{name}: no model of that name")
    read_adapter_config(run)  # refuses what is none
    folder = adapters_dir() / name
    folder.mkdir(exist_ok=True)
    weights = mx.load(str(run / ADAPTER_WEIGHTS))
    mx.save_safetensors(
        str(folder / ADAPTER_WEIGHTS), {key: value.astype(mx.bfloat16) for key, value in weights.items()}
    )
    content = json.loads((run / ADAPTER_CONFIG).read_text(encoding="utf-8")) | {"model": name}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    settings = without_paths(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")))
    settings |= {"model": name, "adapter_path": f"adapters/{name}"}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    for file in ("chat_template.jinja", "metrics.jsonl"):
        shutil.copyfile(run / file, folder / file)
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
