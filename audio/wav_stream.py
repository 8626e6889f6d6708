"""WAV as a live stream: a header that does not know the length, then 16-bit samples as they come.

    writer = WavWriter()
    writer.push(wav_T)          # bytes; the first have the header
    writer.flush()              # nothing more is needed at the end

Both sizes say "unknown" as FFmpeg writes them into a pipe, which players and our decoder take (riff.py).
`wav_header(num_samples)` is what a file begins with once its length is known. Mono, 24 kHz.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from audio.errors import EncodeError
from audio.rates import SAMPLE_RATE_HZ

HEADER_BYTES = 44
_UNKNOWN = 0xFFFFFFFF
_FULL_SCALE = 32768


def wav_header(num_samples: int | None = None) -> bytes:
    """The 44 bytes before the samples; None: of a stream whose length is not known."""
    data_bytes = _UNKNOWN if num_samples is None else 2 * num_samples
    riff_bytes = _UNKNOWN if num_samples is None else HEADER_BYTES - 8 + data_bytes
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE_HZ, 2 * SAMPLE_RATE_HZ, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE") + form + struct.pack("<4sI", b"data", data_bytes)
    )


class WavWriter:
    """One stream: samples in, bytes out at once."""

    def __init__(self) -> None:
        self.num_samples = 0
        self._begun = False

    def push(self, wav_T: NDArray[np.float32]) -> bytes:
        """Any number of finite samples, clipped to [-1, 1). Raises EncodeError for others; none are taken."""
        wav_T = np.asarray(wav_T, np.float32)
        if wav_T.ndim != 1 or not np.isfinite(wav_T).all():
            raise EncodeError("a chunk is a one-dimensional array of finite samples")
        header = b"" if self._begun else wav_header()
        self._begun = True
        self.num_samples += len(wav_T)
        scaled_T = np.clip(np.rint(wav_T * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
        return header + scaled_T.astype("<i2").tobytes()

    def flush(self) -> bytes:
        """The header of a stream without samples; else nothing."""
        return self.push(np.zeros(0, np.float32))
