"""The stores (audio/store.py) that the training of the fingerprint reads.

    clips    every clip    copy_K   training clips after a lossy codec
    noise    the noises    room     impulse responses, float32, from the direct sound on

Dimension key: T samples. Not covered: telephone codecs; the training loop simulates mu-law itself.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from audio import SAMPLE_RATE_HZ, corpus, encode, trusted
from audio.store import Store, Wav, build_store

# (container, codec, bit/s): rates at which people pass speech on.
LOSSY = (
    ("ogg", "opus", 6_000), ("ogg", "opus", 8_000), ("ogg", "opus", 12_000), ("ogg", "opus", 24_000),
    ("mp3", "mp3", 16_000), ("mp3", "mp3", 24_000), ("mp3", "mp3", 32_000), ("mp3", "mp3", 64_000),
    ("m4a", "aac", 24_000), ("m4a", "aac", 48_000),
)  # fmt: skip


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
    rows = ((clip.path.name, clip.source, clip.speaker, wav_T) for clip, wav_T in items)
    build_store(folder, name, rows, dtype)
