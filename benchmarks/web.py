"""How the pages feel, and how they look: `python -m benchmarks.web [--runs N] [--pictures FOLDER]`.

Chromium opens each page of a warm server on this machine, and drops a clip of 10 s on `/`. First paint is
first contentful paint of a page in a fresh profile; weight is what came over the wire for it; drop to verdict
is from the drop to the verdict on the screen; shift is what moved by itself meanwhile (CLS). In the place of
the model stands an echo. Prints a table and writes benchmarks/results/web.json; `--pictures` saves the
pictures of README and docs instead. Needs chromium and Playwright."""

import argparse
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, decode, encode
from benchmarks import report
from benchmarks.browser import CHROMIUM, Browser, View, browsing
from benchmarks.chat import Echo
from generation import Sampling, Spoken

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
PAGES = ("/", "/talk", "/log")
CLIP_S = 10
MAX_PAINT_MS, MAX_WEIGHT_BYTES, MAX_VERDICT_S, MAX_SHIFT = 1000.0, 400_000, 2.5, 0.001
MANY = 1_000_000
SAYS = "An echo stands in the place of the model here. It repeats what you say, with a mark. "


class WordyEcho(Echo):
    """Says what it hears, and every 320 ms a word that says so. For one conversation after the other."""

    def __init__(self, num_streams: int) -> None:
        super().__init__(num_streams)
        self._num_steps = 0

    def open(self, *, seed: int | None, sampling: Sampling) -> int:
        self._num_steps = 0
        return super().open(seed=seed, sampling=sampling)

    def step(self, frames: Mapping[int, NDArray[np.float32]]) -> dict[int, Spoken]:
        words = SAYS.split()
        word = f" {words[self._num_steps // 4 % len(words)]}" if self._num_steps % 4 == 0 else ""
        self._num_steps += 1
        return {row: Spoken(word, frame_T) for row, frame_T in frames.items()}


def serve(port: int, data_dir: str) -> None:
    """The server's process."""
    import uvicorn

    from api.app import UVICORN_OPTIONS, create_app
    from api.settings import Settings

    settings = Settings(
        data_dir=Path(data_dir),
        model="echo",
        allow_anonymous_marks=True,
        requests_per_minute_address=MANY,
        requests_per_minute_everyone=MANY,
        near_duplicates_per_hour_address=MANY,
    )
    app = create_app(settings, lambda chosen: WordyEcho(chosen.chat_streams))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", **UVICORN_OPTIONS)


@contextmanager
def served() -> Iterator[str]:
    """The address of a server with a data folder of its own, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        Path(folder).chmod(0o711)  # the embedded server may run as another account
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(port, f"{folder}/data"))
        server.start()
        try:
            url = f"http://127.0.0.1:{port}"
            _await_start(url, server.is_alive)
            yield url
        finally:
            server.terminate()
            server.join()


def _await_start(url: str, is_alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            httpx.get(f"{url}/livez").raise_for_status()
            return
        except httpx.TransportError:
            if not is_alive() or time.monotonic() > deadline:
                sys.exit("the server did not start")
            time.sleep(0.2)


def marked(url: str, name: str) -> tuple[bytes, str]:
    """One of the tests' recordings as the service marks it, and its generation id."""
    response = httpx.post(
        f"{url}/v1/marks",
        params={"system": "Example TTS", "system_version": "2.1", "model": "voice-a"},
        content=(ASSETS / f"{name}.flac").read_bytes(),
        headers={"Content-Type": "audio/flac"},
        timeout=60,
    )
    response.raise_for_status()
    return response.content, response.headers["Earmark-Generation-Id"]


def measure(browser: Browser, clip: bytes, num_runs: int) -> dict[str, dict[str, float]]:
    """Worst first paint and weight of each page, and of `/` the time to a verdict."""
    pages: dict[str, dict[str, float]] = {}
    for address in PAGES:
        paints_ms, weights = [], []
        for _ in range(num_runs):
            with browser.view(address) as view:
                paints_ms.append(view.first_paint_ms)
                weights.append(view.weight_bytes)
        pages[address] = {"first_paint_ms": max(paints_ms), "weight_bytes": float(max(weights))}
    times_s, service_s, shifts = [], [], []
    with browser.view("/") as view:
        for _ in range(num_runs + 1):  # the first warms the server
            service_s.append(_asked_directly(browser.base_url, clip))
            before, started_s = view.shifted, time.perf_counter()
            view.drop("clip.flac", clip)
            view.verdict()
            times_s.append(time.perf_counter() - started_s)
            view.page.wait_for_timeout(300)
            shifts.append(view.shifted - before)
            view.page.click("#again")
    pages["/"] |= {
        "verdict_median_s": statistics.median(times_s[1:]),
        "verdict_worst_s": max(times_s[1:]),
        "service_median_s": statistics.median(service_s[1:]),
        "shift": max(shifts),
    }
    return pages


