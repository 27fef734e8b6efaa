"""mlx-trace: a small language model writes the program, a solver runs it, and the answer is checked."""
