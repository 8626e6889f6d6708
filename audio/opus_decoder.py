"""Decode a stranger's live Opus packets: never in this process, always in a child that lives as they do.

    decoder.decode(packet)  ──u32 length, packet──►  child  ──u32 length, float32──►  samples at 24 kHz

One question, one answer, so nothing can fill up or fall behind. The child is the program of `audio.decode`
(`decode_child`) with the same walls around it. Not covered: Ogg (`audio.ogg`), pre-skip and gain of the
header (live clients do not apply them), more than one channel (a stereo packet is mixed down).
"""

import os
import select
import signal
import struct
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from audio.decode_child import OPUS_PACKETS, READY
from audio.errors import DecodeError, DecodeFailure
from audio.fork_client import launch
from audio.ogg import MAX_PACKET_BYTES

MAX_ANSWER_BYTES = 4 * 4_096
"""120 ms, the longest packet, are 2880 samples at 24 kHz."""

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class StreamLimits:
    """What one stream may use up."""

    address_space_bytes: int = 512 * 2**20
    cpu_s: int = 60  # of a whole stream; an hour of speech takes about 20 s
    start_s: float = 20.0  # until the child is ready: 10 ms on an idle core, 0.2 s for the first of a process
    wall_s: float = 5.0  # for one packet


class OpusDecoder:
    """One stream, for one thread at a time."""

    def __init__(self, limits: StreamLimits | None = None) -> None:
        """Start the child and wait until it can decode. Raises DecodeError when it cannot."""
        self._limits = limits or StreamLimits()
        stdin, self._packets = os.pipe()
        try:
            self._child = launch(OPUS_PACKETS, self._limits.address_space_bytes, self._limits.cpu_s, stdin)
        except BaseException:
            os.close(self._packets)
            raise
        finally:
            os.close(stdin)
        self._closed = False
        try:
            deadline = time.monotonic() + self._limits.start_s
            if self._read(_LENGTH.size, deadline) != _LENGTH.pack(READY):
                raise DecodeError(DecodeFailure.CRASHED, "the decoder began with something unknown")
        except BaseException:
            self.close()
            raise

    def decode(self, packet: bytes) -> NDArray[np.float32]:
        """The samples of one packet, mono at 24 kHz, 0.7 ms late; none when it is damaged.

        Raises DecodeError when the child has died, is too slow or does not answer as it should; the stream is
        over then. An empty packet and one over MAX_PACKET_BYTES give no samples.
        """
        if not 0 < len(packet) <= MAX_PACKET_BYTES:
            return np.zeros(0, np.float32)
        deadline = time.monotonic() + self._limits.wall_s
        try:
            # Fits into the pipe, which is empty whenever the last answer has come, so it never blocks.
            os.write(self._packets, _LENGTH.pack(len(packet)) + packet)
        except OSError:
            raise self._ended() from None
        (num_bytes,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        if num_bytes > MAX_ANSWER_BYTES or num_bytes % 4:
            raise DecodeError(DecodeFailure.CRASHED, "the decoder sent something that is no audio")
        wav_T = np.frombuffer(self._read(num_bytes, deadline), "<f4").astype(np.float32)
        if not np.isfinite(wav_T).all():
            raise DecodeError(DecodeFailure.NOT_FINITE, "the stream holds samples that are NaN or infinite")
        return wav_T

    def close(self) -> None:
        """Kill the child and what it started. May be repeated."""
        if not self._closed:
            self._closed = True
            os.close(self._packets)
            self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, num_bytes: int, deadline: float) -> bytes:
        fd = self._child.stdout
        answers = select.poll()
        answers.register(fd, select.POLLIN)
        received = b""
        while len(received) < num_bytes:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not answers.poll(left_s * 1000):
                raise DecodeError(DecodeFailure.TIMED_OUT, "the stream takes too long to decode")
            chunk = os.read(fd, num_bytes - len(received))
            if not chunk:
                raise self._ended()
            received += chunk
        return received

    def _ended(self) -> DecodeError:
        """The child has closed its pipe: how did it end?"""
        # Killed, for one that only closed its pipe; one that has ended already keeps its own status.
        status = self._child.kill()
        if status == -signal.SIGXCPU:
            return DecodeError(DecodeFailure.TIMED_OUT, "the stream took more processor time than it may")
        return DecodeError(DecodeFailure.CRASHED, f"the stream crashed its decoder (status {status})")
