"""Files made to break a decoder, sent to a real service: `python -m benchmarks.hostile [--count N] [--seed
S]`.

Each is a real file in one of the accepted containers, damaged in one to three ways: cut off, bits flipped,
sizes forged, pieces removed, repeated, or taken from a file of another container. Deterministic under its
number and the seed, so a file that breaks something can be made again: `make(seed, number)`. The run
passes when no answer is a 5xx other than 503, every wait is shorter than the decoder's wall-clock limit
and what surrounds it, no decoder takes more memory than its limit, and the service then still tells marked
speech from other speech. Prints a table. The suite sends a few (tests/api/test_hostile_uploads.py). Not
covered: files found by coverage-guided search."""

import argparse
import collections
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import httpx

from api.demo.server import running_server
from audio import SAMPLE_RATE_HZ, DecodeLimits, decode, encode
from benchmarks import report
from benchmarks.process import Watch, server_pid

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
CONTAINERS = (("wav", None), ("flac", None), ("mp3", None), ("ogg", "opus"), ("ogg", "vorbis"), ("m4a", None))
HEADER_BYTES = 300  # where most of a container's structure lies
SIZES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)
UNLIMITED = {
    "EARMARK_REQUESTS_PER_MINUTE_KEY": "1000000",
    "EARMARK_REQUESTS_PER_MINUTE_ADDRESS": "1000000",
    "EARMARK_REQUESTS_PER_MINUTE_EVERYONE": "1000000",
    "EARMARK_NEAR_DUPLICATES_PER_HOUR_KEY": "1000000",
    "EARMARK_NEAR_DUPLICATES_PER_HOUR_ADDRESS": "1000000",
}
"""Environment of a server under test whose rates are not what is tested."""

MAX_WAIT_S = DecodeLimits().wall_s + 30.0  # and a place in the queue


@cache
def originals() -> tuple[bytes, ...]:
    """One second of speech in every container."""
    wav_T = decode((ASSETS / "amelia.flac").read_bytes()).wav_T[24_000:48_000]
    return tuple(encode(wav_T, SAMPLE_RATE_HZ, container, codec=codec) for container, codec in CONTAINERS)


def make(seed: int, number: int) -> bytes:
    """Hostile file `number` of a seed."""
    rng = random.Random(f"{seed}/{number}")
    data = bytearray(rng.choice(originals()))
    for damage in rng.sample(DAMAGES, rng.randint(1, 3)):
        data = damage(data, rng)
    return bytes(data)


def _place(data: bytearray, rng: random.Random) -> int:
    """A byte of the file; of its head half the time."""
    end = HEADER_BYTES if rng.random() < 0.5 else len(data)
    return rng.randrange(max(min(end, len(data)), 1))


def _cut(data: bytearray, rng: random.Random) -> bytearray:
    return data[: _place(data, rng)]


def _flip(data: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randint(1, 50) if data else 0):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)
    return data


def _forge(data: bytearray, rng: random.Random) -> bytearray:
    """Numbers at the edges of their types, where a size, a rate or a count may be."""
    for _ in range(rng.randint(1, 4)):
        place, width = _place(data, rng), rng.choice((1, 2, 4))
        number = rng.choice(SIZES) & (256**width - 1)
        data[place : place + width] = number.to_bytes(width, rng.choice(("little", "big")))
    return data


def _remove(data: bytearray, rng: random.Random) -> bytearray:
    place = _place(data, rng)
    del data[place : place + rng.randint(1, 4000)]
    return data


def _repeat(data: bytearray, rng: random.Random) -> bytearray:
    place = _place(data, rng)
    piece = data[place : place + rng.randint(1, 2000)]
    data[place:place] = piece * rng.randint(1, 20)
    return data


def _noise(data: bytearray, rng: random.Random) -> bytearray:
    place = _place(data, rng)
    data[place : place + rng.randint(1, 2000)] = rng.randbytes(rng.randint(1, 2000))
    return data


def _graft(data: bytearray, rng: random.Random) -> bytearray:
    """The head of one file on the body of another: polyglots, and codecs in the wrong container."""
    other = rng.choice(originals())
    return data[: _place(data, rng)] + other[rng.randrange(len(other)) :]


DAMAGES: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    _cut, _flip, _forge, _remove, _repeat, _noise, _graft,
)  # fmt: skip


def send(client: httpx.Client, data: bytes) -> tuple[str, float]:
    """What one file is answered: its status, with the decoder's reason, and the seconds it took."""
    started_s = time.perf_counter()
    while True:
        response = client.post("/v1/detections", content=data, headers={"Content-Type": "audio/*"})
        if response.status_code != 503:
            break
        time.sleep(0.05)
    seconds = time.perf_counter() - started_s
    body = response.json()
    said = body["verdict"] if response.status_code == 200 else body.get("reason", body["code"])
    return f"{response.status_code} {said}", seconds


def main() -> None:
    """Send the files, print, write; exit 1 when something broke."""
    parser = argparse.ArgumentParser(description="send hostile files to a real service")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clients", type=int, default=4)
    args = parser.parse_args()
    originals()
    with running_server(UNLIMITED) as client, Watch(server_pid(client.base_url.port or 80)) as watch:
        with ThreadPoolExecutor(args.clients) as pool:
            answers = list(pool.map(lambda n: send(client, make(args.seed, n)), range(args.count)))
        lives = _tells_apart(client)
    counts = collections.Counter(said for said, _ in answers)
    num_failed = sum(count for said, count in counts.items() if said.startswith("5"))
    slowest_s = max(seconds for _, seconds in answers)
    limit_mib = DecodeLimits().address_space_bytes / 2**20
    rows: list[tuple[str, object]] = [(said, count) for said, count in sorted(counts.items())]
    rows += [
        ("files", args.count),
        ("5xx", num_failed),
        ("slowest answer, s", f"{slowest_s:.1f}"),
        ("largest decoder, MiB resident", f"{watch.child_peak_mib:.0f} of {limit_mib:.0f}"),
        ("server at its end, MiB resident", f"{watch.memory_mib[-1]:.0f}"),
        ("descriptors at the end", watch.num_descriptors[-1]),
        ("still tells marked from unmarked", lives),
    ]
    print(report.table(["answer", "count"], rows))
    report.write("hostile", dict(rows))
    passed = not num_failed and lives and slowest_s < MAX_WAIT_S and watch.child_peak_mib < limit_mib
    sys.exit(0 if passed else 1)


def _tells_apart(client: httpx.Client) -> bool:
    headers = {"Content-Type": "audio/flac"}
    speech = (ASSETS / "eltocino.flac").read_bytes()
    marked = client.post("/v1/marks", content=speech, headers=headers).content
    other = (ASSETS / "krisgesling.flac").read_bytes()
    verdicts = [
        client.post("/v1/detections", content=one, headers=headers).json()["verdict"]
        for one in (marked, other)
    ]
    return verdicts == ["issued_here", "not_detected"]


if __name__ == "__main__":
    main()
