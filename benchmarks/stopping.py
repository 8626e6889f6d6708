"""Stop a server under load and look for what was lost: `python -m benchmarks.stopping [--rounds N]`.

Each round: a real `earmark serve`, clients that mark without pause and remember every answer, SIGTERM at a
random moment. Afterwards, in the registry itself: every generation that was answered is complete, none is
open, the process ended with 0 within its limit, and every request was answered whole or not at all. The
suite runs one round (tests/api/test_stopping.py). Prints a table."""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from api.access.accounts import Accounts, Scope
from api.access.secret import ServerSecret
from api.demo.server import free_port, wait_until_ready
from api.settings import Settings
from benchmarks import report
from registry import GenerationState, Registry

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
NUM_CLIENTS = 6


@dataclass
class Outcome:
    """What the clients saw and the registry holds after one round."""

    acknowledged: list[str] = field(default_factory=list)  # generation ids of whole answers
    refused: int = 0  # 503: the service said no
    unanswered: int = 0  # the connection ended, or was refused, without an answer
    torn: int = 0  # an answer that ended early: must not happen
    other: list[int] = field(default_factory=list)  # statuses that must not happen
    in_order: bool = False  # it closed its service, database included, before it ended
    stopped_in_s: float = 0.0
    lost: list[str] = field(default_factory=list)  # acknowledged, but not complete in the registry
    num_open: int = 0

    @property
    def is_clean(self) -> bool:
        bad = self.lost or self.num_open or self.torn or self.other
        return not bad and self.in_order and bool(self.acknowledged)


def run_round(after_s: float) -> Outcome:
    """One server from start to stop; SIGTERM `after_s` seconds into the load."""
    folder = Path(tempfile.mkdtemp(prefix="earmark-stop-"))
    folder.chmod(0o711)  # PostgreSQL's account must pass through (api/demo/server.py)
    try:
        return _round(folder, after_s)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _round(folder: Path, after_s: float) -> Outcome:
    settings = Settings(data_dir=folder / "data", database_url=None)
    key = make_key(settings)
    port, outcome = free_port(), Outcome()
    log_path = folder / "server.log"
    command = [sys.executable, "-m", "api.cli.main", "serve", "--port", str(port)]
    command += ["--data-dir", str(settings.data_dir)]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    wait_until_ready(process, url, log_path)
    stopping = threading.Event()
    clients = [
        threading.Thread(target=_mark_until, args=(url, key, stopping, outcome)) for _ in range(NUM_CLIENTS)
    ]
    for client in clients:
        client.start()
    time.sleep(after_s)
    process.send_signal(signal.SIGTERM)
    started_s = time.monotonic()
    try:
        process.wait(settings.stop_timeout_s + 30)
    except subprocess.TimeoutExpired:
        process.kill()
    outcome.stopped_in_s = time.monotonic() - started_s
    # Uvicorn raises the signal again at its end, so the exit code is the signal's also after an orderly stop.
    outcome.in_order = "Application shutdown complete" in log_path.read_text()
    stopping.set()
    for client in clients:
        client.join()
    with Registry.open(settings.data_dir) as registry:
        states = {str(one.generation_id): one.state for one in registry.generations(1000)}
    complete = {generation_id for generation_id, state in states.items() if state is GenerationState.COMPLETE}
    outcome.lost = sorted(set(outcome.acknowledged) - complete)
    outcome.num_open = sum(state is GenerationState.OPEN for state in states.values())
    return outcome


def make_key(settings: Settings) -> str:
    secret = ServerSecret.load_or_create(settings.server_secret_path)
    with Registry.open(settings.data_dir) as registry:
        return Accounts(registry.keys, secret).create("load", {Scope.MARK}).text


def _mark_until(url: str, key: str, stopping: threading.Event, outcome: Outcome) -> None:
    headers = {"Content-Type": "audio/flac", "Authorization": f"Bearer {key}"}
    data = (ASSETS / "eltocino.flac").read_bytes()
    while not stopping.is_set():
        try:
            response = httpx.post(f"{url}/v1/marks", content=data, headers=headers, timeout=60)
        except httpx.RemoteProtocolError as exc:
            # httpx names what was cut off; without a status line nothing was promised.
            if "complete message body" in str(exc):
                outcome.torn += 1
            outcome.unanswered += 1
        except httpx.TransportError:
            outcome.unanswered += 1
            stopping.wait(0.05)
        else:
            _note(outcome, response)


def _note(outcome: Outcome, response: httpx.Response) -> None:
    if response.status_code == 200:
        outcome.acknowledged.append(response.headers["Earmark-Generation-Id"])
    elif response.status_code == 503:
        outcome.refused += 1
    else:
        outcome.other.append(response.status_code)


def main() -> None:
    """Run the rounds, print, write."""
    parser = argparse.ArgumentParser(description="stop a server under load and look for what was lost")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, outcomes = random.Random(args.seed), []
    for _ in range(args.rounds):
        outcomes.append(run_round(rng.uniform(0.5, 5.0)))
        print(".", end="", flush=True)
    rows: list[tuple[str, object]] = [
        ("rounds", len(outcomes)),
        ("clean", sum(one.is_clean for one in outcomes)),
        ("marks acknowledged", sum(len(one.acknowledged) for one in outcomes)),
        ("of these lost", sum(len(one.lost) for one in outcomes)),
        ("torn answers", sum(one.torn for one in outcomes)),
        ("generations left open", sum(one.num_open for one in outcomes)),
        ("other statuses than 200 and 503", sum(len(one.other) for one in outcomes)),
        ("slowest stop", f"{max(one.stopped_in_s for one in outcomes):.1f} s"),
    ]
    print("\n" + report.table(["stop under load", ""], rows))
    report.write("stopping", dict(rows))
    sys.exit(0 if all(one.is_clean for one in outcomes) else 1)


if __name__ == "__main__":
    main()
