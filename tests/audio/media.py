"""Makers of media files for the tests of `audio`: honest ones, and forged ones byte by byte."""

import struct
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from audio import fork_client, opus_decoder, sandbox, trusted

ASSETS = Path(__file__).parents[1] / "assets"


def speech(seconds: float = 2.0) -> NDArray[np.float32]:
    """Kathleen reading, float32 [T] at 24 kHz."""
    return trusted.read(ASSETS / "kathleen_1.flac", "flac")[: round(seconds * 24_000)]


def wav(
    data: bytes = bytes(4800),
    *,
    channels: int = 1,
    rate_hz: int = 24_000,
    bits: int = 16,
    tag: int = 1,
    block_bytes: int | None = None,
    riff_bytes: int | None = None,
    data_bytes: int | None = None,
    before_data: bytes = b"",
    after_data: bytes = b"",
) -> bytes:
    """A RIFF file in which every size can be forged."""
    block = channels * bits // 8 if block_bytes is None else block_bytes
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate_hz, rate_hz * block, block, bits)
    size = len(data) if data_bytes is None else data_bytes
    body = b"WAVE" + fmt + before_data + struct.pack("<4sI", b"data", size) + data + after_data
    return b"RIFF" + struct.pack("<I", len(body) if riff_bytes is None else riff_bytes) + body


def float_wav(samples: list[float]) -> bytes:
    return wav(np.array(samples, dtype="<f4").tobytes(), tag=3, bits=32)


def silent_flac(seconds: int, rate_hz: int = 8_000) -> bytes:
    """Digital silence, a minute at a time, so that an hour of it is made in a second."""
    out = BytesIO()
    with av.open(out, "w", format="flac") as media:
        stream = media.add_stream("flac", rate=rate_hz, layout="mono")
        for start_s in range(0, seconds, 60):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 60 * rate_hz), np.int16), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = rate_hz, start_s * rate_hz
            media.mux(stream.encode(frame))
        media.mux(stream.encode(None))
    return out.getvalue()


@contextmanager
def decoder_of(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fork_client.Launcher]:
    """In the block every child runs `source` in the place of the decoder; a clean end without a word is 0."""
    program = folder / "hostile.py"
    body = textwrap.indent(f"{source}\nos._exit(0)", "    ")
    program.write_text(
        "import os, signal, sys, time\ndef prepare(packages): pass\n"
        f"def run(what, address_space_bytes, cpu_s):\n{body}\n"
    )
    launcher = fork_client.Launcher(program)
    with monkeypatch.context() as patch:
        for user in (sandbox, opus_decoder):
            patch.setattr(user, "launch", launcher.launch)
        try:
            yield launcher
        finally:
            launcher.close()


def running_children(launcher: fork_client.Launcher = fork_client.LAUNCHER) -> list[int]:
    """The process numbers of the decoders that run now."""
    pid = launcher.server_pid
    return [] if pid is None else [int(one) for one in _words(f"/proc/{pid}/task/{pid}/children")]


def _words(path: str) -> list[str]:
    try:
        return Path(path).read_text().split()
    except FileNotFoundError:
        return []
