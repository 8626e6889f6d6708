"""Put the mark on a stream: each tile's level is raised or lowered a little, masked tiles more than others.

    gain[f, k] = exp(sign[m, k] * depth[f, k] * boost[role])

How deep a tile may go is said by the host alone (`Depth`). *Informed*: the embedder hears its own output
through the features of the plain detector and boosts the pilot, or the payload bits, that the host speaks
against (`Feedback`).

Analysis and synthesis by a square-root Hann window of 20 ms every 5 ms; a sample leaves at most
`LATENCY_SAMPLES` samples after it came. Dimension key: T samples, F frames, K bands.
Source: informed embedding after Miller, Doerr & Cox (2004), IEEE Trans. IP 13(6); differs: causal, in
log-magnitude tiles.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from watermark.errors import SignalError, StreamClosedError
from watermark.keyed import geometry
from watermark.keyed.depth import Depth
from watermark.keyed.feedback import Feedback
from watermark.keyed.geometry import HOP_SAMPLES, TILE_FRAMES, WINDOW_SAMPLES, Layout

Floats = npt.NDArray[np.float32]

LATENCY_SAMPLES = WINDOW_SAMPLES - 1  # 19.96 ms, the longest wait; 360 samples for pushes of whole hops
_LEAD = WINDOW_SAMPLES - HOP_SAMPLES  # zeros before the stream, so that its first samples are covered fully
_WINDOW = np.sqrt(np.hanning(WINDOW_SAMPLES + 1)[:-1]).astype(np.float32)
_OVERLAP_GAIN = 2.0  # four squared windows add up to 2 at every sample


@dataclass
class EmbedState:
    """One stream: what has come but not left, and where the pattern stands. Lives from `open` to `flush`."""

    signs_MK: Floats  # [128, 50] what this stream's mark shows
    feedback: Feedback
    depth: Depth = field(default_factory=Depth)
    pending_T: Floats = field(default_factory=lambda: np.zeros(_LEAD, np.float32))
    overlap_T: Floats = field(default_factory=lambda: np.zeros(_LEAD, np.float32))
    tile_power_FK: Floats = field(
        default_factory=lambda: np.full((TILE_FRAMES, geometry.NUM_BANDS), np.nan, np.float32)
    )  # of the running tile as it leaves; NaN until it is written, so that reading ahead shows
    num_frames: int = 0
    num_in: int = 0
    num_out: int = 0
    closed: bool = False


class KeyedEmbedder:
    """The keyed scheme's embedder: fixed tables of one key; every stream has a state of its own."""

    latency_samples = LATENCY_SAMPLES

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def open(self, codeword: Floats, first_row: int) -> EmbedState:
        """Start a stream whose mark carries `codeword` [256] (signs, see `payload.encode`) and begins in the
        row `first_row` of the period (0 to 127), so that marks do not all show the same at the same time."""
        layout = self._layout.starting_at(first_row)
        return EmbedState(layout.with_payload(codeword), Feedback(layout))

    def push(self, state: EmbedState, wav_T: Floats) -> Floats:
        """Take any number of 24 kHz samples, return the marked samples that are ready.

        Raises SignalError for samples that are not finite and leaves the stream as it was.
        """
        if state.closed:
            raise StreamClosedError("this stream was flushed; open a new one")
        wav_T = np.asarray(wav_T, np.float32)
        if wav_T.ndim != 1 or not np.isfinite(wav_T).all():
            raise SignalError("a chunk is a one-dimensional array of finite samples")
        state.num_in += len(wav_T)
        state.pending_T = np.concatenate([state.pending_T, wav_T])
        ready_T = self._process(state)
        # The first _LEAD samples are the zeros that stood before the stream.
        start = max(0, _LEAD - state.num_out)
        state.num_out += len(ready_T)
        return ready_T[start:]

    def flush(self, state: EmbedState) -> Floats:
        """End the stream: return the samples still held, so that as many left as came."""
        missing = state.num_in - max(0, state.num_out - _LEAD)
        num_in = state.num_in
        tail_T = self.push(state, np.zeros(missing + WINDOW_SAMPLES, np.float32))
        state.num_in, state.closed = num_in, True
        return tail_T[:missing]

    def _process(self, state: EmbedState) -> Floats:
        """Mark every whole frame that is pending; return the samples that no later frame will touch."""
        F = (len(state.pending_T) - WINDOW_SAMPLES) // HOP_SAMPLES + 1
        if F <= 0:
            return np.zeros(0, np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(state.pending_T, WINDOW_SAMPLES)[::HOP_SAMPLES][:F]
        spectrum = np.fft.rfft(frames * _WINDOW, axis=1)
        inner = spectrum[:, geometry.FIRST_BIN : geometry.LAST_BIN]
        inner *= np.repeat(self._gains(state, inner), geometry.BINS_PER_BAND, axis=1)
        marked = np.fft.irfft(spectrum, axis=1).astype(np.float32) * (_WINDOW / _OVERLAP_GAIN)
        out_T = np.zeros(F * HOP_SAMPLES + _LEAD, np.float32)
        out_T[:_LEAD] = state.overlap_T
        for f in range(F):
            out_T[f * HOP_SAMPLES : f * HOP_SAMPLES + WINDOW_SAMPLES] += marked[f]
        state.pending_T = state.pending_T[F * HOP_SAMPLES :]
        state.overlap_T = out_T[F * HOP_SAMPLES :].copy()
        return out_T[: F * HOP_SAMPLES]

    def _gains(self, state: EmbedState, spectrum: npt.NDArray[np.complexfloating]) -> Floats:
        """Return the gain of each frame and band [F, K]; advances the pattern and the feedback."""
        F = len(spectrum)
        power_FK = (spectrum.real**2 + spectrum.imag**2).reshape(F, geometry.NUM_BANDS, -1).sum(axis=2)
        depth_FK = state.depth.of(power_FK)
        gain_FK = np.empty((F, geometry.NUM_BANDS), np.float32)
        start = 0
        while start < F:  # up to the end of the tile that runs, or of the chunk
            within = state.num_frames % TILE_FRAMES
            row = state.num_frames // TILE_FRAMES % geometry.PERIOD_TILES
            stop = min(F, start + TILE_FRAMES - within)
            part = slice(start, stop)
            gain_FK[part] = np.exp(state.signs_MK[row] * depth_FK[part] * state.feedback.boost(row))
            state.tile_power_FK[within : within + stop - start] = power_FK[part] * gain_FK[part] ** 2
            state.num_frames += stop - start
            if state.num_frames % TILE_FRAMES == 0:
                state.feedback.hear(state.tile_power_FK, state.signs_MK)
            start = stop
        return gain_FK
