"""Kill the service, its children and its PostgreSQL under clients' hands: `python -m benchmarks.api_kills`.

A real `earmark serve` answers clients that mark over HTTP, each request under an Idempotency-Key. The
server's process is killed (SIGKILL), alone or with its children; or a backend of PostgreSQL (SIGKILL: it
restarts them all), or its main process (SIGQUIT: immediate stop; SIGKILL): soon after an answer, or while all
of it starts. Then everything is started again, and clients send what was not answered again under the same
key, now and then also what was. Audio counts as released with the head of its answer, whatever becomes of its
body. Afterwards: each key got one generation and one file; that generation is complete and in the log; every
receipt verifies against its file and the log holds its entry; indexes are gap-free; tiles, rows, generations
and fingerprints agree. Prints one line and writes benchmarks/results/api_kills.json.
"""

import base64
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from api.demo.server import free_port, wait_until_ready
from api.service import open_registry
from api.settings import Settings
from benchmarks import kills
from benchmarks.hostile import UNLIMITED
from benchmarks.log_readers import Issued
from benchmarks.process import computing, decoders, fork_servers
from benchmarks.stopping import make_key
from registry import GenerationState, Registry, RegistryError

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
NUM_CLIENTS = 3
KINDS = {
    "server": 0.3,
    "server and children": 0.25,
    "backend": 0.2,
    "immediate stop": 0.15,
    "main process": 0.1,
}  # shares of the kills
LONGEST_PAUSE_S = 2.0
AT_WORK_SHARE = 0.7  # of the kills come soon after an answer, the others also during a start or a recovery
REPLAY_SHARE = 0.2  # of the answered requests are sent again later
RECOVERY_LIMIT_S = 120.0
STOP_LIMIT_S = 60.0
EXPECTED = {200, 409, 503}  # 409: the first request with this key is still at work


@dataclass
class Seen:
    """What the clients were told. A name is an Idempotency-Key; one client uses it."""

    statuses: Counter[str] = field(default_factory=Counter)
    ids_by_name: dict[str, set[str]] = field(default_factory=dict)  # from the heads of answers
    issued_by_name: dict[str, Issued] = field(default_factory=dict)  # from whole answers
    problems: list[str] = field(default_factory=list)

    def note(self, name: str, issued: Issued) -> None:
        """A whole answer; sent again, it has the same file."""
        first = self.issued_by_name.setdefault(name, issued)
        if issued != first:
            self.problems.append(f"request {name} was answered with two files")


class Server:
    """`earmark serve` on one port and one data folder, started again and again."""

    def __init__(self, data_dir: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._data_dir = data_dir
        self._log = data_dir.with_name("server.log")

    def start(self) -> None:
        words = ["--data-dir", str(self._data_dir), "serve", "--port", str(self.port)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("EARMARK_")} | UNLIMITED
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "api.cli.main", *words]
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    def wait_until_ready(self) -> None:
        wait_until_ready(self._process, self.url, self._log)

    def kill(self, *, with_children: bool) -> None:
        """Children that are not killed end by themselves, when their pipes do."""
        pid, others = self._process.pid, list[int]()
        with suppress(OSError):
            others = [*computing(pid), *decoders(pid), *fork_servers(pid)] if with_children else []
        for one in (pid, *others):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> bool:
        """As an operator does it. False when it had to be killed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill(with_children=True)
            return False
        return True


class Client(threading.Thread):
    """Marks, one request after the other, each until it is answered."""

    def __init__(self, url: str, key: str, seen: Seen, stopping: threading.Event, seed: str) -> None:
        super().__init__()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "audio/flac"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=60)
        self._data = (ASSETS / "eltocino.flac").read_bytes()
        self._seen = seen
        self._stopping = stopping
        self._rng = random.Random(seed)

    def run(self) -> None:
        """The last request is seen through, as far as RECOVERY_LIMIT_S."""
        with self._client:
            self._ask()

    def _ask(self) -> None:
        mine: list[str] = []
        while not self._stopping.is_set():
            is_replay = bool(mine) and self._rng.random() < REPLAY_SHARE
            name = self._rng.choice(mine) if is_replay else str(uuid.uuid4())
            mine += [] if is_replay else [name]
            stopped_s = None
            while not self._send(name):
                if self._stopping.is_set():
                    stopped_s = stopped_s or time.monotonic()
                    if time.monotonic() > stopped_s + RECOVERY_LIMIT_S:
                        self._seen.problems.append(f"request {name} was never answered")
                        return
                time.sleep(0.1)

    def _send(self, name: str) -> bool:
        """Whether the whole answer came. The generation's model names the request."""
        head, told = {"Idempotency-Key": name}, "no answer"
        try:
            with self._client.stream(
                "POST", "/v1/marks", params={"model": name}, content=self._data, headers=head
            ) as response:
                told = f"{response.status_code}, torn"
                if response.status_code == 200:
                    generation_id = response.headers["Earmark-Generation-Id"]
                    self._seen.ids_by_name.setdefault(name, set()).add(generation_id)
                body = response.read()
                told = str(response.status_code)
        except httpx.HTTPError:
            return False
        finally:
            self._seen.statuses[told] += 1
        if response.status_code not in EXPECTED:
            self._seen.problems.append(f"{response.status_code}: {response.text[:300]}")
        if response.status_code == 200:
            receipt = base64.b64decode(response.headers["Earmark-Receipt"])
            self._seen.note(name, Issued(body, receipt, generation_id))
        return response.status_code == 200


