"""Segments on disk: what comes back, what is refused, what a crash or another process leaves."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.changelog import Change
from registry.errors import IndexUnavailable
from registry.index import WindowIndex, store
from registry.index.store import SegmentStore
from tests.registry.index.test_window_index import BIG, SMALL_HOT, WEIGHTS, change, places, share_found

IN_MEMORY = sorted(
    (one.generation_ordinal, one.first_window + int(row))
    for one in BIG
    for row in np.flatnonzero(one.informative_N)
)


def opened(folder: Path, weights_sha256: str | None = WEIGHTS) -> WindowIndex:
    index = WindowIndex(weights_sha256, hot_windows=SMALL_HOT, store=SegmentStore(folder))
    index.load()
    return index


def filled(folder: Path, changes: list[Change]) -> WindowIndex:
    index = opened(folder)
    for one in changes:
        index.apply([one])
    return index


def test_what_was_sealed_comes_back_and_goes_on(tmp_path: Path) -> None:
    """Load, replay the rest: the same as never having stopped."""
    index = filled(tmp_path, BIG[:42])
    again = opened(tmp_path)
    assert (again.position, again.saved_position) == (40, 40), "the last two were hot and are replayed"
    again.apply(BIG[40:])
    index.apply(BIG[42:])
    assert places(again) == places(index)
    assert share_found(again, BIG) >= 0.99


def test_a_folder_without_a_manifest_is_an_empty_index(tmp_path: Path) -> None:
    """The first start of all."""
    assert opened(tmp_path / "new").position == 0


def test_files_of_merged_segments_and_of_crashes_are_removed(tmp_path: Path) -> None:
    """Once the manifest names the new ones, and not before."""
    (tmp_path / ".abc.segment.part").write_bytes(b"half")
    (tmp_path / "windows-7.npy").write_bytes(b"of the format before")
    filled(tmp_path, BIG[:64])
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".json", ".segment"]


@pytest.mark.parametrize("step", range(1, 12))
def test_a_process_killed_while_it_saves_leaves_a_whole_index(tmp_path: Path, step: int) -> None:
    """Before each write, sync and rename of the save that merges eight segments into one."""
    filled(tmp_path, BIG[:63])
    pid = os.fork()
    if pid == 0:
        _die_before(step)
        try:
            index = opened(tmp_path)
            index.apply(BIG[:64])
        finally:
            os._exit(1 if index.saved_position == 64 else 2)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 1
    survivor = opened(tmp_path)
    assert survivor.position in (56, 64)
    survivor.apply(BIG)
    assert places(survivor) == IN_MEMORY


def _die_before(step: int) -> None:
    """Kill this process before its step-th call of what changes the folder."""
    calls = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    os.fsync = counted(os.fsync)
    Path.replace = counted(Path.replace)  # type: ignore[method-assign]
    Path.unlink = counted(Path.unlink)  # type: ignore[method-assign]


def test_every_damage_is_refused_before_it_is_interpreted(tmp_path: Path) -> None:
    """Truncated, changed or missing files, and a manifest that is not one."""
    filled(tmp_path, BIG[:8])
    whole = {path: path.read_bytes() for path in tmp_path.iterdir() if path.name != "lock"}
    damages: list[tuple[Path, bytes | None]] = []
    for path, content in whole.items():
        damages += [(path, content[: len(content) // 2]), (path, b"")]
        damages += [(path, content.replace(b"40", b"41", 1))] if path.suffix == ".json" else []
        if path.suffix == ".segment":
            damages += [(path, None), (path, content[:-1] + bytes([content[-1] ^ 1]))]
        else:
            damages += [(path, content.replace(b'"position": 8', b'"position": 9'))]
            damages += [(path, b"[]"), (path, b'{"format": 2}'), (path, b'{"format": 1}')]
    for path, damaged in damages:
        for one, content in whole.items():
            one.write_bytes(content)
        path.unlink() if damaged is None else path.write_bytes(damaged)
        if damaged == whole[path]:
            continue
        with pytest.raises(IndexUnavailable):
            opened(tmp_path)


def test_segments_of_other_weights_are_refused(tmp_path: Path) -> None:
    """After a new release the old codes are not comparable."""
    filled(tmp_path, BIG[:8])
    with pytest.raises(IndexUnavailable, match="other fingerprint weights"):
        opened(tmp_path, "cd" * 32)


def test_a_file_damaged_behind_our_back_is_found_by_the_check(tmp_path: Path) -> None:
    """The process has its own copy; the next start would not."""
    index = filled(tmp_path, BIG[:16])
    assert index.check_files() == 2
    path = next(tmp_path.glob("*.segment"))
    content = path.read_bytes()
    path.unlink()  # not in place: the file is mapped
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IndexUnavailable, match="not the file"):
        index.check_files()


def test_processes_that_share_a_folder_end_with_the_same_segments(tmp_path: Path) -> None:
    """Each seals at its own moment; else they would remove each other's files again and again."""
    one, two = opened(tmp_path), opened(tmp_path)
    for n, change_n in enumerate(BIG):
        one.apply([change_n])
        if n % 3 == 2:
            two.apply(BIG[n - 2 : n + 1])
    two.apply(BIG)
    assert places(one) == places(two) == IN_MEMORY
    manifest = SegmentStore(tmp_path).manifest()
    assert manifest is not None
    for index in (one, two):
        names = {segment.sha256 for segment in index.segments}
        assert len(names & set(manifest.segments)) >= len(names) - 1


