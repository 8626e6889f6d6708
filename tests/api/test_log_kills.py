"""Random kills of what marks and of PostgreSQL; the full count is `python -m benchmarks.log_kills`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import reachable_folder

ROOT = Path(__file__).parents[2]
NUM_KILLS = 6
RUN = """
import json, sys
from pathlib import Path
from benchmarks.log_kills import run
print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]))))
"""


@pytest.mark.slow
def test_what_was_released_before_a_kill_is_in_the_log_for_good() -> None:
    """A receipt that no longer verifies, or a file without its generation, makes every receipt worthless.

    In a process of its own, since it forks.
    """
    with reachable_folder() as folder:
        command = [sys.executable, "-c", RUN, str(folder), str(NUM_KILLS)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result["problems"] == []
    assert sum(result["kills"].values()) == NUM_KILLS
