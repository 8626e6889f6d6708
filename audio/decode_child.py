"""Turn media into float32 samples: the loops around FFmpeg, and the sandboxed child that runs them.

`run` is the short-lived child of `audio.decode`: media on stdin, on stdout one line of JSON (`StreamHeader`),
then interleaved little-endian float32 until the end; the exit status is an `Exit`, with one sentence on
stderr. `read_samples` is the same loop for *trusted* files in process.

Asked for OPUS_PACKETS it is the child of `audio.opus_decoder`: READY, then for each packet on stdin (a
little-endian u32 length and its bytes) one answer on stdout: a u32 length and mono float32 at 24 kHz.

What the child cannot do: gain privileges, be looked into by another one, use the network (an empty network
namespace where the kernel allows one; these three from `prepare` on), write core dumps or files, use more
memory or processor time than told, start processes (unless it is root), open any file or socket at all.

This file imports nothing but the standard library and PyAV; `audio.fork_server` loads it and forks.
"""

import ctypes
import json
import os
import resource
import sys
from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, NoReturn

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

OPUS_PACKETS = "opus-packets"
"""In the place of a container: decode a stream packet by packet until stdin ends."""

READY = 0xFFFFFFFF
"""The first word of that child, a length that no answer has."""

STREAM_RATE_HZ = 24_000  # as audio.rates, which this program cannot import


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


def read_samples(file: BinaryIO, container: str) -> Iterator[tuple[StreamHeader, bytes]]:
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


def _header(stream: "av.AudioStream", container: str) -> StreamHeader:
    context = stream.codec_context
    if context is None or context.name not in CODECS[container]:
        name = "unknown" if context is None else context.name
        raise RefusedError(Exit.UNSUPPORTED_CODEC, f"codec {name} in {container}")
    rate_hz, channels = context.sample_rate, context.channels
    if not (MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ and 1 <= channels <= MAX_CHANNELS):
        raise RefusedError(Exit.UNSUPPORTED_LAYOUT, f"{channels} channels at {rate_hz} Hz")
    return StreamHeader(context.codec.canonical_name, rate_hz, channels, stream.bit_rate or None)


def prepare(packages: str) -> None:
    """Once in the fork server, before the first child: import FFmpeg from `packages`, and give up what no
    child needs."""
    sys.path.append(packages)
    import av
    import av.subtitles.stream  # PyAV imports it when it opens a file, and by then no file can be opened

    av.logging.set_level(None)
    if sys.platform == "linux":
        dumpable, no_new_privileges, new_user, new_network = 4, 38, 0x10000000, 0x40000000
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(dumpable, 0, 0, 0, 0)
        libc.prctl(no_new_privileges, 1, 0, 0, 0)
        # Refused in many containers. The limit on descriptors in `_cut_off` then has to do alone: with 0, 1
        # and 2 taken there is no number left for a socket.
        if libc.unshare(new_user | new_network) != 0:
            libc.unshare(new_network)


def run(what: str, address_space_bytes: int, cpu_s: int) -> NoReturn:
    """Be the child: `what` is a container or OPUS_PACKETS. Does not return."""
    _limit_resources(address_space_bytes, cpu_s)
    _cut_off()
    try:
        with open(0, "rb") as media, open(1, "wb") as out:
            if what == OPUS_PACKETS:
                _answer_packets(media, out)
            else:
                media.seek(0)  # the position is shared with the server, which has looked at the headers
                _copy(media, what, out)
        status, reason = Exit.OK, ""
    except RefusedError as exc:
        status, reason = exc.exit_status, str(exc)
    except MemoryError:
        status, reason = Exit.OUT_OF_MEMORY, "the decoder ran out of memory"
    except Exception as exc:  # whatever FFmpeg and its binding raise: all of it means a malformed file
        status, reason = Exit.MALFORMED, getattr(exc, "strerror", None) or f"{type(exc).__name__}: {exc}"
    os.write(2, reason.encode()[:1000])
    os._exit(status)  # without the tear-down of the interpreter, which a damaged heap could hang


def _copy(media: BinaryIO, container: str, out: BinaryIO) -> None:
    num_chunks = 0
    for header, samples in read_samples(media, container):
        if num_chunks == 0:
            out.write(json.dumps(header).encode() + b"\n")
        out.write(samples)
        num_chunks += 1
    if num_chunks == 0:
        raise RefusedError(Exit.EMPTY, "the file holds no samples")


def _answer_packets(packets: BinaryIO, out: BinaryIO) -> None:
    import av

    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.layout = "mono"
    resampler = av.AudioResampler(format="flt", layout="mono", rate=STREAM_RATE_HZ)
    _send_word(out, READY)
    num_owed = 0
    while len(length := packets.read(4)) == 4:
        packet = packets.read(int.from_bytes(length, "little"))
        try:
            frames = decoder.decode(av.Packet(packet))
        except av.error.InvalidDataError:
            frames = []  # a damaged packet gives no audio; the next one may
        num_owed += sum(frame.samples * STREAM_RATE_HZ // frame.sample_rate for frame in frames)
        pieces = [one for frame in frames for one in resampler.resample(frame)]
        samples = b"".join(bytes(one.planes[0])[: one.samples * 4] for one in pieces)
        # The resampler holds 16 samples back. Zeros in their place, so that a packet of 40 ms gives 40 ms:
        # otherwise whoever cuts frames of 80 ms waits for the next packet each time.
        samples = bytes(num_owed * 4 - len(samples)) + samples
        num_owed -= len(samples) // 4
        _send_word(out, len(samples), samples)


def _send_word(out: BinaryIO, word: int, data: bytes = b"") -> None:
    out.write(word.to_bytes(4, "little") + data)
    out.flush()


def _limit_resources(address_space_bytes: int, cpu_s: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, address_space_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))


def _cut_off() -> None:
    """No processes and no new file descriptors."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
