"""The registries that the benchmark asks: the whole corpus, and the same without test speakers, both grown.

Distractors make a registry as large as wanted without audio: each has the mean of a real recording's windows,
and around it, window after window, a Gaussian AR(1) walk with the covariance and the correlation of the real
ones' windows around their means; and the signs of some real recording. `likeness` says how close the result
is to the real thing.

Dimension key: N windows, D embedding width.
Source: the idea after Synthetic Latent Fingerprints (arXiv 2509.18620); differs: Gaussian, by recording.
"""

import time
import uuid
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, corpus
from registry.changelog import GenerationCodes
from registry.fingerprint.network import EMBEDDING_WIDTH
from registry.fingerprint.train.gallery import Gallery
from registry.fingerprint.windows import Fingerprinter
from registry.index.window_index import unit
from registry.packing import quantised

_WINDOWS_EACH = 20  # of a distractor: 10 s
_BATCH = 2_000


@dataclass(frozen=True)
class Registered:
    """`full` holds every clip, `strangers` all but those of test speakers; `numbers` are those in `full`."""

    full: Gallery
    strangers: Gallery
    numbers: dict[Path, int]
    hours: float
    num_real_windows: int
    times_real_time: float  # audio seconds registered for each second of processor time


def fill(parts: corpus.Split, fingerprinter: Fingerprinter, pool: Executor, num_windows: int) -> Registered:
    """Register the corpus, then distractors until each registry has `num_windows`."""
    full, strangers = Gallery(fingerprinter), Gallery(fingerprinter)
    numbers: dict[Path, int] = {}
    samples, spent_s = 0, 0.0
    tested = {clip.path for clip in parts.test}
    clips = [*parts.train, *parts.validation, *parts.test]
    decoded = pool.map(corpus.read, [clip.path for clip in clips], chunksize=8)
    for clip, wav_T in zip(clips, decoded, strict=True):
        started = time.process_time()
        numbers[clip.path] = full.add(wav_T)
        spent_s += time.process_time() - started
        samples += len(wav_T)
        if clip.path not in tested:
            strangers.add_codes(full.codes[numbers[clip.path]])
    num_real = full.index.num_windows
    grow([full, strangers], num_windows)
    hours = samples / SAMPLE_RATE_HZ / 3600
    return Registered(full, strangers, numbers, hours, num_real, 3600 * hours / spent_s)


def grow(galleries: list[Gallery], num_windows: int, seed: int = 5) -> None:
    """Add the same distractors to each gallery until it has `num_windows`."""
    real = [unit(codes.codes_ND[codes.informative_N]) for codes in galleries[0].codes.values()]
    real = [emb_ND for emb_ND in real if len(emb_ND) >= 2]
    signs_NB = np.concatenate([codes.signs_NB for codes in galleries[0].codes.values()])
    rng = np.random.default_rng(seed)
    while (missing := num_windows - min(gallery.index.num_windows for gallery in galleries)) > 0:
        count = min(_BATCH, -(-missing // _WINDOWS_EACH))
        for codes_ND in _distractors(real, count, rng):
            N = len(codes_ND)
            start = int(rng.integers(max(1, len(signs_NB) - N)))
            signs = np.resize(signs_NB[start : start + N], (N, signs_NB.shape[1]))
            row = GenerationCodes(0, uuid.UUID(int=0), codes_ND, signs, np.ones(N, np.bool_))
            for gallery in galleries:
                if gallery.index.num_windows < num_windows:
                    gallery.add_codes(row)


def likeness(gallery: Gallery, num_real: int, num_rows: int = 2_000) -> dict[str, float]:
    """d_eff and the 99.99 % quantile of cosines, of real windows with real ones and with distractors."""
    rng = np.random.default_rng(6)
    codes = np.concatenate([one.codes_ND[one.informative_N] for one in gallery.codes.values()])
    real_ND = unit(codes[rng.permutation(num_real)[:num_rows]])
    made_ND = unit(codes[num_real + rng.permutation(len(codes) - num_real)[:num_rows]])
    among = (real_ND @ real_ND.T)[~np.eye(len(real_ND), dtype=bool)]
    across = (real_ND @ made_ND.T).ravel()
    return {
        "d_eff real": float(1.0 / among.var()),
        "q99.99 real": float(np.quantile(among, 0.9999)),
        **(
            {"d_eff made": float(1.0 / across.var()), "q99.99 made": float(np.quantile(across, 0.9999))}
            if len(across)
            else {}
        ),
    }


def _distractors(
    real: list[NDArray[np.float32]], count: int, rng: np.random.Generator
) -> list[NDArray[np.int8]]:
    chosen = [real[index] for index in rng.integers(len(real), size=min(count, 500))]
    residual_ND = np.concatenate([emb_ND - emb_ND.mean(axis=0) for emb_ND in chosen])
    ahead = np.concatenate([emb_ND[1:] - emb_ND.mean(axis=0) for emb_ND in chosen])
    behind = np.concatenate([emb_ND[:-1] - emb_ND.mean(axis=0) for emb_ND in chosen])
    persistence = float((ahead * behind).sum() / (behind**2).sum())
    covariance_DD = residual_ND.T @ residual_ND / len(residual_ND)
    root_DD = np.linalg.cholesky(covariance_DD + 1e-6 * np.eye(EMBEDDING_WIDTH)).astype(np.float32)
    noise = rng.standard_normal((count, _WINDOWS_EACH, EMBEDDING_WIDTH)).astype(np.float32) @ root_DD.T
    walk = np.empty_like(noise)
    walk[:, 0] = noise[:, 0]
    for step in range(1, _WINDOWS_EACH):
        walk[:, step] = persistence * walk[:, step - 1] + np.sqrt(1.0 - persistence**2) * noise[:, step]
    means_CD = np.stack([real[index].mean(axis=0) for index in rng.integers(len(real), size=count)])
    made = means_CD[:, None] + walk
    return [quantised(emb_ND) for emb_ND in made]
