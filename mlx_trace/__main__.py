"""`python -m mlx_trace` is `mlx-trace`."""

import sys

from mlx_trace.cli.main import main

sys.exit(main())
