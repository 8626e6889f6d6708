"""Files that appear whole or not at all, and are on disk when the call returns.

    write_durably(path, write)          in place of what was there; for one writer at a time
    replace_durably(path, data)         the same for bytes and any number of writers
    create_durably(path, data)          only where nothing is, so that of several creators one wins

(1) written beside its target under a hidden name, synced; (2) renamed, or linked; (3) the folder synced. A
crash before (2) leaves what was there and a hidden file: `.NAME.part`, which the next `write_durably`
overwrites, or one with a random ending.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO

PRIVATE = 0o600


def write_durably(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """`write` is given the open file. Raises OSError when the disk does not take it."""
    partial = path.with_name(f".{path.name}.part")
    with partial.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def replace_durably(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Put a file in place of another. Raises OSError."""
    temporary = _beside(path)
    try:
        write_synced(temporary, data, mode)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def create_durably(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Raises FileExistsError when there is a file, which stays as it is; OSError."""
    temporary = _beside(path)
    try:
        write_synced(temporary, data, mode)
        os.link(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_synced(path: Path, data: bytes, mode: int) -> None:
    """A new file with its bytes on disk, and its name not yet. Raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")
