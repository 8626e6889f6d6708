"""Kill writers and PostgreSQL at random, and check what was promised: `python -m benchmarks.log_kills`.

Two processes mark files as the service does; each runs the sequencer when it waits. One of them, or the
database's main process, is killed (SIGKILL) at a random moment, again and again. A file counts as released
when `mark_file` has returned and it was written; its receipt is written a moment later, and some kills come
in between. Afterwards: every receipt verifies and its file is the one it commits to; a file without a receipt
is the one that the log's own receipt commits to; every released file has its generation, complete; indexes
are gap-free; tiles, rows and generations agree. Prints one line and writes benchmarks/results/log_kills.json.
Over HTTP: `benchmarks.api_kills`.
"""

import contextlib
import functools
import os
import random
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from api.marking import Origin
from api.service import Service
from api.settings import Settings
from benchmarks import kills
from benchmarks.log_readers import Issued
from registry import GenerationState, Registry, RegistryError
from registry.postgres import stop

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
NUM_WRITERS = 2
LONGEST_PAUSE_S = 2.0
RELEASE_LIMIT_S = 120.0  # all may be down: then the next kill and start come without one
DATABASE_SHARE = 0.3  # of the kills
LONGEST_HOLD_S = 0.3  # between a file and its receipt, so that kills come there too
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
    files = sorted(released.glob("*.flac"))
    with Service.open(Settings(data_dir=data_dir)) as service:
        registry = service.registry
        for path in files:
            problems += [f"{path.name}: {problem}" for problem in _wrong(registry, path)]
        problems += registry.check_log()
        states = [one.state.value for one in registry.generations(1000)]
    counts = {state: states.count(state) for state in sorted(set(states))}
    receipts = {path.stem for path in released.glob("*.tlog-proof")}
    names = {path.stem for path in files}
    problems += [f"{name}: a receipt without its file" for name in sorted(receipts - names)]
    return {
        "released": len(files),
        "without_receipt": len(names - receipts),
        "newest_generations": counts,
        "problems": problems,
    }


def _wrong(registry: Registry, path: Path) -> list[str]:
    """Of a released file, which is named for its generation."""
    generation_id, kept = UUID(path.stem), path.with_suffix(".tlog-proof")
    try:
        state = registry.generation(generation_id).state
        if state is not GenerationState.COMPLETE:
            return [f"released and {state}"]
        now = registry.log.receipt(generation_id)
        proof = kept.read_bytes() if kept.exists() else now.encode()
        receipt = Issued(path.read_bytes(), proof, str(generation_id)).verify(registry.log.signer.trust)
        row = registry.log.entry_at(receipt.index)
        if row is None or row.leaf != receipt.leaf or now.index != receipt.index:
            return ["its index holds another entry"]
    except RegistryError as exc:
        return [str(exc)]
    return []


def _next_release(released: Path) -> None:
    before = len(list(released.glob("*.flac")))
    deadline_s = time.monotonic() + RELEASE_LIMIT_S
    while len(list(released.glob("*.flac"))) == before and time.monotonic() < deadline_s:
        time.sleep(0.01)


def _write(data_dir: Path, released: Path) -> None:
    """Mark for ever. What fails was not released and is tried again, as a client would."""
    data, rng = (ASSETS / "eltocino.flac").read_bytes(), random.Random(os.getpid())
    while True:
        with contextlib.suppress(RegistryError), Service.open(Settings(data_dir=data_dir)) as service:
            while True:
                marked = service.mark_file(data, Origin(system="kills"))
                name = released / str(marked.generation.generation_id)
                _write_whole(name.with_suffix(".flac"), marked.data)
                time.sleep(rng.uniform(0.0, LONGEST_HOLD_S))
                _write_whole(name.with_suffix(".tlog-proof"), marked.receipt.encode())
        time.sleep(0.1)


def _write_whole(path: Path, data: bytes) -> None:
    """A kill leaves the whole file or none of that name."""
    partial = path.with_suffix(".part")
    partial.write_bytes(data)
    partial.replace(path)


if __name__ == "__main__":
    main()
