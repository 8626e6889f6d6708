"""How fast the service answers and how much memory it takes: `python -m benchmarks.service [--num-requests
N]`.

Starts `earmark serve` with throwaway data, registers the recordings of tests/assets, and times each request
on a warm server from a client on the same machine, one after the other. Audio: kathleen_1, its first 10 s,
24 kHz mono FLAC. Memory is the resident set of the server process, at rest and its highest; PostgreSQL's
processes are not in it, since their shared memory would be counted many times. Prints a table and writes
benchmarks/results/service.json."""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from api.demo.server import running_server
from audio import SAMPLE_RATE_HZ, decode, encode

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
RESULTS = Path(__file__).parent / "results" / "service.json"
TARGET_VERIFY_S = 1.5
TARGET_MEMORY_MIB = 1536
_WARM_UP = 3


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="time the REST service")
    parser.add_argument("--num-requests", type=int, default=20)
    num_requests = parser.parse_args().num_requests
    with running_server() as client:
        server_pid = _server_pid(client)
        results = _measure(client, num_requests)
        results["memory_rest_mib"] = _memory_mib(server_pid, "VmRSS")
        results["memory_peak_mib"] = _memory_mib(server_pid, "VmHWM")
    _print(results)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results | {"num_cores": os.cpu_count()}, indent=2) + "\n")


def _measure(client: httpx.Client, num_requests: int) -> dict[str, float]:
    original = encode(
        decode((ASSETS / "kathleen_1.flac").read_bytes()).wav_T[: 10 * SAMPLE_RATE_HZ], 24_000, "flac"
    )
    for path in sorted(ASSETS.glob("*.flac")):
        _post(client, "/v1/marks", path.read_bytes())
    marked = _post(client, "/v1/marks", original).content
    requests: dict[str, Callable[[], object]] = {
        "mark 10 s": lambda: _post(client, "/v1/marks", original),
        "verify 10 s, marked": lambda: _post(client, "/v1/detections", marked),
        "livez": lambda: client.get("/livez").raise_for_status(),
    }
    results: dict[str, float] = {"num_requests": num_requests}
    for name, request in requests.items():
        for _ in range(_WARM_UP):
            request()
        times_s = sorted(_timed(request) for _ in range(num_requests))
        results[f"{name}, median s"] = statistics.median(times_s)
        results[f"{name}, slowest s"] = times_s[-1]
    return results


def _timed(request: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    request()
    return time.perf_counter() - started_s


def _post(client: httpx.Client, route: str, data: bytes) -> httpx.Response:
    return client.post(route, content=data, headers={"Content-Type": "audio/flac"}).raise_for_status()


def _server_pid(client: httpx.Client) -> int:
    """The process that listens on the client's port, found among this process's children."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    assert client.get("/livez").is_success
    (server_pid,) = [int(pid) for pid in children]
    return server_pid


def _memory_mib(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(field)]
    return int(line.split()[1]) / 1024


def _print(results: dict[str, float]) -> None:
    for name, value in results.items():
        print(f"{name:<32} {value:>10.3f}")
    verify_s, memory = results["verify 10 s, marked, median s"], results["memory_peak_mib"]
    print(
        f"verify of 10 s: {verify_s:.2f} s, target {TARGET_VERIFY_S} s: {_met(verify_s <= TARGET_VERIFY_S)}"
    )
    print(f"memory: {memory:.0f} MiB, target {TARGET_MEMORY_MIB} MiB: {_met(memory <= TARGET_MEMORY_MIB)}")


def _met(reached: bool) -> str:
    return "reached" if reached else "missed"


if __name__ == "__main__":
    main()
