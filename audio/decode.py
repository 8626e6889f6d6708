"""Decode a stranger's file: never in this process, always in one short-lived child with limits.

(1) size; (2) container, from the bytes and against the allow-list; (3) WAV: structure, in pure Python;
(4) the child decodes, bounded in time, memory and output (`sandbox`); (5) samples are checked; (6) mean of
the channels, 24 kHz.

Nothing of the file stays: bytes go to the child through an anonymous file in memory. Safe to call from many
threads; each call costs one process and up to `max_decoded_bytes` here plus `address_space_bytes` there.
Dimension key: C channels, T samples.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from audio.errors import AudioFormatError, DecodeError, DecodeFailure
from audio.rates import SAMPLE_RATE_HZ
from audio.resample import resample
from audio.riff import check_wav
from audio.sandbox import DEFAULT_LIMITS, DecodeLimits, run_child
from audio.sniff import HEAD_BYTES, container_of

MAX_PEAK = 1e6
"""Louder than any scaling mistake (16-bit integers written as float reach 32768); squares stay finite."""


@dataclass(frozen=True)
class SourceInfo:
    """What was in the file. `bit_rate` in bit/s: what the file says, or its average."""

    container: str
    codec: str
    sample_rate_hz: int
    channels: int
    duration_s: float
    bit_rate: int


@dataclass(frozen=True)
class Decoded:
    """Mono float32 [T] at 24 kHz; peaks may pass 1.0."""

    wav_T: NDArray[np.float32]
    source: SourceInfo


@dataclass(frozen=True)
class NativeAudio:
    """Float32 [C, T] at the file's own rate; peaks may pass 1.0."""

    wav_CT: NDArray[np.float32]
    source: SourceInfo


def decode(source: bytes | Path, limits: DecodeLimits = DEFAULT_LIMITS) -> Decoded:
    """Decode to mono at 24 kHz: the mean of the channels, resampled, nothing clipped.

    Codec priming is cut as a player cuts it, so time 0 is what a listener hears first.
    Raises AudioFormatError or DecodeError; see `decode_native`.
    """
    native = decode_native(source, limits)
    # (6)
    mono_T = native.wav_CT.mean(axis=0, dtype=np.float32)
    return Decoded(resample(mono_T, native.source.sample_rate_hz, SAMPLE_RATE_HZ), native.source)


def decode_native(source: bytes | Path, limits: DecodeLimits = DEFAULT_LIMITS) -> NativeAudio:
    """Decode and keep rate and channels.

    Args: the file's bytes, or its path (its name is not looked at); what it may use up.
    Raises AudioFormatError for a container or codec that is not accepted, DecodeError with a `reason` for
    everything else. A compressed file that is cut off gives the audio before the cut; a WAV file is refused.
    """
    with _opened(source, limits) as file:
        container = container_of(os.pread(file.fileno(), HEAD_BYTES, 0))  # (2)
        if container == "wav":
            check_wav(file)  # (3)
        header, samples = run_child(file, container, limits)  # (4)
        file_bytes = os.fstat(file.fileno()).st_size
    whole = len(samples) - len(samples) % (4 * header.channels)
    wav_CT = np.frombuffer(samples, dtype="<f4", count=whole // 4).reshape(-1, header.channels).T
    _check_samples(wav_CT)  # (5)
    duration_s = wav_CT.shape[1] / header.sample_rate_hz
    bit_rate = header.bit_rate or round(file_bytes * 8 / duration_s)
    info = SourceInfo(container, header.codec, header.sample_rate_hz, header.channels, duration_s, bit_rate)
    return NativeAudio(np.ascontiguousarray(wav_CT, dtype=np.float32), info)


def _opened(source: bytes | Path, limits: DecodeLimits) -> BinaryIO:
    """(1) A seekable file of the right size with a descriptor that the child can inherit."""
    if isinstance(source, bytes):
        num_bytes = len(source)
        file = _in_memory(source) if 0 < num_bytes <= limits.max_input_bytes else None
    else:
        try:
            file = source.open("rb")
            num_bytes = os.fstat(file.fileno()).st_size
        except OSError as exc:
            raise AudioFormatError(f"{source} cannot be read: {exc.strerror}") from exc
    if num_bytes > limits.max_input_bytes:
        reason = DecodeFailure.TOO_LARGE
        message = f"the file has {num_bytes} bytes; at most {limits.max_input_bytes} are accepted"
    elif num_bytes == 0:
        reason, message = DecodeFailure.EMPTY, "the file is empty"
    else:
        assert file is not None
        return file
    if file is not None:
        file.close()
    raise DecodeError(reason, message)


def _in_memory(data: bytes) -> BinaryIO:
    """A file that no folder knows, to be read. Its position is shared with the child, which moves it, so
    nothing here may depend on where it stands when it is closed."""
    if sys.platform != "linux":  # an unlinked temporary file
        file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (the caller closes it)
        file.write(data)
        file.flush()
        return file
    file = cast(BinaryIO, os.fdopen(os.memfd_create("audio"), "rb"))
    try:
        with open(file.fileno(), "wb", closefd=False) as writer:
            writer.write(data)
    except BaseException:
        file.close()
        raise
    return file


def _check_samples(wav_CT: NDArray[np.float32]) -> None:
    if wav_CT.size == 0:
        raise DecodeError(DecodeFailure.EMPTY, "the file holds no samples")
    # NaN propagates through max and min, so two passes see everything without a mask of the same size.
    highest, lowest = float(wav_CT.max()), float(wav_CT.min())
    if not np.isfinite(highest - lowest):
        raise DecodeError(DecodeFailure.NOT_FINITE, "the file holds samples that are NaN or infinite")
    if max(highest, -lowest) > MAX_PEAK:
        raise DecodeError(DecodeFailure.MALFORMED, f"a sample is {max(highest, -lowest):g} times full scale")
