"""Clips of speech to train the public mark on: of the training speakers of `audio.corpus.split` alone.

Dimension key: B clips, T samples.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio import corpus
from audio.store import Recording, Store, Wav, build_store
from watermark.train.public.calibrate import says_something

_DRAWS = 8


class Clips:
    """The corpus, decoded once into `cache` (170 MB for an hour). Raises CorpusError."""

    def __init__(self, data: Path, cache: Path) -> None:
        clips = corpus.load(data)
        build_store(cache, "speech", _decoded(clips))
        self._store = Store(cache, "speech")
        names = {clip.path.name for clip in corpus.split(clips).train}
        self.train: dict[str, list[Recording]] = {}
        for row in self._store.recordings:
            if row.file in names:
                self.train.setdefault(row.source, []).append(row)

    def draw(self, num: int, samples: int, rng: np.random.Generator) -> Tensor:
        """[B, T], evenly from the sources, each clip at a level of its own: -12 to +3 dB."""
        clips_BT = np.stack([self._draw(samples, rng) for _ in range(num)])
        gain_B1 = 10.0 ** (rng.uniform(-12.0, 3.0, (num, 1)) / 20.0)
        return torch.from_numpy(np.clip(clips_BT * gain_B1, -1.0, 1.0).astype(np.float32))

    def _draw(self, samples: int, rng: np.random.Generator) -> Wav:
        for _ in range(_DRAWS):
            rows = self.train[sorted(self.train)[int(rng.integers(len(self.train)))]]
            row = rows[int(rng.integers(len(rows)))]
            start = int(rng.integers(max(1, row.length - samples + 1)))
            wav_T = self._store.read(row.start + start, min(samples, row.length - start))
            if says_something(wav_T):
                break
        return np.pad(wav_T, (0, samples - len(wav_T)))


def _decoded(clips: list[corpus.Clip]) -> Iterator[tuple[str, str, str, Wav]]:
    for clip in clips:
        yield clip.path.name, clip.source, clip.speaker, corpus.read(clip.path)
