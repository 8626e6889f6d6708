"""Held-out figures of a public mark: found how often, heard how little, its message read how well.

    tpr_EDIT         marked pieces of test speakers above the score that 1 % of unmarked ones pass by the null
    fpr_EDIT         unmarked pieces above it, under the same edit
    bits_EDIT        share of the message's bits that are read rightly, in marked pieces
    si_snr_db        of the marked pieces, the mean

A piece is 5 s, one of each speaker. The edits are none that training saw: it knows other bit rates
and other filters (attacks.py). Counts stand beside the rates, with Wilson's interval at 95 %.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio import corpus, edits
from watermark.audioseal.detect import PublicDetector, heard_message, score
from watermark.audioseal.embed import SealEmbedder
from watermark.audioseal.null import PIECE_SAMPLES
from watermark.audioseal.weights import PublicWeights
from watermark.train.public.calibrate import pieces

Wav = NDArray[np.float32]
EDITS = ("identity", "mp3_64k", "opus_24k", "noise_20db")
LEVEL = 0.01
PER_SPEAKER = 1


@dataclass(frozen=True)
class Counts:
    """Of one edit: pieces above the level, marked and unmarked, and bits of the message read rightly."""

    pieces: int
    found: int
    false: int
    right_bits: int
    bits: int


def held_out_figures(weights: PublicWeights, data: corpus.Split) -> dict[str, float]:
    """The figures on test speakers."""
    detector, embedder = PublicDetector(weights), SealEmbedder(weights)
    rng = np.random.default_rng(0)
    pairs: list[tuple[Wav, Wav, int]] = []
    for piece_T in pieces(data.test, PER_SPEAKER):
        message = int(rng.integers(1 << weights.config.bits))
        state = embedder.open(message)
        mark_T = np.concatenate([embedder.push(state, piece_T), embedder.flush(state)])
        pairs.append((piece_T, piece_T + mark_T, message))
    quality = [si_snr_db(marked_T, piece_T) for piece_T, marked_T, _ in pairs]
    figures = {"si_snr_db": float(np.mean(quality))}
    for edit in EDITS:
        counts = _count(detector, weights, edit, pairs)
        figures |= _rates(f"tpr_{edit}", counts.found, counts.pieces)
        figures |= _rates(f"fpr_{edit}", counts.false, counts.pieces)
        figures |= _rates(f"bits_{edit}", counts.right_bits, counts.bits)
    return figures


def si_snr_db(marked_T: Wav, speech_T: Wav) -> float:
    """Scale-invariant signal-to-noise ratio of the marked copy (Le Roux et al., 2019, eq. 2)."""
    scaled_T = speech_T * float(marked_T @ speech_T) / float(speech_T @ speech_T)
    return float(10 * np.log10(np.sum(scaled_T**2) / np.sum((marked_T - scaled_T) ** 2)))


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The interval of a share at 95 % (Wilson, 1927)."""
    z, share = 1.959964, hits / trials
    centre, scale = share + z * z / (2 * trials), 1 + z * z / trials
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return (centre - spread) / scale, (centre + spread) / scale


def _count(
    detector: PublicDetector, weights: PublicWeights, edit: str, pairs: Iterable[tuple[Wav, Wav, int]]
) -> Counts:
    limit = detector.null.threshold(LEVEL)
    found = false = right = num = 0
    for number, (piece_T, marked_T, message) in enumerate(pairs):
        heard = detector.listener.hear(_edited(marked_T, edit, number))
        found += score(heard, 0) >= limit
        false += score(detector.listener.hear(_edited(piece_T, edit, number)), 0) >= limit
        right += weights.config.bits - (heard_message(heard, [0]) ^ message).bit_count()
        num += 1
    return Counts(num, found, false, right, num * weights.config.bits)


def _edited(wav_T: Wav, edit: str, seed: int) -> Wav:
    edited_T = edits.apply(wav_T, edit, seed=seed)
    return np.pad(edited_T, (0, max(0, PIECE_SAMPLES - len(edited_T))))[:PIECE_SAMPLES]


def _rates(name: str, hits: int, trials: int) -> dict[str, float]:
    low, high = wilson(hits, trials)
    return {name: hits / trials, f"{name}_low": low, f"{name}_high": high, f"{name}_of": trials}
