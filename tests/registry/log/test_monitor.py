"""A monitor beside a log that goes on: what it takes for damage must be damage."""

from pathlib import Path

import pytest

from registry.database import Database
from registry.errors import LogDamaged
from registry.log import TransparencyLog
from registry.log.monitor import Monitor
from tests.registry.log.conftest import fill


@pytest.mark.parametrize("num_later", [1, 40, 212, 300])
def test_a_monitor_that_is_slower_than_the_batches_sees_the_tree_that_it_began_with(
    database: Database, log: TransparencyLog, tmp_path: Path, num_later: int
) -> None:
    """Its partial tiles were removed two batches later, which looked like a log that was damaged. The tile
    stays partial, or is full by then, or is full and gone on."""
    fill(database, 44)
    log.run_batch()
    kept = tmp_path / "kept"

    def slow(path: str) -> bytes:
        if path != "checkpoint":
            for _ in range(2):
                fill(database, num_later)
                log.run_batch()
            return log.folder.read(path)
        return (log.folder.root / path).read_bytes()

    assert Monitor(slow, log.signer.trust, kept).look().size == 44
    assert Monitor(log.folder.read, log.signer.trust, kept).look().old_size == 44
    for path in ("tile/0/000.p/300", "tile/0/009.p/3", "tile/0/009"):
        with pytest.raises(LogDamaged):
            log.folder.read(path)
