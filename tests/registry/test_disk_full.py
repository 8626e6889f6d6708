"""A disk that is full, for real: a small tmpfs under the index or under the database."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import DatabaseUnavailable, Registry
from registry.index import WindowIndex
from tests.conftest import reachable_folder
from tests.registry.plain import speech


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A tmpfs of 128 MB, where root may mount one."""
    with reachable_folder() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=128m,mode=0711", "tmpfs", str(folder)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)  # segments may still be mapped


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    return ballast


def test_an_index_folder_without_room_holds_up_nobody(
    small_disk: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches go on in memory; when there is room again the next segment brings the others with it."""
    monkeypatch.setattr(WindowIndex.__init__, "__defaults__", (None, 64, None))
    with Registry.open(database_url, index_dir=small_disk / "index") as registry:
        ballast = fill(small_disk)
        for seed in range(2):
            registry.register(speech(960_000, seed), 24_000)
            assert registry.index.check().passed
        assert registry.index.status().saved_position == 0
        ballast.unlink()
        registry.register(speech(960_000, 3), 24_000)
        assert registry.index.check().passed
        assert registry.index.status().saved_position == 3
    with Registry.open(database_url, index_dir=small_disk / "index") as registry:
        assert registry.index.status().saved_position == 3
        assert registry.index.check().passed


@pytest.mark.slow
def test_a_database_without_room_loses_nothing_and_goes_on(small_disk: Path) -> None:
    """Tables and write-ahead log share it: what was acknowledged is there, the rest was refused."""
    acknowledged = []
    with Registry.open(small_disk / "data") as registry:
        acknowledged.append(registry.register(speech(96_000, 0), 24_000))
        ballast = fill(small_disk)
        with pytest.raises(DatabaseUnavailable):
            for seed in range(1, 500):
                generation_id = registry.register(speech(480_000, seed), 24_000)
                acknowledged += [generation_id]
        ballast.unlink()
    with Registry.open(small_disk / "data") as registry:
        for generation_id in acknowledged:
            assert registry.generation(generation_id).state == "complete"
        assert registry.index.check().passed
        registry.register(speech(96_000, 1000), 24_000)
        assert registry.index.check().passed
