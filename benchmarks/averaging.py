"""What averaging marked files tells about the carrier, for an attacker who knows the scheme but not the key.

    python -m benchmarks.averaging --data CORPUS [--files 60]

Each attacker averages what 10 s show of each file; the average is compared with the pilot at the offset where
it fits best: 1 is the pilot itself, 0 nothing. Three attackers: all streams begin in the same row of the
period (as in version 1); rows are drawn per generation (as they are); the same, but files are first aligned
with each other by correlation. Hosts are training speakers. Prints a table and writes
benchmarks/results/averaging.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio import SAMPLE_RATE_HZ, corpus
from benchmarks.report import corpus_root, table, write
from watermark import ID_BITS, Key, payload
from watermark.keyed import features
from watermark.keyed.embed import KeyedEmbedder
from watermark.keyed.geometry import PERIOD_TILES, Layout, first_row
from watermark.keyed.search import fold

Floats = npt.NDArray[np.float32]

KEY = Key(bytes(range(16)))
LAYOUT = Layout.of(KEY)
_PASSES = 3  # alignment to the average of the pass before


def hosts(root: Path, num_files: int) -> list[Floats]:
    """The first ten seconds of one clip of as many training speakers."""
    seen: set[tuple[str, str]] = set()
    wavs: list[Floats] = []
    for clip in corpus.split(corpus.load(root)).train:
        if (clip.seconds or 0) >= 10.2 and (clip.source, clip.speaker) not in seen and len(wavs) < num_files:
            seen.add((clip.source, clip.speaker))
            wavs.append(corpus.read(clip.path)[: 10 * SAMPLE_RATE_HZ])
    return wavs


def shown(host_T: Floats, content_id: int, row: int) -> Floats:
    """What a marked file shows [128, 50]: its whitened tiles, on the grid of its first sample, folded."""
    embedder = KeyedEmbedder(LAYOUT)
    state = embedder.open(payload.encode(KEY, content_id), row)
    marked_T = np.concatenate([embedder.push(state, host_T), embedder.flush(state)])
    return fold(features.tile_features(marked_T), phase=1)  # the embedder's tiles begin three frames early


def likeness(average_MK: Floats) -> float:
    """The correlation coefficient with the pilot on the pilot's tiles, best of all offsets."""
    pilots = [np.roll(LAYOUT.pilot, -row, axis=0) for row in range(PERIOD_TILES)]
    norms = [np.linalg.norm(average_MK[pilot != 0]) * np.sqrt(np.count_nonzero(pilot)) for pilot in pilots]
    return max(float((average_MK * pilot).sum() / norm) for pilot, norm in zip(pilots, norms, strict=True))


def turned(planes: Floats) -> Floats:
    """Return the planes [N, 128, 50], each turned to where it fits the sum of the pass before."""
    spectra = np.fft.rfft(planes, axis=1)
    total: Floats = planes[0]
    for _ in range(_PASSES):
        products = np.conj(spectra) * np.fft.rfft(total, axis=0)
        rows = np.fft.irfft(products.sum(axis=2), PERIOD_TILES, axis=1).argmax(axis=1)
        fitted = np.stack([np.roll(plane, row, axis=0) for plane, row in zip(planes, rows, strict=True)])
        total = np.asarray(fitted.sum(axis=0), np.float32)
    return fitted


def main() -> None:
    """Average, compare, print, write."""
    parser = argparse.ArgumentParser(description="Average marked files and look for the carrier.")
    parser.add_argument("--data", type=Path, help="corpus folder; default: EARMARK_CORPUS")
    parser.add_argument("--files", type=int, default=60)
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    same, drawn = [], []
    for host_T in hosts(corpus_root(arguments.data), arguments.files):
        content_id = int(rng.integers(1 << ID_BITS))
        same.append(shown(host_T, content_id, 0))
        drawn.append(shown(host_T, content_id, first_row(KEY, content_id)))
    counts = [n for n in (1, 5, 20, 60, 100) if n <= len(drawn)]
    rows = {
        "same row for all": [likeness(np.sum(same[:n], axis=0)) for n in counts],
        "row drawn for each": [likeness(np.sum(drawn[:n], axis=0)) for n in counts],
        "row drawn for each, files aligned": [
            likeness(turned(np.stack(drawn[:n])).sum(axis=0)) for n in counts
        ],
    }
    cells = [[name, *(f"{value:.2f}" for value in values)] for name, values in rows.items()]
    print(table(["likeness of the average to the pilot", *(f"{n} files" for n in counts)], cells), flush=True)
    print("\nwritten:", write("averaging", {"files": counts, "likeness": rows}))


if __name__ == "__main__":
    main()
