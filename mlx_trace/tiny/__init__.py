from mlx_trace.blas import load_openblas

load_openblas()  # before anything here imports MLX
