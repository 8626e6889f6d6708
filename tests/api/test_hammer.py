"""Everything at once for some seconds; ten minutes of it are `python -m benchmarks.hammer`."""

from benchmarks.hammer import hammer


def test_writers_detectors_and_readers_at_once_see_nothing_wrong() -> None:
    """No unexpected status, every verdict right, each request once, nothing open."""
    tally, watch, faults = hammer(seconds=10, seed=1)
    assert faults == []
    assert {kind for kind, status in tally.statuses if status == 200} == {"mark", "detect", "read", "log"}
    assert watch.memory_mib and watch.computing_mib and tally.issued
