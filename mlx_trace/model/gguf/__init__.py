"""GGUF in and out: a file becomes a model directory that mlx-lm loads, and a model directory becomes a file."""
