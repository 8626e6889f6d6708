"""Opus as a live stream: our speech into Ogg pages, and the duration of any packet.

    960 samples at 24 kHz (40 ms) ──► one packet ──► one page; granule = samples at 48 kHz, pre-skip included

For speech we made ourselves, in process; a stranger's packets go to `opus_decoder`. Source: RFC 6716, sec.
3.1 (the first byte of a packet), RFC 7845 (Opus in Ogg). Not covered: more than one channel, seeking.
"""

import struct

import av
import numpy as np
from numpy.typing import NDArray

from audio import ogg
from audio.encode import to_frame
from audio.errors import EncodeError
from audio.rates import SAMPLE_RATE_HZ

PACKET_SAMPLES = 960
"""At 24 kHz: 40 ms, as the published Moshi clients and servers send it."""

GRANULES_PER_SAMPLE = 2
"""Opus counts at 48 kHz, whatever goes in."""

BIT_RATE = 64_000
"""Of the encoder, in bit/s, as for marked files: below, it wears the mark down that was just put on. Measured
2026-11-25, docs/LOG.md."""

_VENDOR = b"earmark"


def opus_head(pre_skip: int) -> bytes:
    """The stream's first packet: version 1, one channel, no gain; `pre_skip` in samples at 48 kHz."""
    return struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, pre_skip, SAMPLE_RATE_HZ, 0, 0)


def opus_tags() -> bytes:
    """The stream's second packet: who wrote it, and no comments."""
    return struct.pack("<8sI", b"OpusTags", len(_VENDOR)) + _VENDOR + struct.pack("<I", 0)


def is_header(packet: bytes) -> bool:
    """Whether a packet is one of the two that hold no audio."""
    return packet.startswith((b"OpusHead", b"OpusTags"))


def duration_s(packet: bytes) -> float:
    """How much audio a packet says it holds: 0.0025 to 0.12 s; 0 for what is no packet.

    From its first two bytes, so that audio can be counted before anything is decoded.
    """
    if not packet:
        return 0.0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:  # SILK
        frame_ms = (10.0, 20.0, 40.0, 60.0)[config % 4]
    elif config < 16:  # hybrid
        frame_ms = (10.0, 20.0)[config % 2]
    else:  # CELT
        frame_ms = (2.5, 5.0, 10.0, 20.0)[config % 4]
    counted = packet[1] & 0x3F if len(packet) > 1 else 0
    num_frames = (1, 2, 2, counted)[code]
    total_ms = frame_ms * num_frames
    return total_ms / 1000 if total_ms <= 120 else 0.0


class OpusWriter:
    """One stream: samples in, whole pages out. The first output begins with the two header pages."""

    def __init__(self, *, serial: int = 1) -> None:
        encoder = av.CodecContext.create("libopus", "w")
        assert isinstance(encoder, av.AudioCodecContext)
        encoder.sample_rate, encoder.layout, encoder.format = SAMPLE_RATE_HZ, "mono", "flt"
        encoder.bit_rate = BIT_RATE
        encoder.options = {"frame_duration": "40", "application": "lowdelay"}  # 2.5 ms of look-ahead
        encoder.open()
        assert encoder.frame_size == PACKET_SAMPLES and encoder.extradata is not None
        self.pre_skip: int = struct.unpack_from("<H", encoder.extradata, 10)[0]  # 48 kHz
        self._encoder = encoder
        self._serial = serial
        self._sequence = 0
        self._num_in = 0
        self._num_packets = 0
        self._pending_T = np.zeros(0, np.float32)
        self._closed = False

    def push(self, wav_T: NDArray[np.float32]) -> bytes:
        """Take any number of finite float32 samples at 24 kHz; return the pages they complete, maybe none.

        Raises EncodeError after `flush` and for anything else than finite samples [T]; nothing was taken.
        """
        wav_T = np.asarray(wav_T, np.float32)
        if self._closed:
            raise EncodeError("this stream was flushed; open a new one")
        if wav_T.ndim != 1 or not np.isfinite(wav_T).all():
            raise EncodeError("a chunk is a one-dimensional array of finite samples")
        self._num_in += len(wav_T)
        return self._headers() + self._encode(wav_T)

    def flush(self) -> bytes:
        """End the stream: silence fills the last packets up, the last page says where the audio ends."""
        if self._closed:
            raise EncodeError("this stream was flushed; open a new one")
        self._closed = True
        end = self.pre_skip + GRANULES_PER_SAMPLE * self._num_in
        num_packets = max(1, -(-end // (GRANULES_PER_SAMPLE * PACKET_SAMPLES)))
        missing = num_packets * PACKET_SAMPLES - self._num_packets * PACKET_SAMPLES - len(self._pending_T)
        return self._headers() + self._encode(np.zeros(missing, np.float32), end)

    def _headers(self) -> bytes:
        if self._sequence:
            return b""
        return self._page(opus_head(self.pre_skip), 0, ogg.FIRST) + self._page(opus_tags(), 0)

    def _encode(self, wav_T: NDArray[np.float32], end: int | None = None) -> bytes:
        """The pages of all whole packets; with an `end` (granules) the last one is the stream's last."""
        self._pending_T = np.concatenate([self._pending_T, wav_T])
        pages = b""
        while len(self._pending_T) >= PACKET_SAMPLES:
            frame = to_frame(self._pending_T[None, :PACKET_SAMPLES], SAMPLE_RATE_HZ, "flt")
            frame.pts = self._num_packets * PACKET_SAMPLES
            self._pending_T = self._pending_T[PACKET_SAMPLES:]
            (packet,) = self._encoder.encode(frame)
            self._num_packets += 1
            granule, flags = self._num_packets * PACKET_SAMPLES * GRANULES_PER_SAMPLE, 0
            if end is not None and len(self._pending_T) < PACKET_SAMPLES:
                granule, flags = end, ogg.LAST
            pages += self._page(bytes(packet), granule, flags)
        return pages

    def _page(self, packet: bytes, granule: int, flags: int = 0) -> bytes:
        page = ogg.write_page(
            packet, serial=self._serial, sequence=self._sequence, granule=granule, flags=flags
        )
        self._sequence += 1
        return page
