"""Recordings decoded once into flat files, so that training reads samples and not containers.

    clips.bin    every clip at 24 kHz int16, one after the other    clips.json   file, source, speaker,
    start, length
    copy_K.bin   training clips after a lossy codec                 copy_K.json  the same, source being the
    codec noise.bin, room.bin (float32, from the direct sound on) and their .json

A .json is written last and by rename: a build that was cut short leaves no .json and is done again.
Dimension key: T samples. Not covered: telephone codecs; the training loop simulates mu-law itself.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, corpus, encode, trusted

Wav = NDArray[np.float32]

# (container, codec, bit/s): rates at which people pass speech on.
LOSSY = (
    ("ogg", "opus", 6_000), ("ogg", "opus", 8_000), ("ogg", "opus", 12_000), ("ogg", "opus", 24_000),
    ("mp3", "mp3", 16_000), ("mp3", "mp3", 24_000), ("mp3", "mp3", 32_000), ("mp3", "mp3", 64_000),
    ("m4a", "aac", 24_000), ("m4a", "aac", 48_000),
)  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """One file of the cache and where its samples lie."""

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


def build(data: Path, folder: Path, num_copies: int, seed: int) -> None:
    """Decode the corpus and make the lossy copies; whatever is complete already is left as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    _build_once(folder, "noise", ((clip, corpus.read(clip.path)) for clip in corpus.load_noise(data)))
    rooms = ((clip, impulse_response(corpus.read(clip.path))) for clip in corpus.load_rooms(data))
    _build_once(folder, "room", rooms, dtype="float32")
    _build_once(folder, "clips", ((clip, corpus.read(clip.path)) for clip in corpus.load(data)))
    for number in range(num_copies):
        _build_once(folder, f"copy_{number}", _lossy_copies(data, seed + number))


def finished_copies(folder: Path) -> list[Store]:
    """The lossy copies that are complete, in order of their number."""
    return [Store(folder, path.stem) for path in sorted(folder.glob("copy_*.json"))]


def impulse_response(wav_T: Wav) -> Wav:
    """An impulse response that starts half a millisecond before its direct sound and has unit energy."""
    peak = int(np.argmax(np.abs(wav_T)))
    tail_T = wav_T[max(0, peak - 12) :]
    return np.asarray(tail_T / np.sqrt(np.sum(tail_T**2) + 1e-12), np.float32)


def _lossy_copies(data: Path, seed: int) -> Iterator[tuple[corpus.Clip, Wav]]:
    rng = np.random.default_rng(seed)
    for clip in corpus.split(corpus.load(data)).train:
        container, codec, bit_rate = LOSSY[int(rng.integers(len(LOSSY)))]
        wav_T = corpus.read(clip.path)
        lossy_T = trusted.read(
            encode(wav_T, SAMPLE_RATE_HZ, container, codec=codec, bit_rate=bit_rate), container
        )
        copy_T = np.zeros_like(wav_T)
        copy_T[: len(lossy_T)] = lossy_T[: len(wav_T)]
        yield clip, copy_T


def _build_once(
    folder: Path, name: str, items: Iterable[tuple[corpus.Clip, Wav]], dtype: str = "int16"
) -> None:
    if (folder / f"{name}.json").exists():
        return
    rows: list[Recording] = []
    position = 0
    # A crash here leaves a .bin without its .json, which the next build overwrites.
    with (folder / f"{name}.bin").open("wb") as out:
        for clip, wav_T in items:
            scaled_T = np.clip(np.rint(wav_T * 32767.0), -32768, 32767) if dtype == "int16" else wav_T
            out.write(scaled_T.astype(dtype).tobytes())
            rows.append(Recording(clip.path.name, clip.source, clip.speaker, position, len(wav_T)))
            position += len(wav_T)
    temporary = folder / f"{name}.json.tmp"
    temporary.write_text(json.dumps({"dtype": dtype, "recordings": [asdict(row) for row in rows]}))
    temporary.replace(folder / f"{name}.json")
