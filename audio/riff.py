"""Check the structure of a WAV file before any decoder sees it, in pure Python.

(1) RIFF size: that of the file or less, or a streaming writer's "unknown"; (2) chunks follow one another
inside it; (3) exactly one `fmt `, before the data; (4) PCM 16, 24, 32 or float 32, 1 to 8 channels, 8 to 192
kHz, block size to match; (5) one `data`, inside the file and whole blocks long, or of unknown length.

Source: Microsoft/IBM, "Multimedia Programming Interface and Data Specifications 1.0", 1991;
WAVEFORMATEXTENSIBLE, 2001. Why: forged chunk sizes and second `fmt ` chunks have crashed or hung libsndfile,
dr_wav and torchcodec. Not covered: RF64, compressed WAV; bytes after the RIFF chunk are ignored.
"""

import os
import struct
from typing import BinaryIO

from audio.decode_child import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ
from audio.errors import AudioFormatError, DecodeError, DecodeFailure

UNKNOWN_FROM = 0x7FFFF000
"""A size from here on means "unknown": FFmpeg writes 0xFFFFFFFF into a pipe, SoX 0x7FFFF000."""

MAX_CHUNKS = 64
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
"""What follows the 16-bit format tag in the sub-format GUID of KSDATAFORMAT_SUBTYPE_PCM and _IEEE_FLOAT."""


def check_wav(file: BinaryIO) -> None:
    """Read the headers of a seekable file that begins with RIFF....WAVE; its position is not kept.

    Raises DecodeError (MALFORMED, EMPTY, UNSUPPORTED_LAYOUT) or AudioFormatError for another sample format.
    """
    file_bytes = file.seek(0, os.SEEK_END)
    file.seek(4)
    riff_bytes = int.from_bytes(file.read(4), "little")
    is_open_ended = riff_bytes == 0 or riff_bytes >= UNKNOWN_FROM
    if not is_open_ended and 8 + riff_bytes > file_bytes:  # (1)
        raise _malformed(f"its header says {8 + riff_bytes} bytes, but there are {file_bytes}: it is cut off")
    end = file_bytes if is_open_ended else 8 + riff_bytes

    place, block_bytes = 12, 0
    for _ in range(MAX_CHUNKS):
        if place + 8 > end:
            raise _malformed("it has no data chunk")
        file.seek(place)
        name, size = struct.unpack("<4sI", file.read(8))
        place += 8
        if name == b"data":
            if not block_bytes:
                raise _malformed("its data comes before its format")  # (3)
            return _check_data(size, end - place, block_bytes, is_open_ended)
        if size > end - place:  # (2)
            raise _malformed(f"a chunk claims {size} bytes where {end - place} are left")
        if name == b"fmt ":
            if block_bytes:
                raise _malformed("it has two format chunks")  # (3)
            block_bytes = _check_format(file.read(min(size, 40)))
        place += size + size % 2
    raise _malformed(f"more than {MAX_CHUNKS} chunks come before its data")


def _check_format(fmt: bytes) -> int:
    """(4) Returns the bytes of one block: one sample of every channel."""
    if len(fmt) < 16:
        raise _malformed("its format chunk is shorter than 16 bytes")
    tag, channels, rate_hz, _, block_bytes, bits = struct.unpack("<HHIIHH", fmt[:16])
    if tag == EXTENSIBLE:
        if len(fmt) < 40 or fmt[26:40] != GUID_TAIL:
            raise _malformed("its extensible format names no known sub-format")
        tag = int.from_bytes(fmt[24:26], "little")
    if (tag, bits) not in {(PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32)}:
        raise AudioFormatError(
            f"this WAV holds format {tag} with {bits} bits; send PCM of 16, 24 or 32 bits or float of 32"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise DecodeError(
            DecodeFailure.UNSUPPORTED_LAYOUT, f"the file has {channels} channels; send 1 to {MAX_CHANNELS}"
        )
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise DecodeError(
            DecodeFailure.UNSUPPORTED_LAYOUT,
            f"the file's sample rate is {rate_hz} Hz; send {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz",
        )
    if block_bytes != channels * bits // 8:
        raise _malformed(f"{channels} channels of {bits} bits do not make blocks of {block_bytes} bytes")
    return int(block_bytes)


def _check_data(size: int, left: int, block_bytes: int, is_open_ended: bool) -> None:
    """(5) In an open-ended file a size of 0, or an unknown one, means all that is left."""
    is_unknown = size >= UNKNOWN_FROM or (size == 0 and is_open_ended)
    if (left if is_unknown else size) < block_bytes:
        raise DecodeError(DecodeFailure.EMPTY, "the WAV file holds no samples")
    if is_unknown:
        return
    if size > left:
        raise _malformed(f"its data claims {size} bytes where {left} are left")
    if size % block_bytes:
        raise _malformed(f"its data of {size} bytes is no whole number of blocks of {block_bytes}")


def _malformed(why: str) -> DecodeError:
    return DecodeError(DecodeFailure.MALFORMED, f"the WAV file contradicts itself: {why}")
