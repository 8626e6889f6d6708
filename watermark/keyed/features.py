"""From a waveform to tile features: log band power, whitened by its neighbours, so that the host cancels.

    L[f, k]  = 0.5 * ln(power of band k in frame f + floor[f])         frames of 20 ms every 5 ms
    A[f, k]  = mean of L over the 4 frames of a tile that starts at frame f
    R[f, k]  = A[f, k] - sum_{a, b} KERNEL[a, b] * A[f + 4 a, k + b]   linear prediction from the neighbours
    V[f, k]  = reader(R / robust scale, and the power around it)       what the tile says (reader.py)

Speech is smooth in this plane, a keyed pattern of signs is not: prediction takes out the host and keeps
the mark. Log magnitude makes gain and polarity vanish. Dimension key: T samples, F frames, K bands.

A `Warp` is undone here: frames start 120 / tempo samples apart and are 480 / pitch samples long, so that the
bins of their spectra are those of the original. One sample, 0.2 %, is the finest step of the pitch.

Source: Kirovski & Malvar (2003), IEEE Trans. SP 51(4), for spread spectrum in log magnitude with cepstral
filtering; differs: two-dimensional whitening, a learned reliability. Not covered: finding the warp.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from watermark.keyed import geometry, reader
from watermark.warp import UNCHANGED, Warp

Floats = npt.NDArray[np.float32]

CLIP = 2.5  # robust scales; beyond it a tile says no more about the mark
FLOOR_DB = 60.0  # below the frame's strongest band a tile is left out: it is rounding noise in most files

# Weights of the neighbours, rows a = -2..2 tiles in time, columns b = -2..2 bands. Least squares on 40
# speakers of the training split, made symmetric: python -m watermark.train.whitening (2026-11-23).
KERNEL = np.array(
    [
        [-0.018, -0.023, 0.061, -0.023, -0.018],
        [-0.045, -0.073, 0.322, -0.073, -0.045],
        [0.124, 0.312, 0.000, 0.312, 0.124],
        [-0.045, -0.073, 0.322, -0.073, -0.045],
        [-0.018, -0.023, 0.061, -0.023, -0.018],
    ],
    np.float32,
)
_BINS_OF_BAND = range(geometry.BINS_PER_BAND)
KERNEL /= KERNEL.sum()  # a change of gain adds the same to all: now it vanishes


def frame_samples(warp: Warp = UNCHANGED) -> int:
    """Return the length of a frame, whose spectrum's bins are 50 Hz of the original apart."""
    return round(geometry.WINDOW_SAMPLES / warp.pitch)


def frame_starts(num_samples: int, warp: Warp = UNCHANGED) -> npt.NDArray[np.intp]:
    """Return the first sample of each whole frame."""
    hop = geometry.HOP_SAMPLES / warp.tempo
    last = num_samples - frame_samples(warp)
    starts = np.rint(np.arange(max(0, int(last / hop) + 2)) * hop).astype(np.intp)
    return np.asarray(starts[starts <= last], np.intp)


def band_power(wav_T: Floats, warp: Warp = UNCHANGED) -> Floats:
    """Return the power of each band in each frame [F, K]; frame f starts at sample 120 f / tempo."""
    size, starts = frame_samples(warp), frame_starts(len(wav_T), warp)
    power = np.empty((len(starts), geometry.NUM_BANDS), np.float32)
    if not len(starts):
        return power
    frames = np.lib.stride_tricks.sliding_window_view(wav_T, size)
    hann = hann_window(size)
    for first in range(0, len(starts), 2000):  # ten seconds at a time keeps the spectra in cache
        part = frames[starts[first : first + 2000]] * hann
        spectrum = torch.fft.rfft(torch.from_numpy(part)).numpy()[:, geometry.FIRST_BIN : geometry.LAST_BIN]
        energy = spectrum.real**2 + spectrum.imag**2
        # Three strided additions: a sum over an axis of three takes five times as long.
        power[first : first + len(part)] = sum(energy[:, b :: geometry.BINS_PER_BAND] for b in _BINS_OF_BAND)
    return power