def test_a_rebuild_of_another_process_takes_no_file_from_us(tmp_path: Path) -> None:
    """Its snapshot may be older than what we have sealed, and its list does not name our files.

    Found by benchmarks.registry_kills: our next list named files that were gone.
    """
    index = filled(tmp_path, BIG[:40])
    rebuilt = WindowIndex(WEIGHTS, hot_windows=SMALL_HOT, store=SegmentStore(tmp_path))
    rebuilt.fill(30, np.concatenate([one.codes_ND for one in BIG[:30]]), [BIG[:30]])
    assert opened(tmp_path).position == 30
    for one in BIG[40:]:
        index.apply([one])
    again = opened(tmp_path)
    again.apply(BIG)
    rebuilt.apply(BIG)
    assert places(again) == places(index) == places(rebuilt) == IN_MEMORY


def rebuilt(folder: Path, changes: list[Change]) -> WindowIndex:
    index = WindowIndex(WEIGHTS, hot_windows=SMALL_HOT, store=SegmentStore(folder))
    index.fill(changes[-1].position, np.concatenate([one.codes_ND for one in changes]), [changes])
    return index


def test_a_rebuild_mends_a_damaged_segment_that_it_makes_again(tmp_path: Path) -> None:
    """The same windows give the same file, under the same name: that it is there is not enough."""
    names = [segment.sha256 for segment in rebuilt(tmp_path, BIG[:8]).segments]
    path = tmp_path / f"{names[0]}.segment"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert [segment.sha256 for segment in rebuilt(tmp_path, BIG[:8]).segments] == names
    assert opened(tmp_path).position == 8


def test_a_rebuild_too_small_to_be_saved_takes_back_what_was(tmp_path: Path) -> None:
    """An older copy of the database gives the same positions to other windows: what was sealed of the lost
    ones is taken over neither by the next seal nor by the next start."""
    filled(tmp_path, BIG[:16])
    index = rebuilt(tmp_path, BIG[:3])
    assert opened(tmp_path).position == 0
    other = [replace(one, position=4 + n) for n, one in enumerate(BIG[20:40])]
    for one in other:
        index.apply([one])
    assert places(index) == places(rebuilt(tmp_path / "beside", BIG[:3] + other))


def test_windows_of_other_weights_are_counted_over_a_restart(tmp_path: Path) -> None:
    """In segments and in what is hot."""
    foreign = [change(n, n, weights="cd" * 32) for n in (100, 101)]
    sealed = change(1, 99, weights="cd" * 32)
    index = opened(tmp_path)
    index.apply([sealed])
    index.apply(BIG[1:9])
    assert index.saved_position == 9
    again = opened(tmp_path)
    assert again.num_foreign == 3
    again.apply(foreign)
    assert again.num_foreign == 9


def test_a_disk_that_is_full_costs_nothing_but_a_longer_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Searches go on, and when there is room again everything that was sealed meanwhile is saved."""
    index = filled(tmp_path / "index", BIG[:8])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(store, "write_durably", full)
        for one in BIG[8:30]:
            index.apply([one])
    assert "No space left" in caplog.text
    assert index.saved_position == 8
    assert places(index) == places(filled(tmp_path / "other", BIG[:30]))
    index.apply(BIG[30:40])
    assert index.saved_position > 30
    again = opened(tmp_path / "index")
    again.apply(BIG[:40])
    assert places(again) == places(index)


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    """Here its name is taken by a file."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(IndexUnavailable, match="cannot be written"):
        opened(tmp_path / "taken")


def test_the_manifest_is_pinned(tmp_path: Path) -> None:
    """What is on disk today must be read, or refused, by every later version."""
    filled(tmp_path, BIG[:8])
    stored = json.loads((tmp_path / "manifest.json").read_text())
    assert set(stored) == {"format", "index", "sha256"}
    assert stored["format"] == 2
    assert set(stored["index"]) == {"position", "num_foreign", "weights_sha256", "segments"}
    (name,) = stored["index"]["segments"]
    content = (tmp_path / f"{name}.segment").read_bytes()
    assert content.count(b"\x93NUMPY\x01\x00") == 5
    assert len(content) < 800 * 36 + 8 * 16 + 8192 + 5 * 128 + 1
    assert np.frombuffer(content[-800 * 32 :], np.uint8).any()
