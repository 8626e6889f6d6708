"""Clips of test speakers, and the same with the mark of a key that is public: a benchmark must repeat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio import SAMPLE_RATE_HZ, corpus
from watermark import ID_BITS, Embedder, Key

Floats = npt.NDArray[np.float32]

CLIP_SAMPLES = 10 * SAMPLE_RATE_HZ
KEY = Key(bytes(range(16)))


@dataclass(frozen=True)
class Marked:
    """A clip before and after, and what the mark carries."""

    host_T: Floats
    marked_T: Floats
    content_id: int


def clips(root: Path, num_speakers: int) -> Iterator[Floats]:
    """Yield the first ten seconds of one clip from each test speaker, in a fixed random order."""
    test = corpus.split(corpus.load(root)).test
    seen: set[tuple[str, str]] = set()
    for index in np.random.default_rng(7).permutation(len(test)):
        clip = test[index]
        if len(seen) == num_speakers:
            return
        if (clip.seconds or 0) >= 10.2 and (clip.source, clip.speaker) not in seen:
            seen.add((clip.source, clip.speaker))
            yield corpus.read(clip.path)[:CLIP_SAMPLES]


def mark_all(hosts: list[Floats]) -> list[Marked]:
    """Mark each clip with a random content id."""
    embedder, rng = Embedder.load(key=KEY), np.random.default_rng(1)
    content_ids = [int(rng.integers(1 << ID_BITS)) for _ in hosts]
    pairs = zip(hosts, content_ids, strict=True)
    return [Marked(host, embedder.mark(host, SAMPLE_RATE_HZ, payload=n), n) for host, n in pairs]
