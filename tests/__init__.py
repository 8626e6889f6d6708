"""Every test."""

import os

# As the commands have it (api/cli/main.py, api/cli/session.py), and before numpy and torch are imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
