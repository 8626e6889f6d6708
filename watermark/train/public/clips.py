"""Clips of speech to train the public mark on, and pieces of held-out speech to judge it by.

By `audio.corpus.split`: clips to train on from its training speakers; the null of a weights file from
validation speakers, the report from test speakers. Dimension key: B clips, T samples.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio import corpus
from audio.store import Recording, Store, Wav, build_store

_QUIET = 0.004  # RMS; -48 dBFS: a clip that says nothing carries no mark
_DRAWS = 8


class Clips:
    """The corpus, decoded once into `cache` (170 MB for an hour). Raises CorpusError."""

    def __init__(self, data: Path, cache: Path) -> None:
        clips = corpus.load(data)
        build_store(cache, "speech", _decoded(clips))
        self._store = Store(cache, "speech")
        parts = corpus.split(clips)
        self.train: dict[str, list[Recording]] = {}
        for row in self._rows(parts.train):
            self.train.setdefault(row.source, []).append(row)
        self.validation, self.test = self._rows(parts.validation), self._rows(parts.test)

    def draw(self, num: int, samples: int, rng: np.random.Generator) -> Tensor:
        """[B, T], evenly from the sources, each clip at a level of its own: -12 to +3 dB."""
        clips_BT = np.stack([self._draw(samples, rng) for _ in range(num)])
        gain_B1 = 10.0 ** (rng.uniform(-12.0, 3.0, (num, 1)) / 20.0)
        return torch.from_numpy(np.clip(clips_BT * gain_B1, -1.0, 1.0).astype(np.float32))

    def pieces(self, rows: list[Recording], samples: int, per_speaker: int) -> Iterator[Wav]:
        """Pieces that say something, one after the other, at most so many of each speaker."""
        taken: dict[tuple[str, str], int] = {}
        for row in rows:
            speaker = (row.source, row.speaker)
            for start in range(0, row.length - samples + 1, samples):
                if taken.get(speaker, 0) >= per_speaker:
                    break
                wav_T = self._store.read(row.start + start, samples)
                if _says_something(wav_T):
                    taken[speaker] = taken.get(speaker, 0) + 1
                    yield wav_T

    def _rows(self, clips: list[corpus.Clip]) -> list[Recording]:
        names = {clip.path.name for clip in clips}
        return [row for row in self._store.recordings if row.file in names]

    def _draw(self, samples: int, rng: np.random.Generator) -> Wav:
        for _ in range(_DRAWS):
            rows = self.train[sorted(self.train)[int(rng.integers(len(self.train)))]]
            row = rows[int(rng.integers(len(rows)))]
            start = int(rng.integers(max(1, row.length - samples + 1)))
            wav_T = self._store.read(row.start + start, min(samples, row.length - start))
            if _says_something(wav_T):
                break
        return np.pad(wav_T, (0, samples - len(wav_T)))


def _says_something(wav_T: Wav) -> bool:
    return bool(np.sqrt(np.mean(wav_T**2)) > _QUIET)


def _decoded(clips: list[corpus.Clip]) -> Iterator[tuple[str, str, str, Wav]]:
    for clip in clips:
        yield clip.path.name, clip.source, clip.speaker, corpus.read(clip.path)
