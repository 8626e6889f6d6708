"""Turn one media file into float32 samples: the loop around FFmpeg, and the sandboxed program that runs it.

Run as a program it is the short-lived child of `audio.decode`: media on stdin, on stdout one line of JSON
(`StreamHeader`), then interleaved little-endian float32 until the end; the exit status is an `Exit`, with
one sentence on stderr. Imported, `read_samples` is the same loop for *trusted* files in process.

This file imports nothing but the standard library and PyAV, so that the child starts fast: it runs with
`python -I -S` and is told where PyAV lies.
"""

import json
import sys
from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    import av

DEMUXERS = {"wav": "wav", "flac": "flac", "mp3": "mp3", "ogg": "ogg", "m4a": "mov"}
"""Our name of a container to the FFmpeg demuxer that is forced for it: FFmpeg itself never probes."""

CODECS = {
    "wav": {"pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le"},
    "flac": {"flac"},
    "mp3": {"mp3", "mp3float"},
    "ogg": {"opus", "vorbis", "libopus"},
    "m4a": {"aac", "alac"},
}
"""Codecs accepted in each container, as FFmpeg names its decoders."""

MIN_RATE_HZ, MAX_RATE_HZ, MAX_CHANNELS = 8_000, 192_000, 8


class Exit(IntEnum):
    """Exit statuses of the child. Python itself uses 1 and 2."""

    OK = 0
    MALFORMED = 10
    UNSUPPORTED_CODEC = 11
    UNSUPPORTED_LAYOUT = 12
    OUT_OF_MEMORY = 13
    EMPTY = 14


class StreamHeader(NamedTuple):
    """What the file says of itself; the child's first line of output, as a JSON list in this order."""

    codec: str
    sample_rate_hz: int
    channels: int
    bit_rate: int | None


class RefusedError(Exception):
    """The file gives no audio; `exit_status` says why."""

    def __init__(self, exit_status: Exit, message: str) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def read_samples(file: BinaryIO, container: str) -> Iterator[tuple["StreamHeader", bytes]]:
    """Decode the first audio stream of a seekable file, a few thousand samples at a time.

    Yields (header, interleaved float32 bytes); the header is the same for all. Encoder priming and padding
    are cut as a player cuts them (Opus pre-skip, LAME header, MP4 edit list). Peaks above 1.0 are kept.
    Raises RefusedError, or an FFmpeg error (av.FFmpegError, ValueError, MemoryError) for what FFmpeg refuses.
    """
    import av

    with av.open(file, "r", format=DEMUXERS[container], metadata_errors="replace") as media:
        if not media.streams.audio:
            raise RefusedError(Exit.EMPTY, "the file has no audio track")
        stream = media.streams.audio[0]
        header = _header(stream, container)
        stream.codec_context.thread_count = 1  # a pool of threads would multiply what one file can take
        to_float = av.AudioResampler(format="flt")
        num_frames = 0
        for packet in media.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                if num_frames == 0:
                    raise  # not audio with a scratch: not audio
                continue  # a damaged packet in the middle is skipped, as players do
            for frame in frames:
                if (frame.sample_rate, frame.layout.nb_channels) != (header.sample_rate_hz, header.channels):
                    raise RefusedError(Exit.UNSUPPORTED_LAYOUT, "rate or channels change inside the file")
                num_frames += 1
                for out in to_float.resample(frame):
                    yield header, bytes(out.planes[0])[: out.samples * header.channels * 4]


def _header(stream: "av.AudioStream", container: str) -> "StreamHeader":
    context = stream.codec_context
    if context is None or context.name not in CODECS[container]:
        name = "unknown" if context is None else context.name
        raise RefusedError(Exit.UNSUPPORTED_CODEC, f"codec {name} in {container}")
    rate_hz, channels = context.sample_rate, context.channels
    if not (MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ and 1 <= channels <= MAX_CHANNELS):
        raise RefusedError(Exit.UNSUPPORTED_LAYOUT, f"{channels} channels at {rate_hz} Hz")
    return StreamHeader(context.codec.canonical_name, rate_hz, channels, stream.bit_rate or None)
