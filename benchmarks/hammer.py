"""Writers, detectors and readers at once, for minutes: `python -m benchmarks.hammer [--seconds N]`.

Writers mark, under an Idempotency-Key that they use twice; detectors ask, with a key and without, about
marked and foreign audio; readers page, look up and export; log readers check receipts, proofs, tiles and
successive checkpoints (benchmarks/log_readers.py); all of them pick what to do at random. It passes when
every answer is one that was to be expected (no 5xx other than 503), every verdict is right, every
acknowledged mark is complete, there once and in the log at its index, the index agrees with the database and
the whole log with its tiles and rows, and neither memory nor descriptors grow, of the server and of its
computing children. The suite runs it for some seconds (tests/api/test_hammer.py). Prints a table."""

import argparse
import base64
import collections
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from api.demo.server import running_server
from benchmarks import report
from benchmarks.hostile import UNLIMITED
from benchmarks.log_readers import Issued, LogReader, verify_all
from benchmarks.process import Watch, data_dir, growth, server_pid
from registry import LogDamaged, LogUnavailable, RegistryError
from registry.log import TrustRoot

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
MARKED, FOREIGN = ("eltocino", "kathleen_1"), ("krisgesling", "adocampo")
MAX_GROWTH_MIB = 48.0
"""Allocators round up and the index holds what was marked meanwhile; a leak of 1 KiB a request exceeds
this."""
LEAST_SECONDS_FOR_MEMORY = 120.0  # ten seconds grew by 55 MiB once in a suite that passed otherwise
MAX_GROWTH_DESCRIPTORS = 8
NUM_LOG_READERS = 2
KEPT_ALIVE = httpx.Limits(keepalive_expiry=2.0)
"""httpx and the server both keep an idle connection for 5 s: one that the server closes while a request is on
its way is reset, and nobody is at fault."""
EXPECTED = {"mark": {200, 409, 503}, "detect": {200, 503}, "read": {200}, "log": {200, 503}}


@dataclass
class Tally:
    """What all clients saw. Lists and counters alone, which threads may add to."""

    statuses: collections.Counter[tuple[str, int]] = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)
    ids_by_name: dict[str, set[str]] = field(default_factory=dict)
    issued: list[Issued] = field(default_factory=list)

    def note(self, kind: str, response: httpx.Response) -> bool:
        """Count an answer; True when it is a result."""
        self.statuses[kind, response.status_code] += 1
        if response.status_code not in EXPECTED[kind]:
            self.faults.append(f"{kind}: {response.status_code} {response.text[:200]}")
        return response.status_code == 200


@dataclass(frozen=True)
class Client:
    """One client: its connection, with a key and without, what it sends, and its luck."""

    keyed: httpx.Client
    anonymous: httpx.Client
    files: dict[str, bytes]
    marked: list[bytes]
    tally: Tally
    rng: random.Random

    def mark(self) -> None:
        """A new mark, and the same request again: the same generation."""
        name, data = str(uuid.uuid4()), self.files[self.rng.choice(MARKED)]
        for _ in range(2):
            headers = {"Content-Type": "audio/flac", "Idempotency-Key": name}
            response = self.keyed.post("/v1/marks", content=data, headers=headers)
            if self.tally.note("mark", response):
                ids = self.tally.ids_by_name.setdefault(name, set())
                ids.add(response.headers["Earmark-Generation-Id"])
                self.tally.issued.append(issued(response))
                self.marked[self.rng.randrange(len(self.marked))] = response.content

    def detect(self) -> None:
        """Marked audio must be found, foreign audio must not."""
        is_marked = self.rng.random() < 0.5
        data = self.rng.choice(self.marked) if is_marked else self.files[self.rng.choice(FOREIGN)]
        client = self.rng.choice((self.keyed, self.anonymous))
        response = client.post("/v1/detections", content=data, headers={"Content-Type": "audio/flac"})
        if self.tally.note("detect", response):
            verdict = response.json()["verdict"]
            if verdict != ("issued_here" if is_marked else "not_detected"):
                self.tally.faults.append(f"verdict {verdict}, marked: {is_marked}")

    def read(self) -> None:
        """What auditors and monitors ask."""
        page = self.keyed.get("/v1/generations", params={"limit": self.rng.randint(1, 200)})
        if self.tally.note("read", page):
            one = self.rng.choice(page.json()["generations"])
            self.tally.note("read", self.anonymous.get(f"/v1/generations/{one['generation_id']}"))
        for path in ("/v1/generations/export", "/metrics", "/readyz"):
            self.tally.note("read", self.keyed.get(path))
        time.sleep(0.2)

    def fetch(self, path: str) -> bytes:
        """A file of the log, as `earmark log monitor` fetches it."""
        response = self.anonymous.get(f"/v1/log/{path}")
        if self.tally.note("log", response):
            return response.content
        failed = LogUnavailable if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else LogDamaged
        raise failed(f"/v1/log/{path} answered {response.status_code}")


def issued(response: httpx.Response) -> Issued:
    """A mark's answer."""
    receipt = base64.b64decode(response.headers["Earmark-Receipt"])
    return Issued(response.content, receipt, response.headers["Earmark-Generation-Id"])


