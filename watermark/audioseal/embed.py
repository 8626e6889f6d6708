"""Make the public mark of a stream, beside the speech and never later than a frame.

    state = embedder.open(message)                     16 bits
    mark_T = embedder.push(state, wav_T)               what is to be added, sample for sample
    tail_T = embedder.flush(state)                     in all, as many samples as came

The mark alone is returned: the caller adds it. The networks see whole frames, so a sample waits for the end
of its frame, at most `latency_samples`; the last frame is filled up with zeros.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from watermark.audioseal.config import HOP_SAMPLES
from watermark.audioseal.loudness import LoudnessState, follow
from watermark.audioseal.network import raw_mark
from watermark.audioseal.streaming import PartStates, StreamedNetwork
from watermark.audioseal.weights import PublicWeights
from watermark.errors import SignalError, StreamClosedError

Floats = NDArray[np.float32]


@dataclass
class SealState:
    """One stream. Lives from `open` to `flush`."""

    message_1M: torch.Tensor
    parts: PartStates
    loudness: LoudnessState
    pending_T: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    closed: bool = False


class SealEmbedder:
    """One generator for any number of streams; safe to call from several threads."""

    latency_samples = HOP_SAMPLES - 1  # 13.3 ms, the wait of a frame's first sample

    def __init__(self, weights: PublicWeights) -> None:
        self._config = weights.config
        generator = weights.generator
        self._network = StreamedNetwork(
            [generator.encoder, generator.decoder],
            lambda wav_BT, message_BM: raw_mark(generator, wav_BT, message_BM),
        )

    def open(self, message: int) -> SealState:
        """Start a stream whose mark carries `message`. Raises ValueError when it does not fit the bits."""
        bits = self._config.bits
        if not 0 <= message < 1 << bits:
            raise ValueError(f"a public message has {bits} bits, got {message}")
        message_1M = torch.tensor([[message >> (bits - 1 - i) & 1 for i in range(bits)]])
        return SealState(message_1M, self._network.open(), LoudnessState.fresh(1))

    def push(self, state: SealState, wav_T: Floats) -> Floats:
        """Take any number of 24 kHz samples, return the mark of those whose frame is complete.

        Raises SignalError for anything but finite samples in one dimension, StreamClosedError after `flush`;
        both leave the stream as it was.
        """
        if state.closed:
            raise StreamClosedError("this stream was flushed; open a new one")
        wav_T = np.asarray(wav_T, np.float32)
        if wav_T.ndim != 1 or not np.isfinite(wav_T).all():
            raise SignalError("a chunk is a one-dimensional array of finite samples")
        waiting_T = np.concatenate([state.pending_T, wav_T])
        ready = len(waiting_T) - len(waiting_T) % HOP_SAMPLES
        state.pending_T = waiting_T[ready:]
        return self._mark(state, waiting_T[:ready])

    def flush(self, state: SealState) -> Floats:
        """End the stream and return the mark of the samples that wait."""
        missing = len(state.pending_T)
        fill_T = np.zeros(-missing % HOP_SAMPLES, np.float32)
        tail_T = self.push(state, fill_T)[:missing]
        state.closed = True
        return tail_T

    def _mark(self, state: SealState, wav_T: Floats) -> Floats:
        if not len(wav_T):
            return np.zeros(0, np.float32)
        wav_1T = torch.from_numpy(wav_T)[None]
        mark_1T = self._network.push(state.parts, wav_1T, state.message_1M)
        if self._config.snr_db is not None:
            mark_1T = follow(state.loudness, wav_1T, mark_1T, self._config.snr_db)
        return mark_1T[0].numpy()
