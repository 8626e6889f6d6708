"""Fit the whitening kernel of `keyed.features`: each tile from its 24 neighbours, by least squares.

    python -m watermark.train.whitening CORPUS [--speakers 40]

Uses one clip each of speakers of the training split and prints the kernel, made symmetric in time and
frequency, with the share of variance it predicts on speakers of the validation split. The printed figures go
into `features.KERNEL` by hand: a change there changes what every detector sees.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audio import corpus
from watermark.keyed import features, geometry

Doubles = npt.NDArray[np.float64]

_REACH = 2  # tiles and bands on each side
_NEIGHBOURS = [(a, b) for a in range(-2, 3) for b in range(-2, 3) if (a, b) != (0, 0)]


def equations(wavs: Iterable[npt.NDArray[np.float32]]) -> tuple[Doubles, Doubles, float]:
    """Return the normal equations over all tiles: neighbours [24, 24], target [24], target's energy."""
    matrix, target, energy = np.zeros((24, 24)), np.zeros(24), 0.0
    for wav_T in wavs:
        tiles_FK = features.tile_mean(features.log_power(features.band_power(wav_T))).astype(np.float64)
        tiles_FK -= tiles_FK.mean()
        neighbours = np.stack([_shifted(tiles_FK, a, b) for a, b in _NEIGHBOURS])
        centre = _shifted(tiles_FK, 0, 0)
        matrix += neighbours @ neighbours.T
        target += neighbours @ centre
        energy += float(centre @ centre)
    return matrix, target, energy


def _shifted(tiles_FK: Doubles, a: int, b: int) -> Doubles:
    """Return every inner tile's neighbour `a` tiles later and `b` bands higher, flattened."""
    F, K = tiles_FK.shape
    edge, first = _REACH * geometry.TILE_FRAMES, (_REACH + a) * geometry.TILE_FRAMES
    return tiles_FK[first : first + F - 2 * edge, _REACH + b : K - _REACH + b].ravel()


def fit(wavs: Iterable[npt.NDArray[np.float32]]) -> Doubles:
    """Return the kernel [5, 5], zero in the middle, symmetric in both directions."""
    matrix, target, _ = equations(wavs)
    weights = np.linalg.solve(matrix + 1e-3 * np.trace(matrix) / len(matrix) * np.eye(len(matrix)), target)
    kernel = np.zeros((5, 5))
    for (a, b), weight in zip(_NEIGHBOURS, weights, strict=True):
        kernel[a + _REACH, b + _REACH] = weight
    return np.asarray((kernel + kernel[::-1] + kernel[:, ::-1] + kernel[::-1, ::-1]) / 4)


def explained(kernel: Doubles, wavs: Iterable[npt.NDArray[np.float32]]) -> float:
    """Return the share of the tiles' variance that the kernel predicts."""
    matrix, target, energy = equations(wavs)
    weights = np.array([kernel[a + _REACH, b + _REACH] for a, b in _NEIGHBOURS])
    return float((2 * weights @ target - weights @ matrix @ weights) / energy)


def _clips(clips: list[corpus.Clip], num_speakers: int) -> Iterator[npt.NDArray[np.float32]]:
    seen: set[tuple[str, str]] = set()
    for index in np.random.default_rng(0).permutation(len(clips)):
        clip = clips[index]
        speaker = (clip.source, clip.speaker)
        if (clip.seconds or 0) >= 8 and speaker not in seen and len(seen) < num_speakers:
            seen.add(speaker)
            yield corpus.read(clip.path)


def main() -> None:
    """Fit on the training split, judge on the validation split, print both."""
    parser = argparse.ArgumentParser(description="Fit the whitening kernel of the keyed mark.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--speakers", type=int, default=40)
    arguments = parser.parse_args()
    split = corpus.split(corpus.load(arguments.corpus))
    kernel = fit(_clips(split.train, arguments.speakers))
    share = explained(kernel, _clips(split.validation, arguments.speakers))
    table = np.array2string(kernel.round(3), separator=", ")
    sys.stdout.write(f"{table}\npredicts {share:.1%} of the variance on validation\n")


if __name__ == "__main__":
    main()