def hammer(seconds: float, seed: int = 0) -> tuple[Tally, Watch, list[str]]:
    """Run it; returns what was seen, what the server held, and every fault as a sentence."""
    files = {name: (ASSETS / f"{name}.flac").read_bytes() for name in (*MARKED, *FOREIGN)}
    tally = Tally()
    with (
        running_server(UNLIMITED) as given,
        httpx.Client(base_url=given.base_url, timeout=120, limits=KEPT_ALIVE, headers=given.headers) as keyed,
        httpx.Client(base_url=given.base_url, timeout=120, limits=KEPT_ALIVE) as anonymous,
        tempfile.TemporaryDirectory(prefix="earmark-hammer-") as folder,
    ):
        first = keyed.post("/v1/marks", content=files["eltocino"], headers={"Content-Type": "audio/flac"})
        marked = [first.raise_for_status().content] * 8
        tally.issued.append(issued(first))
        clients = [
            Client(keyed, anonymous, files, marked, tally, random.Random(f"{seed}/{number}"))
            for number in range(8 + NUM_LOG_READERS)
        ]
        jobs: list[Callable[[], None]] = [one.mark for one in clients[:2]] + [
            one.detect for one in clients[2:6]
        ]
        jobs += [one.read for one in clients[6:8]]
        trust = TrustRoot.parse(clients[-1].fetch("key").decode())
        jobs += [
            LogReader(one.fetch, trust, Path(folder) / f"kept-{number}", tally.issued, one.rng).look
            for number, one in enumerate(clients[8:])
        ]
        pid = server_pid(keyed.base_url.port or 80)
        with Watch(pid, interval_s=0.25) as watch:
            _run_for(seconds, jobs, tally)
        faults = tally.faults + _after(keyed, tally) + _growth(watch, seconds)
        faults += _whole_log(clients[-1], trust, Path(folder) / "whole", data_dir(pid))
    return tally, watch, faults


def _run_for(seconds: float, jobs: list[Callable[[], None]], tally: Tally) -> None:
    end_s = time.monotonic() + seconds

    def run(job: Callable[[], None]) -> None:
        while time.monotonic() < end_s:
            try:
                job()
            except httpx.HTTPError as exc:
                tally.faults.append(f"no answer: {exc!r}")
            except LogUnavailable:
                time.sleep(1.0)  # it answered 503, which was counted
            except RegistryError as exc:
                tally.faults.append(f"log: {exc}")

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _after(client: httpx.Client, tally: Tally) -> list[str]:
    """The invariants, asked for over REST: once, complete, nothing open."""
    faults = [
        f"{name} made {len(ids)} generations" for name, ids in tally.ids_by_name.items() if len(ids) != 1
    ]
    lines = client.get("/v1/generations/export", params={"state": "complete"}).text
    faults += [
        f"generation {one} was acknowledged and is not complete"
        for ids in tally.ids_by_name.values()
        for one in ids
        if one not in lines
    ]
    if client.get("/v1/generations/export", params={"state": "open"}).text:
        faults.append("a generation was left open")
    ready = client.get("/readyz").json()
    return faults if ready["status"] == "ready" else [*faults, f"not ready: {ready}"]


def _whole_log(client: Client, trust: TrustRoot, kept: Path, data: Path) -> list[str]:
    """What is wrong in it, seen over REST, and then beside the server by `earmark log monitor`."""
    try:
        verify_all(client.fetch, trust, kept, client.tally.issued)
    except (RegistryError, httpx.HTTPError) as exc:
        return [f"the whole log: {exc}"]
    command = [sys.executable, "-m", "api.cli.main", "--data-dir", str(data), "log", "monitor"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return [f"earmark log monitor: {ended.stdout} {ended.stderr}"] if ended.returncode else []


def _growth(watch: Watch, seconds: float) -> list[str]:
    """Memory is judged from two minutes on: before, the first request of each kind is what grows it."""
    faults: list[str] = []
    for whose, memory_mib, num_descriptors in (
        ("", watch.memory_mib, watch.num_descriptors),
        (" of the computing children", watch.computing_mib, watch.computing_descriptors),
    ):
        memory, descriptors = growth(memory_mib), growth(num_descriptors)
        if seconds >= LEAST_SECONDS_FOR_MEMORY and memory > MAX_GROWTH_MIB:
            faults.append(f"memory{whose} grew by {memory:.0f} MiB")
        if descriptors > MAX_GROWTH_DESCRIPTORS:
            faults.append(f"descriptors{whose} grew by {descriptors:.0f}")
    if len(set(watch.num_computing)) > 1:
        faults.append("a computing child died")
    return faults


def main() -> None:
    """Hammer, print, write; exit 1 when there was a fault."""
    parser = argparse.ArgumentParser(description="writers, detectors and readers at once")
    parser.add_argument("--seconds", type=float, default=600)
    seconds = parser.parse_args().seconds
    tally, watch, faults = hammer(seconds)
    rows: list[tuple[str, object]] = [
        (f"{kind}: {status}", count) for (kind, status), count in sorted(tally.statuses.items())
    ]
    rows += [
        ("receipts verified at the end", len(tally.issued)),
        ("seconds", round(seconds)),
        ("faults", len(faults)),
        ("memory, MiB: second fifth to last", f"{growth(watch.memory_mib):+.1f}"),
        ("memory, MiB: highest", f"{max(watch.memory_mib):.0f}"),
        ("descriptors: second fifth to last", f"{growth(watch.num_descriptors):+.0f}"),
        ("computing children", max(watch.num_computing)),
        ("their memory, MiB: second fifth to last", f"{growth(watch.computing_mib):+.1f}"),
        ("their memory, MiB: highest", f"{max(watch.computing_mib):.0f}"),
        ("their descriptors: second fifth to last", f"{growth(watch.computing_descriptors):+.0f}"),
        ("threads: highest", max(watch.num_threads)),
    ]
    print(report.table(["hammer", ""], rows))
    for fault in faults[:20]:
        print(fault)
    report.write("hammer", dict(rows) | {"faults_in_words": faults})
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
