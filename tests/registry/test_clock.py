"""A clock that jumps, for the registry and for its PostgreSQL: nothing is lost, and the order stays.

Order is the ordinal that the database gives, never a time. Needs Debian's `faketime`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")

JUMP = """
import sys, time
from datetime import datetime, timedelta
from pathlib import Path
from registry import Registry
from registry.log import outbox
from registry.postgres import cluster
from tests.registry.plain import speech

clock, real_ns, days = Path(sys.argv[2]), time.time_ns, 0

class Jumping(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(days=days)

def jump(to):
    global days
    days = to
    clock.write_text(f"{to:+d}d")

time.time_ns = lambda: real_ns() + days * 86_400 * 10**9
outbox.datetime = Jumping
jump(0)
plain, library = cluster._environment, {
    "LD_PRELOAD": sys.argv[3],
    "FAKETIME_TIMESTAMP_FILE": str(clock),
    "FAKETIME_NO_CACHE": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
}
cluster._environment = lambda: plain() | library
made, years = [], set()
with Registry.open(sys.argv[1]) as registry:
    for number, to in enumerate((0, -400, 800, -30, 0)):
        jump(to)
        made.append(registry.register(speech(96_000, seed=number), 24_000))
        years.add(registry.generation(made[-1]).created_at.year)
    assert len(years) >= 3, f"the clock of PostgreSQL did not jump: {years}"
    for to in (800, -400):
        jump(to)
        registry.purge(changelog_after=timedelta(days=1))
with Registry.open(sys.argv[1]) as registry:
    assert [one.generation_id for one in registry.generations(10)] == made[::-1]
    for number, generation_id in enumerate(made):
        found = registry.match(speech(96_000, seed=number), 24_000)
        assert [match.generation_id for match in found.matches] == [generation_id], found
    assert registry.index.check().passed
    assert registry.check_log() == []
print("kept", len(made))
"""


@pytest.mark.skipif(not LIBRARY.exists(), reason="needs apt-get install faketime")
def test_a_clock_that_jumps_by_years_loses_nothing_and_keeps_the_order(data_dir: Path) -> None:
    """Forward and back, between calls and between a write and a purge, for both processes at once. Python's
    own clock is moved by hand: under the library its sleep fails."""
    clock = data_dir.parent / "clock"
    clock.touch(mode=0o644)
    ran = subprocess.run(
        [sys.executable, "-c", JUMP, str(data_dir), str(clock), str(LIBRARY)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )
    assert ran.stdout.strip().endswith("kept 5"), ran.stderr[-2_000:]
