"""Write a waveform into a container, in process: for arrays we made ourselves, never for a stranger's file.

Dimension key: C channels, T samples. What a player does with the result: Opus, MP3 and AAC carry their
encoder delay in the header, so decoded audio starts where the array started (see `edits` for the tolerances).
Not covered: metadata, cover art, more than two channels for MP3 and Vorbis.
"""

from dataclasses import dataclass
from io import BytesIO

import av
import numpy as np
from numpy.typing import NDArray

from audio.errors import EncodeError
from audio.resample import resample


@dataclass(frozen=True)
class _Container:
    muxer: str
    media_type: str
    codecs: tuple[str, ...]  # the first is the default


_CONTAINERS = {
    "wav": _Container("wav", "audio/wav", ("pcm_s16le", "pcm_s24le", "pcm_f32le")),
    "flac": _Container("flac", "audio/flac", ("flac",)),
    "mp3": _Container("mp3", "audio/mpeg", ("mp3",)),
    "ogg": _Container("ogg", "audio/ogg", ("opus", "vorbis")),
    "m4a": _Container("ipod", "audio/mp4", ("aac", "alac")),
}

_ENCODERS = {"mp3": "libmp3lame", "opus": "libopus"}
"""Where FFmpeg's encoder is named otherwise than the codec."""

_SAMPLE_FORMATS = {
    "pcm_s16le": "s16", "pcm_s24le": "s32", "pcm_f32le": "flt", "flac": "s16",
    "opus": "flt", "vorbis": "fltp", "mp3": "fltp", "aac": "fltp", "alac": "s16p",
}  # fmt: skip

_RATES_HZ = {
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "aac": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000),
}
"""Rates of the codecs that do not take every rate; others are resampled to the next higher one."""

_QUALITY_UNIT = 118
"""FF_QP2LAMBDA of libavutil/avutil.h: one step of quality."""


def writable_containers() -> tuple[str, ...]:
    """Names that `encode` takes as `container`."""
    return tuple(_CONTAINERS)


def media_type(container: str) -> str:
    """The media type to send with the container, such as "audio/ogg". Raises EncodeError for another name."""
    return _container(container).media_type


def encode(
    wav_CT: NDArray[np.float32],
    sample_rate_hz: int,
    container: str,
    *,
    codec: str | None = None,
    bit_rate: int | None = None,
    quality: int | None = None,
) -> bytes:
    """Encode a trusted waveform.

    Args: wav_CT float32 [C, T] or [T], nominally in [-1, 1], clipped there for integer formats; container one
    of `writable_containers()`; codec one of the container's (None: its first); bit_rate in bit/s for lossy
    codecs (None: the encoder's default); quality 1 to 10, of Vorbis alone, which knows no bit rate (1: about
    29 kbit/s, 2: 44, 3: 57 for speech).
    Returns the file. Same input, same bytes. MP3, Opus and AAC at a rate they do not know are resampled to
    the next higher one; Vorbis is always written as stereo, because FFmpeg's encoder knows nothing else.
    Raises EncodeError for a container, codec or shape that cannot be written, and for NaN or infinity.
    """
    target = _container(container)
    codec = codec or target.codecs[0]
    if codec not in target.codecs:
        raise EncodeError(f"{container} is written with one of {', '.join(target.codecs)}, not {codec}")
    wav_CT = np.atleast_2d(np.asarray(wav_CT, dtype=np.float32))
    if wav_CT.ndim != 2 or not 1 <= wav_CT.shape[0] <= 8 or wav_CT.shape[1] == 0:
        raise EncodeError(f"expected [channels, samples] with 1 to 8 channels, got shape {wav_CT.shape}")
    if not np.isfinite(wav_CT).all():
        raise EncodeError("the waveform holds NaN or infinity; nothing was written")
    if bit_rate is not None and codec == "vorbis":
        raise EncodeError("Vorbis is written by quality, not by bit rate: give quality=1 to 10")
    if quality is not None and (codec != "vorbis" or not 1 <= quality <= 10):
        raise EncodeError("quality is for Vorbis alone, from 1 to 10")
    rate_hz = _accepted_rate(codec, sample_rate_hz)
    wav_CT = resample(wav_CT, sample_rate_hz, rate_hz)
    if codec == "vorbis" and wav_CT.shape[0] == 1:
        wav_CT = np.repeat(wav_CT, 2, axis=0)
    try:
        return _mux(wav_CT, rate_hz, target.muxer, codec, bit_rate, quality)
    except (av.FFmpegError, ValueError) as exc:
        raise EncodeError(
            f"{codec} cannot be written with {wav_CT.shape[0]} channels at {rate_hz} Hz, "
            f"bit rate {bit_rate}: {exc}"
        ) from exc


def _container(name: str) -> _Container:
    try:
        return _CONTAINERS[name]
    except KeyError:
        raise EncodeError(f"can write {', '.join(_CONTAINERS)}, not {name!r}") from None


def _accepted_rate(codec: str, rate_hz: int) -> int:
    rates = _RATES_HZ.get(codec)
    if rates is None or rate_hz in rates:
        return rate_hz
    return next((accepted for accepted in rates if accepted > rate_hz), rates[-1])


def _mux(
    wav_CT: NDArray[np.float32],
    rate_hz: int,
    muxer: str,
    codec: str,
    bit_rate: int | None,
    quality: int | None,
) -> bytes:
    out = BytesIO()
    options = {"strict": "experimental"}
    if quality is not None:
        options |= {"flags": "+qscale", "global_quality": str(quality * _QUALITY_UNIT)}
    # bitexact: without it the Ogg serial number is random and two runs give different bytes.
    with av.open(out, "w", format=muxer, options={"fflags": "+bitexact"}) as media:
        encoder = _ENCODERS.get(codec, codec)
        stream = media.add_stream(encoder, rate=rate_hz, options=options)
        assert isinstance(stream, av.AudioStream)
        frame = to_frame(wav_CT, rate_hz, _SAMPLE_FORMATS[codec])
        stream.codec_context.layout = frame.layout
        stream.codec_context.format = frame.format.name
        if bit_rate is not None:
            stream.codec_context.bit_rate = bit_rate
        media.mux(stream.encode(frame))
        media.mux(stream.encode(None))
    return out.getvalue()


def to_frame(wav_CT: NDArray[np.float32], rate_hz: int, sample_format: str) -> av.AudioFrame:
    """One FFmpeg frame that holds the whole waveform in the given sample format (rounded and clipped)."""
    samples_CT: NDArray[np.generic] = wav_CT
    if sample_format.startswith("s"):
        dtype, full_scale = (np.int16, 2**15) if "16" in sample_format else (np.int32, 2**31)
        # In float64, because float32 cannot hold 2**31 - 1 and would wrap to the negative end.
        scaled_CT = np.rint(wav_CT.astype(np.float64) * full_scale)
        samples_CT = np.clip(scaled_CT, -full_scale, full_scale - 1).astype(dtype)
    planar = sample_format.endswith("p")
    data = samples_CT if planar else samples_CT.T.reshape(1, -1)
    layout = {1: "mono", 2: "stereo"}.get(wav_CT.shape[0], f"{wav_CT.shape[0]}c")
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), format=sample_format, layout=layout)
    frame.sample_rate = rate_hz
    frame.pts = 0
    return frame
