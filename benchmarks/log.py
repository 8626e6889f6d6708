"""How fast the log takes entries and gives proofs: `python -m benchmarks.log [--leaves N] [--seconds S]`.

The log is first filled to N leaves, and all of it is measured on that. Entries: threads that each begin a
generation and wait for its receipt, in a loop, for S seconds, on the embedded PostgreSQL: what is counted is
a durable row, its entry in a signed public tree, and a receipt built for it; the rate in the slowest tenth of
the time says whether it was sustained. Proofs: `GET /v1/log/proof/{id}` over HTTP of random generations from
everywhere in the filled log; at rest, and with a new signed tree before each request, so that nothing is left
of the last one. Prints a table and writes benchmarks/results/log.json.
"""

import argparse
import collections
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import httpx
import uvicorn
from sqlalchemy import create_engine, text

from api.app import create_app
from api.settings import Settings
from benchmarks.report import table, write
from registry import NewGeneration, Registry, RegistryError
from registry.database import Database
from registry.log import Checkpoint

TARGET_ENTRIES_PER_S = 300
TARGET_PROOF_P95_S = 0.030
NUM_THREADS = 64
NUM_PROOFS = 500
NEW = NewGeneration("benchmark", "1", "none", 24_000)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="time the transparency log")
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the database's own account passes through
        with Registry.open(folder / "data") as registry:
            filled_s = fill(registry, args.leaves)
            num_filled, names = Checkpoint.of(registry.log.checkpoint()).size, some_generations(registry)
            rates = entries_per_second(registry, args.seconds)
            num_leaves = Checkpoint.of(registry.log.checkpoint()).size
            proofs = time_proofs(Settings(data_dir=folder / "data"), registry, names)
    rows: list[tuple[object, ...]] = [
        (f"fill to {num_filled} leaves, entries per s", f"{args.leaves / filled_s:.0f}", ""),
        (
            f"entries with receipt, per s, for {args.seconds:.0f} s",
            f"{rates['per_s']:.0f}",
            f">= {TARGET_ENTRIES_PER_S}",
        ),
        ("the same, slowest tenth of the time", f"{rates['slowest_per_s']:.0f}", ""),
        ("wait for a receipt, median ms", f"{1e3 * rates['median_s']:.0f}", ""),
        ("wait for a receipt, p95 ms", f"{1e3 * rates['p95_s']:.0f}", ""),
        ("leaves when proofs are measured", num_leaves, ""),
    ]
    for title, times in proofs.items():
        rows.append((f"proof, {title}, median ms", f"{1e3 * times['median_s']:.1f}", ""))
        rows.append((f"proof, {title}, p95 ms", f"{1e3 * times['p95_s']:.1f}", "<= 30"))
    print(table(["log", "measured", "goal"], rows))
    sizes = {"num_filled": num_filled, "num_leaves": num_leaves, "filled_s": filled_s}
    write("log", {"entries": rates, **sizes, "proofs": proofs})


def entries_per_second(registry: Registry, seconds: float) -> dict[str, float]:
    """The rate of acknowledged entries after a warm-up of 2 s, over all `seconds` and over the slowest tenth
    of them, and how long each waited."""
    waits_s: list[float] = []
    ended_s: list[float] = []  # of each wait
    failed: list[RegistryError] = []
    starts_s = time.monotonic() + 2.0
    ends_s = starts_s + seconds

    def work() -> None:
        while (started_s := time.monotonic()) < ends_s:
            try:
                registry.log.wait(registry.begin(NEW).generation_id)
            except RegistryError as exc:
                failed.append(exc)
            if starts_s <= (now_s := time.monotonic()) < ends_s:
                waits_s.append(now_s - started_s)
                ended_s.append(now_s - starts_s)

    threads = [threading.Thread(target=work) for _ in range(NUM_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    tenths = collections.Counter(min(int(10 * one / seconds), 9) for one in ended_s)
    return {
        "per_s": len(waits_s) / seconds,
        "slowest_per_s": min(tenths[tenth] for tenth in range(10)) / (seconds / 10),
        "num_entries": len(waits_s),
        **summary(waits_s),
    }


def fill(registry: Registry, num_leaves: int) -> float:
    """Seconds for so many more leaves of the size of a generation's, a thousandth of them generations."""
    started_s = time.monotonic()
    database: Database = registry._database
    leaf = '{"at":"2026-11-25T00:00:00.000000Z","filler":"' + "x" * 300 + '","kind":"policy-change","n":'
    for start in range(0, num_leaves, 10_000):
        with database.transaction() as connection:
            connection.execute(
                text(
                    "INSERT INTO log_entry (kind, leaf) "
                    "SELECT 'policy-change', convert_to(:leaf || n || '}', 'utf8') "
                    "FROM generate_series(1, :count) n"
                ),
                {"leaf": leaf, "count": min(10_000, num_leaves - start)},
            )
        for _ in range(10):
            registry.begin(NEW)
        before = -1
        while (size := registry.log.run_batch() or 0) > before:
            before = size
    return time.monotonic() - started_s


def some_generations(registry: Registry) -> list[UUID]:
    with create_engine(registry._database.url).connect() as connection:
        chosen = text("SELECT generation_id FROM generation ORDER BY random() LIMIT :count")
        return list(connection.execute(chosen, {"count": NUM_PROOFS}).scalars())


def time_proofs(settings: Settings, registry: Registry, names: list[UUID]) -> dict[str, dict[str, float]]:
    unlimited = {"requests_per_minute_address": 1_000_000, "requests_per_minute_everyone": 1_000_000}
    app = create_app(settings.model_copy(update=unlimited))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            def get() -> None:
                client.get(f"/v1/log/proof/{random.choice(names)}").raise_for_status()

            def grow() -> None:
                registry.begin(NEW)
                registry.log.run_batch()

            get()
            return {
                "log at rest": summary([timed(get) for _ in range(NUM_PROOFS)]),
                "new tree each time": summary([timed(get, grow) for _ in range(NUM_PROOFS // 5)]),
            }
    finally:
        server.should_exit = True
        thread.join()


def timed(call: Callable[[], None], before: Callable[[], None] = lambda: None) -> float:
    before()
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s


def summary(times_s: list[float]) -> dict[str, float]:
    return {"median_s": statistics.median(times_s), "p95_s": statistics.quantiles(times_s, n=20)[-1]}


if __name__ == "__main__":
    main()
