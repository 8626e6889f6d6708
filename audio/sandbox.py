"""Run the decoder child on one file, and take from it no more than the limits allow.

(1) the fork server starts a child with the file on stdin; (2) what it sends is counted, and it is killed when
that is too much or too late; (3) how it ended becomes samples or one typed error. What the child itself may
not do is in `decode_child`; how it is started and killed, in `fork_server`.
"""

import json
import os
import signal
import time
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from typing import BinaryIO

from audio import decode_child
from audio.decode_child import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, Exit, StreamHeader
from audio.errors import AudioFormatError, DecodeError, DecodeFailure
from audio.fork_client import Child, launch
from audio.sniff import ACCEPTED

READ_BYTES = 1 << 20
LAYOUTS = f"1 to {MAX_CHANNELS} channels at {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"


@dataclass(frozen=True)
class DecodeLimits:
    """What one file may use up."""

    max_duration_s: float = 600.0
    max_input_bytes: int = 100 * 2**20
    max_decoded_bytes: int = 256 * 2**20  # float32 of all channels at the file's own rate
    address_space_bytes: int = 512 * 2**20  # of which the interpreter and FFmpeg's libraries take 120 MiB
    cpu_s: int = 20
    wall_s: float = 30.0


DEFAULT_LIMITS = DecodeLimits()


def run_child(file: BinaryIO, container: str, limits: DecodeLimits) -> tuple[StreamHeader, bytearray]:
    """Decode a seekable file whose container is known.

    Returns the header and interleaved float32 bytes. Raises AudioFormatError for a codec that is not
    accepted, DecodeError for everything else. Either way the child is dead and waited for.
    """
    deadline = time.monotonic() + limits.wall_s
    with launch(container, limits.address_space_bytes, limits.cpu_s, file.fileno()) as child:  # (1)
        try:
            header, samples, complaint = _collect(child, deadline, limits)
            status = child.wait(deadline)
        except TimeoutError:
            raise _timed_out(container) from None
    if status != Exit.OK or header is None:
        raise _failure(status, container, complaint)
    return header, samples


def _collect(
    child: Child, deadline: float, limits: DecodeLimits
) -> tuple[StreamHeader | None, bytearray, str]:
    """(2) Everything the child sends, until it closes both pipes, has sent too much, or is too late."""
    received, complaint = bytearray(), bytearray()
    header: StreamHeader | None = None
    most_bytes = READ_BYTES  # until the header says how many bytes a second has
    with DefaultSelector() as pipes:
        for pipe, into in ((child.stdout, received), (child.stderr, complaint)):
            pipes.register(pipe, EVENT_READ, into)
        while pipes.get_map():
            events = pipes.select(max(deadline - time.monotonic(), 0))
            if time.monotonic() >= deadline:
                raise TimeoutError
            for key, _ in events:
                chunk = os.read(key.fd, READ_BYTES)
                if not chunk:
                    pipes.unregister(key.fileobj)
                key.data.extend(chunk)
            del complaint[4096:]
            if header is None and (line_end := received.find(b"\n")) >= 0:
                header = _parse_header(bytes(received[:line_end]))
                del received[: line_end + 1]
                bytes_per_s = 4 * header.channels * header.sample_rate_hz
                most_bytes = min(int(limits.max_duration_s * bytes_per_s), limits.max_decoded_bytes)
            if len(received) > most_bytes:
                raise DecodeError(
                    DecodeFailure.TOO_LONG,
                    f"the file holds more audio than is accepted: {limits.max_duration_s:g} s, or "
                    f"{limits.max_decoded_bytes} decoded bytes",
                )
    return header, received, complaint.decode(errors="replace").strip()


def _parse_header(line: bytes) -> StreamHeader:
    """Checked, because a child that a crafted file has taken over can send anything."""
    try:
        header = StreamHeader(*json.loads(line))
        if (
            any(header.codec in codecs for codecs in decode_child.CODECS.values())
            and isinstance(header.sample_rate_hz, int)
            and isinstance(header.channels, int)
            and MIN_RATE_HZ <= header.sample_rate_hz <= MAX_RATE_HZ
            and 1 <= header.channels <= MAX_CHANNELS
            and (header.bit_rate is None or (isinstance(header.bit_rate, int) and header.bit_rate > 0))
        ):
            return header
    except (ValueError, TypeError):
        pass
    raise DecodeError(DecodeFailure.CRASHED, "the decoder sent something that is no header")


def _failure(status: int, container: str, complaint: str) -> Exception:
    """(3) How the child ended, as the error to raise."""
    what = f"the {container} file"
    if status == Exit.UNSUPPORTED_CODEC:
        return AudioFormatError(f"{what} holds a codec that is not accepted ({complaint}); send {ACCEPTED}")
    if status == -signal.SIGXCPU:
        return _timed_out(container)
    out_of_memory = "needs more memory than decoding may take"
    reason, message = {
        Exit.UNSUPPORTED_LAYOUT: (DecodeFailure.UNSUPPORTED_LAYOUT, f"holds {complaint}; send {LAYOUTS}"),
        Exit.EMPTY: (DecodeFailure.EMPTY, f"gives no audio: {complaint}"),
        Exit.MALFORMED: (DecodeFailure.MALFORMED, f"is damaged or incomplete ({complaint})"),
        Exit.OUT_OF_MEMORY: (DecodeFailure.OUT_OF_MEMORY, out_of_memory),
        -signal.SIGKILL: (DecodeFailure.OUT_OF_MEMORY, out_of_memory),  # the kernel's own choice
    }.get(status, (DecodeFailure.CRASHED, f"crashed the decoder (status {status})"))
    return DecodeError(reason, f"{what} {message}")


def _timed_out(container: str) -> DecodeError:
    return DecodeError(DecodeFailure.TIMED_OUT, f"the {container} file takes too long to decode")
