"""Kill writers and PostgreSQL at random, and check what was promised: `python -m benchmarks.log_kills`.

Two processes mark files as the service does; each runs the sequencer when it waits. One of them, or the
database's main process, is killed (SIGKILL) at a random moment, again and again. A file counts as released
when `mark_file` has returned and it was written. Afterwards, from the receipts that were written with the
files: every receipt verifies and its file is the one it commits to; every released file has its generation,
complete; indexes are gap-free; tiles, rows and generations agree. Prints one line and writes
benchmarks/results/log_kills.json.
"""

import contextlib
import functools
import random
import secrets
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from api.marking import Origin
from api.service import Service
from api.settings import Settings
from benchmarks import kills
from registry import GenerationState, RegistryError
from registry.log import Receipt
from registry.postgres import stop

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
NUM_WRITERS = 2
LONGEST_PAUSE_S = 2.0
RELEASE_LIMIT_S = 120.0  # all may be down: then the next kill and start come without one
DATABASE_SHARE = 0.3  # of the kills
AT_WORK_SHARE = 0.6  # of the kills come soon after a release, the others also during a start or a recovery


def main() -> None:
    """Kill, check, print, write."""
    kills.command("log_kills", "kill the log's writers and its database", 200, run)


def run(folder: Path, num_kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill so many times, let everything come to rest, and count what was promised and what was broken."""
    data_dir, released = folder / "data", folder / "released"
    released.mkdir(parents=True)
    # Keys and cluster, in a process of its own: this one forks, and must have no threads.
    opened = kills.run_to_the_end(lambda: Service.open(Settings(data_dir=data_dir)).close())
    assert opened, "the service does not start"
    rng = random.Random(seed)
    write_for_ever = functools.partial(_write, data_dir, released)
    writers = [kills.start(write_for_ever) for _ in range(NUM_WRITERS)]
    killed = {"writer": 0, "database": 0}
    for _ in range(num_kills):
        if rng.random() < AT_WORK_SHARE:
            _next_release(released)
        time.sleep(rng.uniform(0.0, LONGEST_PAUSE_S))
        if rng.random() < DATABASE_SHARE and kills.signal_postmaster(data_dir):
            killed["database"] += 1
        else:
            # The next writer starts the database again when it was the last one's.
            place = rng.randrange(NUM_WRITERS)
            kills.kill(writers[place])
            writers[place] = kills.start(write_for_ever)
            killed["writer"] += 1
    for writer in writers:
        kills.kill(writer)
    return {"kills": killed, **check(data_dir, released)}


def check(data_dir: Path, released: Path) -> dict[str, Any]:
    """What was released, and each promise that does not hold."""
    stop(data_dir)  # what the last killed process left running
    problems: list[str] = []
    receipts = sorted(released.glob("*.tlog-proof"))
    with Service.open(Settings(data_dir=data_dir)) as service:
        registry = service.registry
        for path in receipts:
            audio = path.with_suffix(".flac").read_bytes()
            receipt = Receipt.parse(path.read_bytes())
            try:
                entry = receipt.verify(registry.log.signer.trust).entry
                receipt.check_audio(audio, _no_samples)
                generation = registry.generation(UUID(entry["generation_id"]))
                if generation.state is not GenerationState.COMPLETE:
                    problems.append(f"{path.name}: released and {generation.state}")
                now = registry.log.entry_at(receipt.index)
                if now is None or now.leaf != receipt.leaf:
                    problems.append(f"{path.name}: its index holds another entry")
            except RegistryError as exc:
                problems.append(f"{path.name}: {exc}")
        problems += registry.check_log()
        states = [one.state.value for one in registry.generations(1000)]
    counts = {state: states.count(state) for state in sorted(set(states))}
    return {"released": len(receipts), "newest_generations": counts, "problems": problems}


def _no_samples() -> bytes:
    """Byte for byte or not at all: no samples have this hash."""
    return bytes(32)


def _next_release(released: Path) -> None:
    before = len(list(released.glob("*.tlog-proof")))
    deadline_s = time.monotonic() + RELEASE_LIMIT_S
    while len(list(released.glob("*.tlog-proof"))) == before and time.monotonic() < deadline_s:
        time.sleep(0.01)


def _write(data_dir: Path, released: Path) -> None:
    """Mark for ever. What fails was not released and is tried again, as a client would."""
    data = (ASSETS / "eltocino.flac").read_bytes()
    while True:
        with contextlib.suppress(RegistryError), Service.open(Settings(data_dir=data_dir)) as service:
            while True:
                marked = service.mark_file(data, Origin(system="kills"))
                name = released / secrets.token_hex(8)
                name.with_suffix(".flac").write_bytes(marked.data)
                partial = name.with_suffix(".part")
                partial.write_bytes(marked.receipt.encode())
                partial.replace(name.with_suffix(".tlog-proof"))
        time.sleep(0.1)


if __name__ == "__main__":
    main()
