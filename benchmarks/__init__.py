"""Measurements: each script prints the table in docs/benchmarks.md and writes JSON beside it."""

import os

# As the commands have it (api/cli/main.py), and before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
