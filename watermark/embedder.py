"""Mark speech: the one embedder that callers see, over the schemes behind it.

    embedder = Embedder.load(key=Key.load(path))
    state = embedder.open(payload=content_id)
    out = embedder.push(state, chunk); tail = embedder.flush(state)      # 24 kHz, mono
    marked = embedder.mark(wav, sample_rate, payload=content_id)         # any rate, any channels

The mark is additive: `mark` computes it once, at 24 kHz from the mean of the channels, and adds it to every
channel at the audio's own rate, so that nothing above 12 kHz and no stereo image is lost.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audio import SAMPLE_RATE_HZ, resample
from watermark import payload as payloads
from watermark.errors import SignalError
from watermark.keyed.embed import EmbedState, KeyedEmbedder
from watermark.keyed.geometry import Layout, first_row
from watermark.keys import Key

Floats = npt.NDArray[np.float32]


class Embedder:
    """Puts the keyed mark on speech. One embedder serves any number of streams; each has its own state."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._keyed = KeyedEmbedder(Layout.of(key))

    @classmethod
    def load(cls, *, key: Key) -> Embedder:
        """Return the embedder of this key. The keyed scheme has no weights to read."""
        return cls(key)

    @property
    def latency_samples(self) -> int:
        """The longest wait of a sample between `push` and its return, at 24 kHz: 479 samples, 20 ms."""
        return self._keyed.latency_samples

    def open(self, *, payload: int) -> EmbedState:
        """Start a stream that carries `payload` (48 bits, ValueError otherwise)."""
        return self._keyed.open(payloads.encode(self._key, payload), first_row(self._key, payload))

    def push(self, state: EmbedState, wav_T: Floats) -> Floats:
        """Take any number of samples (float32, 24 kHz, mono), return those that are ready.

        Raises SignalError for anything but finite samples in one dimension, and StreamClosedError after
        `flush`; both leave the stream as it was.
        """
        return self._keyed.push(state, wav_T)

    def flush(self, state: EmbedState) -> Floats:
        """End the stream and return what it held: in all, as many samples leave as came."""
        return self._keyed.flush(state)

    def mark(self, wav: Floats, sample_rate: int, *, payload: int) -> Floats:
        """Return `wav` ([T] or [C, T], float32, any rate) with the mark; same shape, same rate.

        Peaks may pass 1.0 by the mark's own level (about 26 dB below the speech); nothing is clipped here.
        Raises SignalError for samples that are not finite, or more than two dimensions.
        """
        wav = np.asarray(wav, np.float32)
        if wav.ndim not in (1, 2) or not np.isfinite(wav).all():
            raise SignalError("audio to mark is [samples] or [channels, samples], all finite")
        mono_T = wav if wav.ndim == 1 else wav.mean(axis=0)
        host_T = resample(mono_T, sample_rate, SAMPLE_RATE_HZ)
        state = self.open(payload=payload)
        marked_T = np.concatenate([self.push(state, host_T), self.flush(state)])
        mark_T = resample(marked_T - host_T, SAMPLE_RATE_HZ, sample_rate)
        T = wav.shape[-1]
        mark_T = np.pad(mark_T[:T], (0, max(0, T - len(mark_T))))
        return (wav + mark_T).astype(np.float32)
