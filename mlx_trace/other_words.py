"""What mlx-lm and TRL call our keys, and what is to be said of theirs that have none here."""

from typing import Final

OURS: Final = {
    "lr": "learning_rate", "temp": "reinforce.temperature", "lora_layers": "num_layers", "steps": "iters",
    "max_steps": "iters", "adapter": "adapter_path", "output": "adapter_path", "output_dir": "adapter_path",
    "gradient_accumulation_steps": "grad_accumulation_steps", "max_length": "max_seq_length",
    "num_generations": "reinforce.group_size", "beta": "reinforce.kl", "warmup_steps": "warmup", "val_batches":
    "val_examples", "lr_schedule": "lr_decay", "lr_scheduler_type": "lr_decay", "wandb": "report_to", "hf_dataset":
    "data", "dataset_name": "data", "model_name_or_path": "model", "hf_path": "model", "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch_size", "max_completion_length": "reinforce.max_tokens",
    "max_new_tokens": "reinforce.max_tokens", "epsilon": "reinforce.clip", "num_iterations":
    "reinforce.updates_per_batch", "loss_type": "reinforce.loss_divisor", "reward_funcs": "reinforce.reward_function",
    "lora_r": "lora_parameters.rank", "r": "lora_parameters.rank", "lora_dropout": "lora_parameters.dropout",
    "lora_target_modules": "lora_parameters.keys", "target_modules": "lora_parameters.keys",
    "gradient_checkpointing": "grad_checkpoint", "save_steps": "save_every", "eval_steps": "steps_per_eval",
    "max_grad_norm": "grad_clip", "bf16": "dtype", "fp16": "dtype",
}  # fmt: skip
_ALPHA: Final = "lora_parameters.scale is alpha divided by the rank"
_EVAL: Final = "`mlx-trace eval` measures what was trained"
_OPTIMIZER: Final = "it is always AdamW"
_TOLD: Final = "every update is told of, and written to metrics.jsonl"
NONE_HERE: Final = {
    "train": "leave it out: `mlx-trace train` trains", "test": _EVAL, "test_batches": _EVAL,
    "optimizer": _OPTIMIZER, "optimizer_config": _OPTIMIZER, "optim": _OPTIMIZER,
    "mask_prompt": "leave it out: no prompt is learnt from", "steps_per_report": _TOLD, "logging_steps": _TOLD,
    "clear_cache_threshold": "memory bounds what a run takes", "max_prompt_length": "no prompt is ever cut",
    "alpha": _ALPHA, "lora_alpha": _ALPHA, "top_p": "temperature is all that sampling knows",
    "upload_repo": "`mlx-trace push` uploads",
}  # fmt: skip
