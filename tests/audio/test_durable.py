"""What a crash leaves of a file that is written durably."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from audio.durable import create_durably, replace_durably, write_durably

Writer = Callable[[Path], None]


def _write(path: Path) -> None:
    write_durably(path, lambda file: file.write(b"new"))


def _replace(path: Path) -> None:
    replace_durably(path, b"new")


@pytest.mark.parametrize("write", [_write, _replace])
def test_a_writer_killed_at_any_step_leaves_the_old_file_or_the_new_one(
    write: Writer, tmp_path: Path
) -> None:
    """Half a checkpoint would end a training that had run for days."""
    path, found = tmp_path / "file", []
    for step in count():
        path.write_bytes(b"old")
        killed = _killed_before(step, path, write)
        found.append(path.read_bytes())
        if not killed:
            break
    assert found == [b"old", b"old", b"new", b"new"]  # before the sync, the rename, the folder's sync; whole


def test_of_many_creators_one_wins_and_nothing_is_left_of_the_others(tmp_path: Path) -> None:
    """Two keys made at once would mark under one and verify under the other."""
    path = tmp_path / "key"

    def create(number: int) -> bool:
        try:
            create_durably(path, b"%d" % number)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert path.read_bytes() == b"%d" % won.index(True)
    assert [one.name for one in tmp_path.iterdir()] == ["key"]
    assert path.stat().st_mode & 0o777 == 0o600


def _killed_before(step: int, path: Path, write: Writer) -> bool:
    """Write in a child that dies before its `step`-th sync or rename; False when it lives."""
    child = os.fork()
    if child == 0:
        steps = count()
        fsync, replace = os.fsync, Path.replace
        os.fsync = lambda file: os._exit(9) if next(steps) == step else fsync(file)
        Path.replace = lambda path, to: os._exit(9) if next(steps) == step else replace(path, to)
        write(path)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
