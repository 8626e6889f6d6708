"""Mark one file in a process that kills itself at a named step: `python -m tests.api.kill_marking STEP FOLDER`.

The database is in EARMARK_DATABASE_URL. The marked file is written to FOLDER/STEP when `mark_file` has returned,
as a server would send it. Not a test itself; `test_marking.py` runs it once for every step.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api import marking
from api.marking import Origin
from api.service import Service
from api.settings import Settings
from registry import Recording, Registry
from tests.api.conftest import recording
from watermark import Embedder

STEPS = {
    "before begin": (Registry, "begin", "before"),
    "after begin": (Registry, "begin", "after"),
    "after mark": (Embedder, "mark", "after"),
    "after fingerprints": (Recording, "push", "after"),
    "after encode": (marking, "encode", "after"),
    "after finish": (Recording, "finish", "after"),
    "after release": None,
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(call: Callable[..., Any], when: str) -> Callable[..., Any]:
    """The same call, with the process killed before or after it."""

    def wrapped(*args: Any, **kwargs: Any) -> None:
        if when == "after":
            call(*args, **kwargs)
        die()

    return wrapped


def main(step: str, folder: Path) -> None:
    service = Service.open(Settings(data_dir=folder))
    target = STEPS[step]
    if target is not None:
        owner, name, when = target
        setattr(owner, name, deadly(getattr(owner, name), when))
    marked = service.mark_file(recording("amelia"), Origin(system=step))
    (folder / step).write_bytes(marked.data)
    die()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