def _asked_directly(url: str, clip: bytes) -> float:
    """Seconds that the same request takes without a page, just before."""
    started_s = time.perf_counter()
    headers = {"Content-Type": "audio/flac"}
    httpx.post(
        f"{url}/v1/detections?waveform=240", content=clip, headers=headers, timeout=60
    ).raise_for_status()
    return time.perf_counter() - started_s


def print_table(pages: dict[str, dict[str, float]]) -> None:
    """Each figure beside its goal."""
    verify = pages["/"]
    rows = []
    for address, one in pages.items():
        paint, weight = f"{one['first_paint_ms']:.0f} ms", f"{one['weight_bytes'] / 1000:.0f} kB"
        rows.append([f"first paint of {address}, worst", paint, f"{MAX_PAINT_MS:.0f} ms"])
        rows.append([f"weight of {address}", weight, f"{MAX_WEIGHT_BYTES / 1000:.0f} kB"])
    rows += [
        [f"drop to verdict, {CLIP_S} s, median", f"{verify['verdict_median_s']:.2f} s", f"{MAX_VERDICT_S} s"],
        [f"drop to verdict, {CLIP_S} s, worst", f"{verify['verdict_worst_s']:.2f} s", f"{MAX_VERDICT_S} s"],
        ["the service alone, median", f"{verify['service_median_s']:.2f} s", ""],
        ["layout shift", f"{verify['shift']:.4f}", "none"],
    ]
    print(report.table(["what", "measured", "at most"], rows))
    reached = (
        all(one["first_paint_ms"] <= MAX_PAINT_MS for one in pages.values())
        and all(one["weight_bytes"] <= MAX_WEIGHT_BYTES for one in pages.values())
        and verify["verdict_worst_s"] <= MAX_VERDICT_S
        and verify["shift"] <= MAX_SHIFT
    )
    print("all goals reached" if reached else "a goal is missed")


def take_pictures(browser: Browser, url: str, folder: Path) -> None:
    """Each page light and wide, and dark and narrow."""
    folder.mkdir(parents=True, exist_ok=True)
    clip, generation_id = marked(url, "kathleen_1")
    for name in ("kerstin_1", "amelia", "adocampo"):
        marked(url, name)
    acts: dict[str, tuple[str, Callable[[View], object]]] = {
        "verify": ("/", lambda _: None),
        "result": ("/", lambda view: _dropped(view, clip)),
        "talk": ("/talk", _talked),
        "log": (
            f"/log#{generation_id}",
            lambda view: view.page.wait_for_selector("#proof [data-valid=true]"),
        ),
    }
    for look, options in (
        ("light", {"width": 1120, "height": 900}),
        ("dark", {"width": 360, "height": 900, "dark": True}),
    ):
        for name, (address, act) in acts.items():
            with browser.view(address, **options) as view:  # type: ignore[arg-type]
                act(view)
                if name == "result" and look == "light":
                    view.page.set_viewport_size({"width": 1120, "height": 1270})  # down to the waveform
                view.page.wait_for_timeout(500)
                path = folder / f"{name}-{look}.png"
                view.page.screenshot(path=path)
                print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def _dropped(view: View, clip: bytes) -> None:
    view.drop("voice-message.flac", clip)
    view.verdict()


def _talked(view: View) -> None:
    view.page.click("#start")
    view.until("parseFloat(document.getElementById('marked').textContent) >= 9")


def main() -> None:
    """Measure, print, write; or take pictures."""
    parser = argparse.ArgumentParser(description="time the pages in chromium, or take pictures of them")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("chromium is needed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, served() as url:
        microphone = Path(folder) / "person.wav"
        wav_T = decode((ASSETS / "kathleen_2.flac").read_bytes()).wav_T
        microphone.write_bytes(encode(wav_T, SAMPLE_RATE_HZ, "wav"))
        clip = encode(wav_T[: CLIP_S * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ, "flac")
        with browsing(url, microphone) as browser:
            if args.pictures:
                take_pictures(browser, url, args.pictures)
                return
            pages = measure(browser, clip, args.runs)
    print_table(pages)
    report.write("web", {"pages": pages})


if __name__ == "__main__":
    main()
