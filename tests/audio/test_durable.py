"""What a crash leaves of a file that is written durably."""

import os
from itertools import count
from pathlib import Path

from audio.durable import write_durably


def test_a_writer_killed_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """Half a checkpoint would end a training that had run for days."""
    path, found = tmp_path / "file", []
    for step in count():
        path.write_bytes(b"old")
        killed = _killed_before(step, path)
        found.append(path.read_bytes())
        if not killed:
            break
    assert found == [b"old", b"old", b"new", b"new"]  # before the sync, the rename, the folder's sync; whole


def _killed_before(step: int, path: Path) -> bool:
    """Write in a child that dies before its `step`-th sync or rename; False when it lives."""
    child = os.fork()
    if child == 0:
        steps = count()
        fsync, replace = os.fsync, Path.replace
        os.fsync = lambda file: os._exit(9) if next(steps) == step else fsync(file)
        Path.replace = lambda path, to: os._exit(9) if next(steps) == step else replace(path, to)
        write_durably(path, lambda file: file.write(b"new"))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