def hann_window(num_samples: int) -> Floats:
    """Return the periodic Hann window."""
    return np.hanning(num_samples + 1)[:-1].astype(np.float32)


def log_power(power_FK: Floats) -> Floats:
    """Return 0.5 ln(power + floor): nepers, the unit in which a gain is an addition."""
    floor_F1 = power_floor(power_FK.max(axis=1, keepdims=True))
    return np.asarray(0.5 * np.log(power_FK + floor_F1), np.float32)


def power_floor(peak_F: Floats) -> Floats:
    """Return the floor of each frame from its strongest band's power, frames first: FLOOR_DB below it, or
    below what is 30 dB under the loud frames."""
    loud = np.percentile(peak_F, 95, axis=0) if len(peak_F) else 0.0
    return np.asarray(np.maximum(peak_F, 1e-3 * loud) * 10 ** (-FLOOR_DB / 10) + 1e-12, np.float32)


def tile_mean(plane_FK: Floats) -> Floats:
    """Return the mean over the four frames that start at each frame [F - 3, K]."""
    n = geometry.TILE_FRAMES
    sums = np.cumsum(np.vstack([np.zeros((1, plane_FK.shape[1])), plane_FK]), axis=0, dtype=np.float64)
    return ((sums[n:] - sums[:-n]) / n).astype(np.float32)


def whiten(tiles_FK: Floats) -> Floats:
    """Return each tile less its prediction from the 24 tiles around it [F, K]; edges repeat the border."""
    F, K = tiles_FK.shape
    step = geometry.TILE_FRAMES
    padded = np.pad(tiles_FK, ((2 * step, 2 * step), (2, 2)), mode="edge")
    residual = tiles_FK.copy()
    for a in range(5):
        for b in range(5):
            if KERNEL[a, b]:
                residual -= KERNEL[a, b] * padded[a * step : a * step + F, b : b + K]
    return residual


def tiles(wav_T: Floats, warp: Warp = UNCHANGED) -> tuple[Floats, Floats, Floats, npt.NDArray[np.bool_]]:
    """Return of every tile its mean power and, in robust scales, its residual [F, K]; of every row its
    largest power, and whether it is audible [F]. The audio must hold a tile."""
    power_FK = band_power(wav_T, warp)
    residual = whiten(tile_mean(log_power(power_FK)))
    power = tile_mean(power_FK)
    peak_F = power.max(axis=1)
    audible = peak_F > max(1e-8 * float(np.percentile(peak_F, 95)), 1e-12)  # 80 dB below the loud parts
    scale = 1.4826 * float(np.median(np.abs(residual[audible]))) if audible.any() else 1.0
    return power, residual / np.float32(max(scale, 1e-6)), peak_F, audible


def tile_features(wav_T: Floats, warp: Warp = UNCHANGED) -> Floats:
    """Return the features V [F, K] of a 24 kHz waveform, one row per frame at which a tile may start.

    The rows are those of the audio before `warp`: row f is at f * 5 ms / tempo. A row whose tile is silent
    is zero: it speaks neither for nor against a mark. No band leans to one side: in speech some do all the
    time, and a key whose pilots lean with them would be found in everybody, at every offset. The heavier side
    of each band is scaled down to weigh as much as the lighter one, so no tile grows, and one that says
    nothing goes on saying nothing.
    """
    if len(frame_starts(len(wav_T), warp)) < geometry.TILE_FRAMES:
        return np.zeros((0, geometry.NUM_BANDS), np.float32)
    power, residual, peak_F, audible = tiles(wav_T, warp)
    features = reader.shipped().evidence(power, residual, peak_F)
    features[~audible] = 0.0
    return _balanced(features)


def _balanced(features_FK: Floats) -> Floats:
    """Return features whose sum over each band is zero."""
    positive, negative = np.maximum(features_FK, 0), np.minimum(features_FK, 0)
    for_K, against_K = positive.sum(axis=0), -negative.sum(axis=0)
    lighter_K = np.minimum(for_K, against_K)
    tiny = np.float32(1e-9)
    return np.asarray(
        positive * (lighter_K / (for_K + tiny)) + negative * (lighter_K / (against_K + tiny)), np.float32
    )