def main() -> None:
    """Kill, check, print, write."""
    kills.command("api_kills", "kill the service and its database under clients' hands", 200, run)


def run(folder: Path, num_kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill so many times, let everything come to rest, and count what was promised and what was broken."""
    data_dir, rng, seen, stopping = folder / "data", random.Random(seed), Seen(), threading.Event()
    key = make_key(Settings(data_dir=data_dir))
    server = Server(data_dir)
    server.start()
    server.wait_until_ready()
    clients = [Client(server.url, key, seen, stopping, f"{seed}/{number}") for number in range(NUM_CLIENTS)]
    for client in clients:
        client.start()
    killed = dict.fromkeys(KINDS, 0)
    try:
        while sum(killed.values()) < num_kills:
            if rng.random() < AT_WORK_SHARE:
                _next_answer(seen)
            time.sleep(rng.uniform(0.0, LONGEST_PAUSE_S))
            (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
            if _kill(kind, server, data_dir, rng, seen):
                killed[kind] += 1
                server.start()
                if not sum(killed.values()) % 10:
                    print(f"{killed}, problems: {seen.problems}", flush=True, file=sys.stderr)
        server.wait_until_ready()
    finally:
        stopping.set()
        for client in clients:
            client.join()
        if not server.stop():
            seen.problems.append("the server does not stop")
    return {"kills": killed, "answers": dict(sorted(seen.statuses.items())), **check(data_dir, seen)}


def _kill(kind: str, server: Server, data_dir: Path, rng: random.Random, seen: Seen) -> bool:
    """Afterwards the server has ended. False when there was nothing to kill, and nothing was done."""
    if kind in ("server", "server and children"):
        server.kill(with_children=kind == "server and children")
        return True
    if kind == "backend":
        done = kills.kill_backend(data_dir, rng.choice)
    else:
        number = signal.SIGQUIT if kind == "immediate stop" else signal.SIGKILL
        done = kills.signal_postmaster(data_dir, number)
    if done:
        # Without its database for a while. A request whose claim it could not give back is its own until it
        # ends (registry/replies.py), so it is started again.
        time.sleep(rng.uniform(0.0, LONGEST_PAUSE_S))
        if not server.stop():
            seen.problems.append(f"the server does not stop after: {kind}")
    return done


def _next_answer(seen: Seen) -> None:
    before, deadline_s = seen.statuses["200"], time.monotonic() + RECOVERY_LIMIT_S
    while seen.statuses["200"] == before and time.monotonic() < deadline_s:
        time.sleep(0.01)


def check(data_dir: Path, seen: Seen) -> dict[str, Any]:
    """What was released, and each promise that does not hold."""
    problems = list(seen.problems)
    with open_registry(Settings(data_dir=data_dir)) as registry:
        for name, ids in seen.ids_by_name.items():
            if len(ids) != 1:
                problems.append(f"request {name} was answered with the generations {sorted(ids)}")
            for generation_id in ids:
                problems += _wrong(registry, name, UUID(generation_id), seen.issued_by_name.get(name))
        problems += registry.check_log()
        checked = registry.index.check()
        if not checked.passed:
            problems.append(f"the index differs: {checked}")
        states = _states(registry)
    if states["open"]:
        problems.append(f"{states['open']} generations were left open")
    return {
        "keys answered": len(seen.issued_by_name),
        "generations": dict(sorted(states.items())),
        "problems": problems,
    }


def _wrong(registry: Registry, name: str, generation_id: UUID, issued: Issued | None) -> list[str]:
    """Of a generation whose audio was released, at least in part."""
    try:
        generation = registry.generation(generation_id)
        if (generation.state, generation.model) != (GenerationState.COMPLETE, name):
            return [f"{generation_id}: released for {name}, and {generation.state} for {generation.model}"]
        trust = registry.log.signer.trust
        now = registry.log.receipt(generation_id)
        now.verify(trust)
        if issued is None:
            return [f"request {name} was never answered whole"]
        receipt = issued.verify(trust)
        if (receipt.index, receipt.leaf) != (now.index, now.leaf):
            return [f"{generation_id}: its index holds another entry than its receipt"]
    except RegistryError as exc:
        return [f"{generation_id}: {exc}"]
    return []


def _states(registry: Registry) -> Counter[str]:
    """How many generations there are of each state; complete ones of one request count apart from the first,
    "complete, answered to nobody": their server died before it could keep the answer."""
    counts: Counter[str] = Counter()
    complete: set[str] = set()
    after: UUID | None = None
    while page := registry.generations(1000, after):
        for one in page:
            again = one.state is GenerationState.COMPLETE and one.model in complete
            counts["complete, answered to nobody" if again else one.state.value] += 1
            if one.state is GenerationState.COMPLETE:
                complete.add(one.model)
        after = page[-1].generation_id
    return counts


if __name__ == "__main__":
    main()
