"""Fit the null distribution of match scores on speech that is not what it is compared with, length by length.

    log(-log(1 - p)) = log K + log N - lambda S      fitted to the upper tail of the best scores of negatives

A negative is a piece of speech, untouched or damaged, against a gallery from which its own recording is
hidden; the same voice stays in, since "this voice, but not this utterance" is the question the registry will
meet most. Clips of isolated words that everybody says in the same order, once a second, are no negatives:
they are near-duplicates, and so are readings of one sentence; benchmarks/fingerprint reports both by
themselves. That the chance grows with N is assumed here, which is too careful where a larger registry has
more strangers and no more of the voice that asks; the benchmark counts what it comes to with a registry forty
times as large.

Fitted to people. Synthesizers and our own small voice are held against it, and what they come to is reported:
both say a phrase that two sentences have in common to the same sound, or nearly, and a tail through a few
such pairs says nothing of all else.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, corpus, edits
from audio.store import Wav
from registry.fingerprint.train import respoken
from registry.fingerprint.train.gallery import Gallery, Pieces
from registry.fingerprint.windows import Fingerprinter
from registry.null import Null

LENGTHS_S = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0)
DAMAGE = ("identity", "noise_10db", "telephone_band", "mp3_32k", "opus_8k", "reverb_0.5s_0db")
REPEATED_WORDS = frozenset({"arabiccmd"})  # isolated words in the same order, once a second
_MAX_SECONDS = 30
_STEP = 0.75  # of a piece's length, from one to the next
# Share of the best scores that the line is fitted to: the tail is heavier than the body.
_TAIL = 0.05
_LEVELS = (0.1, 0.01, 1e-3, 1e-4)
NUM_SENTENCES = 200  # of each synthetic voice


class Spoken(NamedTuple):
    """A recording, and what it is called."""

    name: str
    wav_T: Wav


@dataclass(frozen=True)
class Negatives:
    """Of pieces of one length: best scores, log of the gallery's windows, and the query's windows."""

    scores: NDArray[np.float64]
    log_size: NDArray[np.float64]
    query_windows: NDArray[np.float64]


def run(
    data: Path,
    out: Path,
    fingerprinter: Fingerprinter,
    report: Callable[[str], None],
    ours: Sequence[Wav] = (),
) -> Null:
    """Fit on validation speakers, hold synthesizers and `ours` against it, what our own model says (no two
    alike); write `out` (JSON) and return the null. Ten minutes on one core."""
    parts = corpus.split(corpus.load(data))
    people = [clip for clip in parts.validation if clip.source not in REPEATED_WORDS]
    gallery = Gallery(fingerprinter)
    own = {one.name: gallery.add(one.wav_T) for one in _read(parts.train[::3] + parts.validation)}
    made = {
        "synthesizers": [
            Spoken(one.text, one.wav_T)
            for one in respoken.speak(data, "validation", NUM_SENTENCES)
            if one.rate == 1.0
        ],
        "ours": [Spoken(f"ours/{number}", wav_T) for number, wav_T in enumerate(ours)],
    }
    own |= {one.name: gallery.add(one.wav_T) for kind in made.values() for one in kind}
    report(f"a gallery of {gallery.index.num_windows} windows")
    negatives = collect(_read(people), gallery, own)
    null = fit(negatives, fingerprinter.weights_sha256)
    checks = {f"{p:g}": observed(null, negatives, p) for p in _LEVELS}
    report(f"windows {null.windows} decays {null.decays} log_ks {null.log_ks}; share below p: {checks}")
    for name, kind in made.items():
        others = collect(kind, gallery, own)
        shares = {f"{p:g}": observed(null, others, p) for p in _LEVELS if others}
        report(f"{name}: {sum(len(one.scores) for one in others.values())} pieces, share below p: {shares}")
    out.write_text(json.dumps({**asdict(null), "share_below_p": checks}, indent=1) + "\n")
    return null


def collect(queried: Iterable[Spoken], gallery: Gallery, own: dict[str, int]) -> dict[float, Negatives]:
    """Best scores of pieces of `queried`, by length, where the recording itself is hidden."""
    rows: dict[float, list[tuple[float, float, float]]] = {seconds: [] for seconds in LENGTHS_S}
    log_size = float(np.log(gallery.index.num_windows))
    for number, one in enumerate(queried):
        damaged_T = edits.apply(one.wav_T, DAMAGE[number % len(DAMAGE)], seed=number)
        if len(damaged_T) < SAMPLE_RATE_HZ:
            continue
        pieces = Pieces(damaged_T[: _MAX_SECONDS * SAMPLE_RATE_HZ], gallery.fingerprinter)
        for seconds in LENGTHS_S:
            for start in pieces.starts(seconds, max(1.0, _STEP * seconds)):
                query = pieces.cut(start, seconds)
                found = gallery.best(query, [own[one.name]])
                rows[seconds].append((found.score if found else 0.0, log_size, query.num_windows))
    return {
        seconds: Negatives(*np.array(values).T) for seconds, values in rows.items() if len(values) > 1 / _TAIL
    }


def fit(negatives: dict[float, Negatives], weights_sha256: str) -> Null:
    """An exponential tail for each length. Raises ValueError when there are too few negatives to have one."""
    if not negatives:
        raise ValueError("too few negatives for a null distribution: the validation part is too small")
    tails = [_tail(one) for one in negatives.values()]
    windows = tuple(float(np.quantile(one.query_windows, 0.9)) for one in negatives.values())
    num_negatives = sum(len(one.scores) for one in negatives.values())
    decays, log_ks = zip(*tails, strict=True)
    return Null(windows, decays, log_ks, num_negatives, weights_sha256)


def _tail(negatives: Negatives) -> tuple[float, float]:
    """lambda and log K: maximum likelihood in S - log N / lambda, lambda by fixed-point iteration."""
    decay = 10.0
    for _ in range(60):
        reduced = negatives.scores - negatives.log_size / decay
        border = float(np.quantile(reduced, 1.0 - _TAIL))
        excess = reduced[reduced > border] - border
        decay = 0.5 * decay + 0.5 / max(float(excess.mean()), 1e-3)
    # P(reduced > border) = _TAIL = 1 - exp(-K exp(-lambda border))
    return decay, float(np.log(-np.log1p(-_TAIL)) + decay * border)


def observed(null: Null, negatives: dict[float, Negatives], probability: float) -> float:
    """The share of negatives that get a smaller p; at most `probability` when the null is right."""
    below = [
        null.false_alarm_probability(score, windows, round(np.exp(log_size))) < probability
        for one in negatives.values()
        for score, log_size, windows in zip(one.scores, one.log_size, one.query_windows, strict=True)
    ]
    return float(np.mean(below))


def _read(clips: list[corpus.Clip]) -> Iterator[Spoken]:
    return (Spoken(clip.path.name, corpus.read(clip.path)) for clip in clips)
