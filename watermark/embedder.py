"""Mark speech: the one embedder that callers see, over the schemes behind it.

    embedder = Embedder.load(key=Key.load(path), public_weights=None)    # a path: the public mark, too
    state = embedder.open(payload=content_id)
    out = embedder.push(state, chunk); tail = embedder.flush(state)      # 24 kHz, mono
    marked = embedder.mark(wav, sample_rate, payload=content_id)         # any rate, any channels

The mark is additive: `mark` computes it once, at 24 kHz from the mean of the channels, and adds it to every
channel at the audio's own rate, so that nothing above 12 kHz and no stereo image is lost. With two schemes
each hears the unmarked speech, side by side, and both marks are added: neither waits for the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audio import SAMPLE_RATE_HZ, resample
from watermark import payload as payloads
from watermark.detector import load_public
from watermark.errors import SignalError
from watermark.keyed.embed import EmbedState as KeyedState
from watermark.keyed.embed import KeyedEmbedder
from watermark.keyed.geometry import Layout, first_row
from watermark.keys import Key

if TYPE_CHECKING:
    from watermark.audioseal.embed import SealEmbedder, SealState
    from watermark.audioseal.weights import PublicWeights

Floats = npt.NDArray[np.float32]

_PIECE_SAMPLES = 10 * SAMPLE_RATE_HZ  # of a file at once: the spectra of ten minutes take 1.2 GB


def _nothing() -> Floats:
    return np.zeros(0, np.float32)


@dataclass
class EmbedState:
    """One stream: a state of each scheme, and what one of them has ready before the other."""

    keyed: KeyedState
    public: SealState | None
    speech_T: Floats = field(default_factory=_nothing)  # with the keyed mark
    mark_T: Floats = field(default_factory=_nothing)  # the public mark alone


class Embedder:
    """Puts the marks on speech. One embedder serves any number of streams; each has its own state."""

    def __init__(self, key: Key, public: PublicWeights | None = None) -> None:
        self._key = key
        self._keyed = KeyedEmbedder(Layout.of(key))
        self._public: SealEmbedder | None = None
        if public is not None:
            from watermark.audioseal.embed import SealEmbedder

            self._public = SealEmbedder(public)

    @classmethod
    def load(cls, *, key: Key, public_weights: Path | None = None) -> Embedder:
        """Return the embedder of this key, and of the public mark in this file. Raises WeightsError."""
        return cls(key, load_public(public_weights))

    @property
    def latency_samples(self) -> int:
        """The longest wait of a sample between `push` and its return, at 24 kHz: 479 samples, 20 ms."""
        public = self._public.latency_samples if self._public else 0
        return max(self._keyed.latency_samples, public)

    def open(self, *, payload: int) -> EmbedState:
        """Start a stream that carries `payload` (48 bits, ValueError otherwise)."""
        keyed = self._keyed.open(payloads.encode(self._key, payload), first_row(self._key, payload))
        return EmbedState(keyed, self._public.open(self._key.issuer) if self._public else None)

    def push(self, state: EmbedState, wav_T: Floats) -> Floats:
        """Take any number of samples (float32, 24 kHz, mono), return those that are ready.

        Raises SignalError for anything but finite samples in one dimension, and StreamClosedError after
        `flush`; both leave the stream as it was.
        """
        speech_T = self._keyed.push(state.keyed, wav_T)
        if self._public is None or state.public is None:
            return speech_T
        return _added(state, speech_T, self._public.push(state.public, wav_T))

    def flush(self, state: EmbedState) -> Floats:
        """End the stream and return what it held: in all, as many samples leave as came."""
        speech_T = self._keyed.flush(state.keyed)
        if self._public is None or state.public is None:
            return speech_T
        return _added(state, speech_T, self._public.flush(state.public))

    def mark(self, wav: Floats, sample_rate: int, *, payload: int) -> Floats:
        """Return `wav` ([T] or [C, T], float32, any rate) with the mark; same shape, same rate.

        Not checked: channels that cancel each other in their mean get no mark.
        Peaks may pass 1.0 by the mark's own level (about 26 dB below the speech); nothing is clipped here.
        Raises SignalError for samples that are not finite, or more than two dimensions.
        """
        wav = np.asarray(wav, np.float32)
        if wav.ndim not in (1, 2) or not np.isfinite(wav).all():
            raise SignalError("audio to mark is [samples] or [channels, samples], all finite")
        mono_T = wav if wav.ndim == 1 else wav.mean(axis=0)
        host_T = resample(mono_T, sample_rate, SAMPLE_RATE_HZ)
        state = self.open(payload=payload)
        firsts = range(0, len(host_T), _PIECE_SAMPLES)
        pieces = [self.push(state, host_T[first : first + _PIECE_SAMPLES]) for first in firsts]
        marked_T = np.concatenate([*pieces, self.flush(state)])
        mark_T = resample(marked_T - host_T, SAMPLE_RATE_HZ, sample_rate)
        T = wav.shape[-1]
        mark_T = np.pad(mark_T[:T], (0, max(0, T - len(mark_T))))
        return (wav + mark_T).astype(np.float32)


def _added(state: EmbedState, speech_T: Floats, mark_T: Floats) -> Floats:
    """The samples that both schemes have; the rest stays in the state."""
    state.speech_T = np.concatenate([state.speech_T, speech_T])
    state.mark_T = np.concatenate([state.mark_T, mark_T])
    ready = min(len(state.speech_T), len(state.mark_T))
    out_T = state.speech_T[:ready] + state.mark_T[:ready]
    state.speech_T, state.mark_T = state.speech_T[ready:], state.mark_T[ready:]
    return out_T
