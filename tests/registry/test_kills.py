"""Random kills while registering, indexing and rebuilding; the full count is a program of its own.

`python -m benchmarks.registry_kills` runs a thousand.
"""

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
from benchmarks.registry_kills import run
print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), seed=1)))
"""


@pytest.mark.slow
def test_what_was_acknowledged_before_a_kill_is_found_once_after_it() -> None:
    """A generation that is lost can never be attributed; one that is indexed twice counts twice.

    In a process of its own, since it forks.
    """
    with reachable_folder() as folder:
        command = [sys.executable, "-c", RUN, str(folder), str(NUM_KILLS)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result["problems"] == []
    assert result["acknowledged"] > 0
    assert sum(result["kills"].values()) == NUM_KILLS
