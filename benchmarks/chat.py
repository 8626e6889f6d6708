"""What the service adds to a conversation: `python -m benchmarks.chat [--seconds S] [--sessions N ...]`.

In the place of the model stands an echo that takes no time, so every figure is the service's own: sockets,
decoding in the child, marking, fingerprints, registering, encoding. Clients speak kathleen_1 in real time, a
frame of 80 ms each, as the published ones do. Reply: from a frame sent to the audio of its step received;
the audio in it is up to 40 ms older, since marking looks 20 ms ahead and a packet holds 40 ms. Processor
time is that of the server's process and of its decoders, for each session, as a part of one core; the
clients run beside them on the same machine. Prints a table and writes benchmarks/results/chat.json."""

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import connect

from audio import OpusWriter, decode
from benchmarks.process import decoders, own_cpu_s
from generation import Sampling, Spoken

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
RESULTS = Path(__file__).parent / "results" / "chat.json"
FRAME_SAMPLES, FRAME_S = 1920, 0.08
TARGET_LIVEZ_S = 0.05


class Echo:
    """Says what it hears."""

    name = "echo"

    def __init__(self, num_streams: int) -> None:
        self.num_streams = num_streams
        self._free = set(range(num_streams))

    def open(self, *, seed: int | None, sampling: Sampling) -> int:  # noqa: ARG002 (an echo is no sampler)
        return self._free.pop()

    def step(self, frames: Mapping[int, NDArray[np.float32]]) -> dict[int, Spoken]:
        return {row: Spoken("", frame_T) for row, frame_T in frames.items()}

    def close(self, row: int) -> None:
        self._free.add(row)


def serve(port: int, data_dir: str, num_streams: int) -> None:
    """The server's process."""
    import uvicorn

    from api.app import UVICORN_OPTIONS, create_app
    from api.settings import Settings

    settings = Settings(data_dir=Path(data_dir), model="echo", chat_streams=num_streams)
    app = create_app(settings, lambda chosen: Echo(chosen.chat_streams))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", **UVICORN_OPTIONS)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="time the service around a conversation")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 4, 8])
    args = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        Path(folder).chmod(0o711)  # the embedded server may run as another account
        most = max(args.sessions)
        server = multiprocessing.get_context("spawn").Process(
            target=serve, args=(port, f"{folder}/data", most)
        )
        server.start()
        try:
            _await_start(port, server)
            rows = [asyncio.run(_measure(port, _pid(server), num, args.seconds)) for num in args.sessions]
        finally:
            server.terminate()
            server.join()
    print(f"{'sessions':>8} {'reply ms, median':>17} {'p95':>6} {'livez ms, median':>17} {'p95':>6} "
          f"{'server':>7} {'decoder':>8}")  # fmt: skip
    for row in rows:
        print(
            f"{row['sessions']:>8.0f} {row['reply_median_ms']:>17.1f} {row['reply_p95_ms']:>6.1f} "
            f"{row['livez_median_ms']:>17.1f} {row['livez_p95_ms']:>6.1f} "
            f"{row['server_core']:>7.3f} {row['decoder_core']:>8.3f}"
        )
    worst = max(row["livez_p95_ms"] for row in rows)
    reached = "reached" if worst <= 1000 * TARGET_LIVEZ_S else "missed"
    print(f"livez, p95: {worst:.0f} ms, target {1000 * TARGET_LIVEZ_S:.0f} ms: {reached}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": rows, "num_cores": os.cpu_count()}, indent=2) + "\n")


def _pid(process: "multiprocessing.process.BaseProcess") -> int:
    assert process.pid is not None
    return process.pid


def _await_start(port: int, server: "multiprocessing.process.BaseProcess") -> None:
    deadline = time.monotonic() + 240
    while True:
        if not server.is_alive():
            raise SystemExit("the server ended at its start")
        try:
            httpx.get(f"http://127.0.0.1:{port}/livez").raise_for_status()
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


async def _measure(port: int, pid: int, num_sessions: int, seconds: float) -> dict[str, float]:
    all_seated, livez_s = asyncio.Barrier(num_sessions + 1), list[float]()
    talks = [
        asyncio.create_task(_talk(port, seconds, all_seated, number / num_sessions))
        for number in range(num_sessions)
    ]
    while all_seated.n_waiting < num_sessions:  # noqa: ASYNC110 (a barrier has no event for "all but one")
        await asyncio.sleep(0.1)
    streams = decoders(pid)
    before = own_cpu_s(pid), sum(map(own_cpu_s, streams))
    await all_seated.wait()
    pulse = asyncio.create_task(_pulse(port, livez_s))
    await asyncio.sleep(seconds * 0.9)
    after = own_cpu_s(pid), sum(map(own_cpu_s, streams))
    pulse.cancel()
    replies_s = sorted([one for talk in talks for one in await talk])
    livez_s.sort()
    return {
        "sessions": num_sessions,
        "reply_median_ms": 1000 * statistics.median(replies_s),
        "reply_p95_ms": 1000 * replies_s[int(0.95 * len(replies_s))],
        "livez_median_ms": 1000 * statistics.median(livez_s),
        "livez_p95_ms": 1000 * livez_s[int(0.95 * len(livez_s))],
        "server_core": (after[0] - before[0]) / (seconds * 0.9) / num_sessions,
        "decoder_core": (after[1] - before[1]) / (seconds * 0.9) / num_sessions,
    }


async def _talk(port: int, seconds: float, all_seated: asyncio.Barrier, phase: float) -> list[float]:
    """One client; how long each reply took. The n-th audio message answers the n-th frame."""
    wav_T = decode((ASSETS / "kathleen_1.flac").read_bytes()).wav_T
    frames_FT = wav_T[: len(wav_T) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    writer, sent_at, replies_s = OpusWriter(), list[float](), list[float]()
    async with connect(f"ws://127.0.0.1:{port}/api/chat", compression=None) as client:
        while await client.recv() != b"\x00":
            pass

        async def listen() -> None:
            async for message in client:
                if message[0] == 1:
                    replies_s.append(time.monotonic() - sent_at[len(replies_s)])

        listening = asyncio.create_task(listen())
        await all_seated.wait()
        due = time.monotonic() + phase * FRAME_S  # people do not speak in step
        for number in range(round(seconds / FRAME_S)):
            await asyncio.sleep(max(due - time.monotonic(), 0))
            due += FRAME_S
            sent_at.append(time.monotonic())
            await client.send(b"\x01" + writer.push(frames_FT[number % len(frames_FT)]))
        await asyncio.sleep(0.5)
        listening.cancel()
    return replies_s


async def _pulse(port: int, times_s: list[float]) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        while True:
            started = time.monotonic()
            (await client.get("/livez")).raise_for_status()
            times_s.append(time.monotonic() - started)
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    main()
