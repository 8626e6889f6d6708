"""Recordings decoded once into one flat file, so that training reads samples and not containers.

    NAME.bin    samples at 24 kHz, one recording after the other, int16 or float32
    NAME.json   dtype, and of each recording: file, source, speaker, start, length

The .json is written last, when the samples are on disk: a build that was cut short leaves none and is done
again.
Dimension key: T samples. Trusted files only.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio.durable import write_durably

Wav = NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """One file of the store and where its samples lie."""

    file: str
    source: str
    speaker: str
    start: int
    length: int


class Store:
    """A read-only flat file of samples and the list of what lies in it."""

    def __init__(self, folder: Path, name: str) -> None:
        listing = json.loads((folder / f"{name}.json").read_text())
        self.recordings = [Recording(**row) for row in listing["recordings"]]
        path, dtype = folder / f"{name}.bin", np.dtype(listing["dtype"])
        # An empty file cannot be mapped; a corpus without noise or rooms gives one.
        self.samples = np.memmap(path, dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)

    def read(self, start: int, length: int) -> Wav:
        """Samples as float32; int16 is scaled to -1 ... 1."""
        piece = self.samples[start : start + length]
        wav_T = piece.astype(np.float32)
        return wav_T / 32768.0 if piece.dtype == np.int16 else wav_T


def build_store(
    folder: Path, name: str, items: Iterable[tuple[str, str, str, Wav]], dtype: str = "int16"
) -> None:
    """Write (file, source, speaker, samples) one after the other; a store that is complete is left alone."""
    if (folder / f"{name}.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Recording] = []
    position = 0
    # A crash here leaves a .bin without its .json, which the next build overwrites.
    with (folder / f"{name}.bin").open("wb") as out:
        for file, source, speaker, wav_T in items:
            scaled_T = np.clip(np.rint(wav_T * 32767.0), -32768, 32767) if dtype == "int16" else wav_T
            out.write(scaled_T.astype(dtype).tobytes())
            rows.append(Recording(file, source, speaker, position, len(wav_T)))
            position += len(wav_T)
        out.flush()
        os.fsync(out.fileno())
    listing = json.dumps({"dtype": dtype, "recordings": [asdict(row) for row in rows]}).encode()
    write_durably(folder / f"{name}.json", lambda file: file.write(listing))
