"""Mark a file in processes that kill themselves, one at each step: `python -m tests.api.kill_marking FOLDER`.

The database is in EARMARK_DATABASE_URL. A marked file is written to FOLDER/STEP when `mark_file` has
returned, as a server would send it. Prints how each process ended. Not a test itself; `test_marking.py`
runs it. The processes are forks of one that has imported everything and opened nothing, which saves seconds
for each."""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from api import marking
from api.marking import Origin
from api.service import Service
from api.settings import Settings
from registry import Recording, Registry
from registry.log import TransparencyLog
from tests.api.conftest import recording
from watermark import Embedder

STEPS = {
    "before begin": (Registry, "begin", "before"),
    "after begin": (Registry, "begin", "after"),
    "after mark": (Embedder, "mark", "after"),
    "after fingerprints": (Recording, "push", "after"),
    "after encode": (marking, "encode", "after"),
    "after finish": (Recording, "finish", "after"),
    "after log": (TransparencyLog, "wait", "after"),
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


def mark_until(step: str, folder: Path) -> None:
    service = Service.open(Settings(data_dir=folder))
    target = STEPS[step]
    if target is not None:
        owner, name, when = target
        setattr(owner, name, deadly(getattr(owner, name), when))
    marked = service.mark_file(recording("amelia"), Origin(system=step))
    (folder / step).write_bytes(marked.data)
    die()


def run_each(steps: Iterable[str], until: Callable[[str, Path], None], folder: Path) -> None:
    """A process for each step, one after the other; prints how each ended."""
    for step in steps:
        child = os.fork()
        if child == 0:
            until(step, folder)
        _, status = os.waitpid(child, 0)
        print(step, os.waitstatus_to_exitcode(status), sep=": ")


if __name__ == "__main__":
    run_each(STEPS, mark_until, Path(sys.argv[1]))
