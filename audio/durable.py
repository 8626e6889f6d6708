"""A file that appears whole or not at all, and is on disk when the call returns.

(1) written beside its target under a hidden name, synced; (2) renamed; (3) the folder synced. A crash before
(2) leaves the old file and at most a `.NAME.part`, which the next call overwrites. One writer at a time.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_durably(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """`write` is given the open file. Raises OSError when the disk does not take it."""
    partial = path.with_name(f".{path.name}.part")
    with partial.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
