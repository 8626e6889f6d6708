"""Detect the public mark: presence by windows of 5 s, calibrated; then whose it says it is.

The order, with the numbers used below:
(1) the audio is brought to one level, and the network hears it in blocks, as one stream: log-odds of each
    frame, and of each bit;
(2) windows of 5 s, every 2.5 s, that have a second of audible sound; none: inconclusive;
(3) the score of a window is the mean log-odds over its audible frames, its p-value from the null of the file;
(4) the best window is paid for by the number of windows; found at p <= 1e-3;
(5) windows that pass by themselves are the segments; the message is read from all of their audible frames.

Nothing secret is in it: whoever has the generator can put the mark on anything, so a message names an issuer
and proves nothing. Not covered: audio shorter than 5 s, speed or pitch changes.
Dimension key: T samples, F frames, M message bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio import SAMPLE_RATE_HZ, resample
from watermark.audioseal.config import HOP_SAMPLES
from watermark.audioseal.network import AudioSealDetector, frame_logits, message_logits, presence
from watermark.audioseal.null import PIECE_SAMPLES
from watermark.audioseal.streaming import StreamedNetwork
from watermark.audioseal.weights import PublicWeights
from watermark.errors import SignalError
from watermark.result import Detection, MarkSegment, Outcome

Floats = NDArray[np.float32]

MAX_FALSE_ALARM_PROBABILITY = 1e-3
WINDOW_FRAMES = PIECE_SAMPLES // HOP_SAMPLES
STEP_FRAMES = WINDOW_FRAMES // 2
MIN_AUDIBLE_FRAMES = 75  # 1 s
AUDIBLE_DB = 40.0  # below the loudest frame
LEVEL_RMS = 0.1
SILENCE_POWER = 1e-8  # -80 dBFS where LEVEL_RMS is -20
_BLOCK_SAMPLES = 10 * SAMPLE_RATE_HZ
_FRAME_S = HOP_SAMPLES / SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Heard:
    """What the detector says of each whole frame."""

    presence_F: Floats
    bits_MF: Floats
    power_F: Floats


@dataclass(frozen=True)
class Window:
    """A span of frames with its score and its own p-value."""

    first_frame: int
    score: float
    p: float


class Listener:
    """A detector network heard frame by frame: all that can be said before there is a null."""

    def __init__(self, detector: AudioSealDetector) -> None:
        self._network = StreamedNetwork([detector], lambda wav_BT: frame_logits(detector, wav_BT))

    def hear(self, wav_T: Floats) -> Heard:
        """Log-odds of each whole frame of 24 kHz audio, computed in blocks as one stream."""
        frames = len(wav_T) // HOP_SAMPLES
        if not frames:
            nothing_F = np.zeros(0, np.float32)
            return Heard(nothing_F, np.zeros((0, 0), np.float32), nothing_F)
        wav_1T = levelled(torch.from_numpy(wav_T[: frames * HOP_SAMPLES])[None])
        states = self._network.open()
        logits = [
            self._network.push(states, block_1T) for block_1T in torch.split(wav_1T, _BLOCK_SAMPLES, dim=1)
        ]
        power_F = wav_1T[0].reshape(frames, HOP_SAMPLES).square().mean(dim=1).numpy()
        logits_BCF = torch.cat(logits, dim=2)
        return Heard(presence(logits_BCF)[0].numpy(), message_logits(logits_BCF)[0].numpy(), power_F)

    def piece_score(self, wav_T: Floats) -> float:
        """The score of one piece of PIECE_SAMPLES, as (3) has it: what a null is made of."""
        return score(self.hear(wav_T), 0)


class PublicDetector:
    """Detects the mark of one weights file. Safe to call from several threads."""

    name = "audioseal"
    version = "1"
    max_false_alarm_probability = MAX_FALSE_ALARM_PROBABILITY

    def __init__(self, weights: PublicWeights) -> None:
        self.weights_sha256 = weights.sha256
        self.null = weights.null
        self.listener = Listener(weights.detector)

    @classmethod
    def load(cls, path: Path) -> PublicDetector:
        """Read a file of a public mark. Raises WeightsError."""
        return cls(PublicWeights.load(path))

    def detect(self, wav_T: Floats, sample_rate: int) -> Detection:
        """The evidence in `wav_T` (float32, mono, any rate). Raises SignalError as `Detector.detect`."""
        wav_T = np.asarray(wav_T, np.float32)
        if wav_T.ndim != 1 or not np.isfinite(wav_T).all():
            raise SignalError("audio to check is a one-dimensional array of finite samples")
        heard = self.listener.hear(resample(wav_T, sample_rate, SAMPLE_RATE_HZ))  # (1)
        windows = [self._window(heard, first) for first in _starts(heard)]  # (2), (3)
        if not windows:
            limit = self.null.threshold(MAX_FALSE_ALARM_PROBABILITY)
            short = len(heard.power_F) < WINDOW_FRAMES
            reason = "too short: 5 s are needed" if short else "silent: no 5 s have a second of sound"
            return Detection(Outcome.INCONCLUSIVE, 0.0, limit, 1.0, None, (), reason)
        best = max(windows, key=lambda window: window.score)
        p_false = min(1.0, best.p * len(windows))  # (4)
        limit = self.null.threshold(MAX_FALSE_ALARM_PROBABILITY / len(windows))
        if p_false > MAX_FALSE_ALARM_PROBABILITY:
            return Detection(Outcome.NOT_FOUND, best.score, limit, p_false, None)
        passed = [w for w in windows if w.p * len(windows) <= MAX_FALSE_ALARM_PROBABILITY]  # (5)
        message = heard_message(heard, [window.first_frame for window in passed])
        return Detection(Outcome.FOUND, best.score, limit, p_false, None, _segments(passed), None, message)

    def _window(self, heard: Heard, first: int) -> Window:
        value = score(heard, first)
        return Window(first, value, self.null.false_alarm_probability(value))


def levelled(wav_BT: Tensor) -> Tensor:
    """Each clip at an RMS of 0.1 over its audible frames, so that the detector knows one loudness only.

    Silence stays silent: nothing is raised by more than 60 dB. Whole frames.
    """
    B, T = wav_BT.shape
    power_BF = wav_BT.reshape(B, T // HOP_SAMPLES, HOP_SAMPLES).square().mean(dim=2)
    power_B1 = (power_BF * audible_weights(wav_BT)).sum(dim=1, keepdim=True)
    return wav_BT * (LEVEL_RMS / power_B1.clamp(min=(LEVEL_RMS / 1000.0) ** 2).sqrt())


def audible_weights(wav_BT: Tensor) -> Tensor:
    """The weight of each frame [B, F], summing to 1: equal for frames within 40 dB of the loudest, else 0."""
    B, T = wav_BT.shape
    power_BF = wav_BT.detach().reshape(B, T // HOP_SAMPLES, HOP_SAMPLES).square().mean(dim=2)
    loudest_B1 = power_BF.amax(dim=1, keepdim=True)
    audible_BF: Tensor = (power_BF >= loudest_B1 * 10.0 ** (-AUDIBLE_DB / 10.0)).float()
    return audible_BF / audible_BF.sum(dim=1, keepdim=True)


def _starts(heard: Heard) -> list[int]:
    last = len(heard.power_F) - WINDOW_FRAMES
    starts = [*range(0, last + 1, STEP_FRAMES)]
    if starts and starts[-1] != last:
        starts.append(last)  # so that no end of the audio goes unheard
    return [first for first in starts if _audible(heard, first).sum() >= MIN_AUDIBLE_FRAMES]


def _audible(heard: Heard, first: int) -> NDArray[np.bool_]:
    power_F = heard.power_F[first : first + WINDOW_FRAMES]
    audible_F: NDArray[np.bool_] = power_F >= max(
        float(power_F.max()) * 10.0 ** (-AUDIBLE_DB / 10.0), SILENCE_POWER
    )
    return audible_F


def score(heard: Heard, first: int) -> float:
    """Mean log-odds of the window's audible frames; a window without any has no score."""
    return float(heard.presence_F[first : first + WINDOW_FRAMES][_audible(heard, first)].mean())


def heard_message(heard: Heard, starts: list[int]) -> int:
    """The message as the audible frames of the windows that begin there have it; nothing verifies it."""
    use_F = np.zeros(len(heard.power_F), np.bool_)
    for first in starts:
        use_F[first : first + WINDOW_FRAMES] |= _audible(heard, first)
    message = 0
    for logit in heard.bits_MF[:, use_F].mean(axis=1):
        message = message << 1 | int(logit > 0)
    return message


def _segments(windows: list[Window]) -> tuple[MarkSegment, ...]:
    """Windows that touch are one segment, with the best of their scores."""
    segments: list[MarkSegment] = []
    for window in windows:
        start_s, end_s = window.first_frame * _FRAME_S, (window.first_frame + WINDOW_FRAMES) * _FRAME_S
        if segments and start_s <= segments[-1].end_s:
            before = segments.pop()
            segments.append(MarkSegment(before.start_s, end_s, max(before.score, window.score), None))
        else:
            segments.append(MarkSegment(start_s, end_s, window.score, None))
    return tuple(segments)
