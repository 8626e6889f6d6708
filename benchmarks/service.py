"""How fast the service answers and how much memory it takes: `python -m benchmarks.service [--num-requests
N] [--load-seconds S]`.

Three parts. (1) One request after the other on a warm server, from a client on the same machine:
kathleen_1, its first 10 s, 24 kHz mono FLAC. (2) NUM_CLIENTS clients at once, each asking about a 5 s clip
as soon as it has its last answer: detections a second, and how long each waits. Half of the clips are marked,
the others are of STRANGERS, who are not registered; the other recordings of tests/assets are. (3) Where the
time of one of each goes, stage by stage, in this process without HTTP. Memory is the resident set of the
server process, at rest and its highest, and beside it what its computing children (api/compute.py) share with
nobody; PostgreSQL's processes are not in it, since their shared memory would be counted many times. Processor
time is that of the server, its children and its decoders.
Prints a table and writes benchmarks/results/service.json."""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import torch

import api.detection
from api.allocator import keep_freed_memory
from api.demo.server import running_server
from api.service import Service
from api.settings import Settings
from audio import SAMPLE_RATE_HZ, decode, encode
from benchmarks.hostile import UNLIMITED
from benchmarks.process import computing, cpu_s, memory_mib, own_cpu_s, private_mib, server_pid
from registry import Registry
from watermark import Detector

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
RESULTS = Path(__file__).parent / "results" / "service.json"
TARGET_VERIFY_S = 1.5
TARGET_MEMORY_MIB = 1536
TARGET_DETECTIONS_PER_S = 20.0
TARGET_P95_S = 1.5
NUM_CLIENTS = 16
ROOM_FOR_ALL = {
    "EARMARK_MAX_WAITING": str(NUM_CLIENTS)
}  # by default ten are admitted, and the others get a 503
STRANGERS = ("amelia", "adocampo")
_WARM_UP = 3


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="time the REST service")
    parser.add_argument("--num-requests", type=int, default=20)
    parser.add_argument("--load-seconds", type=float, default=30)
    args = parser.parse_args()
    with running_server(UNLIMITED | ROOM_FOR_ALL) as client:
        pid = server_pid(client.base_url.port or 80)
        results = _measure(client, args.num_requests)
        results["memory_rest_mib"] = memory_mib(pid, "VmRSS")
        results |= _under_load(client, pid, args.load_seconds)
        results["memory_peak_mib"] = memory_mib(pid, "VmHWM")
        results["memory_children_mib"] = sum(map(private_mib, computing(pid)))
    results |= _stages(args.num_requests)
    _print(results)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results | {"num_cores": os.cpu_count()}, indent=2) + "\n")


def _measure(client: httpx.Client, num_requests: int) -> dict[str, float]:
    original = encode(
        decode((ASSETS / "kathleen_1.flac").read_bytes()).wav_T[: 10 * SAMPLE_RATE_HZ], 24_000, "flac"
    )
    for data in _registered():
        _post(client, "/v1/marks", data)
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


def _under_load(client: httpx.Client, pid: int, seconds: float) -> dict[str, float]:
    """(2) Marked and strange clips in turn; an answer that is no verdict ends the run with its error. A
    strange one costs most: its mark is searched at every speed and pitch, its fingerprint at other pitches.

    Processor time is what other work on the machine does not change: its inverse, times the cores, is the
    most that an idle machine could do.
    """
    marked = [_post(client, "/v1/marks", _clip(name)).content for name in ("kathleen_1", "kerstin_1")]
    clips = [marked[0], _clip(STRANGERS[0]), marked[1], _clip(STRANGERS[1])]
    end_s = time.monotonic() + seconds

    def ask(number: int) -> list[float]:
        waits_s: list[float] = []
        while time.monotonic() < end_s:
            clip = clips[(number + len(waits_s)) % len(clips)]
            waits_s.append(_timed(partial(_post, client, "/v1/detections", clip)))
        return waits_s

    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        started_s, used_before_s = time.monotonic(), _cpu_s(pid)
        waits_s = sorted(wait for waits in pool.map(ask, range(NUM_CLIENTS)) for wait in waits)
        took_s, used_s = time.monotonic() - started_s, _cpu_s(pid) - used_before_s
    return {
        "num_clients": NUM_CLIENTS,
        "detections of 5 s, per s": len(waits_s) / took_s,
        "processor time of one, s": used_s / len(waits_s),
        "wait, median s": statistics.median(waits_s),
        "wait, p95 s": waits_s[int(0.95 * len(waits_s))],
    }


