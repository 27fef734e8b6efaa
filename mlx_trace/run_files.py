"""What the files of a run, and of an evaluation, are called; `train/run_dir.py` knows what may be done with them."""

from typing import Final

ADAPTER_CONFIG: Final = "adapter_config.json"
CONFIG_FILE: Final = "config.yaml"
METRICS_FILE: Final = "metrics.jsonl"
TRACKING_FILE: Final = "tracking.json"  # the id that dashboards know the run by
SAMPLES_FILE: Final = "samples.jsonl"
SUMMARY: Final = ".summary.json"  # in place of a file of records' .jsonl: what was measured, and how
BEST: Final = "best"  # the adapter with the highest accuracy, or where none is measured the lowest held-out loss
STATE: Final = "state"
PROGRESS: Final = "state.json"  # of a checkpoint, in a folder of `state`