def _cpu_s(pid: int) -> float:
    return cpu_s(pid) + sum(map(own_cpu_s, computing(pid)))


def _registered() -> list[bytes]:
    return [path.read_bytes() for path in sorted(ASSETS.glob("*.flac")) if path.stem not in STRANGERS]


def _clip(name: str) -> bytes:
    wav_T = decode((ASSETS / f"{name}.flac").read_bytes()).wav_T
    return encode(wav_T[: 5 * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ, "flac")


def _stages(num_requests: int) -> dict[str, float]:
    """(3) Each stage is timed from outside; what is left is the rest."""
    results: dict[str, float] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-bench-")))
        folder.chmod(0o711)  # PostgreSQL's account must pass through (api/demo/server.py)
        service = stack.enter_context(Service.open(Settings(data_dir=folder / "data")))
        torch.set_num_threads(service.settings.torch_threads)  # as `serve` does
        keep_freed_memory()
        marked = service.mark_file(_clip("kathleen_1")).data
        for data in _registered():
            service.mark_file(data)
        spent_s: dict[str, float] = {}
        for owner, name, stage in (
            (api.detection, "decode", "decode, in a child"),
            (Detector, "detect", "keyed mark"),
            (Registry, "prepare", "fingerprint"),
            (Registry, "search", "search"),
            (Registry, "compare", "comparison with the named generation"),
        ):
            stack.enter_context(_measured(owner, name, stage, spent_s))
        for kind, clip in (("marked", marked), ("a stranger", _clip(STRANGERS[1]))):
            for _ in range(_WARM_UP):
                service.detect(clip)
            spent_s.clear()
            total_s = sum(_timed(partial(service.detect, clip)) for _ in range(num_requests))
            spent_s["the rest"] = total_s - sum(spent_s.values())
            results |= {f"5 s, {kind}: {stage}, mean s": s / num_requests for stage, s in spent_s.items()}
    return results


@contextmanager
def _measured(owner: Any, name: str, stage: str, spent_s: dict[str, float]) -> Iterator[None]:
    """`owner.name` as before, with its time added up under `stage`."""
    original = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        started_s = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spent_s[stage] = spent_s.get(stage, 0.0) + time.perf_counter() - started_s

    setattr(owner, name, timed)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _print(results: dict[str, float]) -> None:
    for name, value in results.items():
        print(f"{name:<60} {value:>10.3f}")
    verify_s = results["verify 10 s, marked, median s"]
    memory = results["memory_peak_mib"] + results["memory_children_mib"]
    print(
        f"verify of 10 s: {verify_s:.2f} s, target {TARGET_VERIFY_S} s: {_met(verify_s <= TARGET_VERIFY_S)}"
    )
    rate, p95_s = results["detections of 5 s, per s"], results["wait, p95 s"]
    reached = _met(rate >= TARGET_DETECTIONS_PER_S)
    print(f"{NUM_CLIENTS} clients: {rate:.1f} detections/s, target {TARGET_DETECTIONS_PER_S:.0f}: {reached}")
    most = (os.cpu_count() or 1) / results["processor time of one, s"]
    print(f"an idle machine with these cores could do {most:.1f} detections/s at most")
    print(f"wait, p95: {p95_s:.2f} s, target {TARGET_P95_S} s: {_met(p95_s <= TARGET_P95_S)}")
    print(f"memory: {memory:.0f} MiB, target {TARGET_MEMORY_MIB} MiB: {_met(memory <= TARGET_MEMORY_MIB)}")


def _met(reached: bool) -> str:
    return "reached" if reached else "missed"


if __name__ == "__main__":
    main()
