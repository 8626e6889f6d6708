"""The pure-Python check of WAV structure, on files forged byte by byte."""

import struct
from io import BytesIO

import pytest

from audio import AudioFormatError, DecodeError, DecodeFailure
from audio.riff import check_wav
from tests.audio.media import wav

FMT = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 24_000, 48_000, 2, 16)
EXTENSIBLE = (
    struct.pack("<4sIHHIIHH", b"fmt ", 40, 0xFFFE, 1, 24_000, 72_000, 3, 24)
    + struct.pack("<HHI", 22, 24, 4)
    + bytes.fromhex("0100 0000 0000 1000 8000 00aa 0038 9b71")
)


def riff(body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def data(num_bytes: int) -> bytes:
    return struct.pack("<4sI", b"data", num_bytes) + bytes(num_bytes)


HONEST = {
    "16 bit": wav(),
    "24 bit": wav(bytes(300), bits=24),
    "32 bit": wav(bytes(400), bits=32),
    "float": wav(bytes(400), bits=32, tag=3),
    "8 channels": wav(bytes(1600), channels=8),
    "lowest rate": wav(rate_hz=8_000),
    "highest rate": wav(rate_hz=192_000),
    "one sample": wav(bytes(2)),
    "extensible 24 bit": riff(EXTENSIBLE + data(300)),
    "streamed by FFmpeg": wav(riff_bytes=0xFFFFFFFF, data_bytes=0xFFFFFFFF),
    "streamed by SoX": wav(riff_bytes=0x7FFFF024, data_bytes=0x7FFFF000),
    "never finished": wav(riff_bytes=0, data_bytes=0),
    "odd chunk before": wav(before_data=b"LIST\x03\x00\x00\x00abc\x00"),
    "tag after": wav(bytes(300), bits=24, after_data=b"_PMX\x04\x00\x00\x00<x/>"),
    "bytes after the RIFF chunk": wav() + b"TAG" + bytes(125),
}


@pytest.mark.parametrize("name", HONEST)
def test_a_file_that_real_writers_make_is_accepted(name: str) -> None:
    check_wav(BytesIO(HONEST[name]))


FORGED = {
    "cut off in the data": (wav()[:-1], DecodeFailure.MALFORMED, "cut off"),
    "cut off in the header": (wav()[:30], DecodeFailure.MALFORMED, "cut off"),
    "RIFF says more": (wav(riff_bytes=10_000), DecodeFailure.MALFORMED, "cut off"),
    "data says more": (
        wav(data_bytes=9_000),
        DecodeFailure.MALFORMED,
        "claims 9000 bytes where 4800 are left",
    ),
    "chunk says more": (
        riff(b"junk\xf0\xff\xff\x00" + FMT + data(2)),
        DecodeFailure.MALFORMED,
        "a chunk claims",
    ),
    "69 bytes, forged chunk": (
        riff(FMT + b"LIST\xff\xff\xff\xff" + bytes(25)),
        DecodeFailure.MALFORMED,
        "claims",
    ),
    "no data": (riff(FMT), DecodeFailure.MALFORMED, "no data chunk"),
    "no format": (riff(data(4)), DecodeFailure.MALFORMED, "before its format"),
    "two formats": (wav(before_data=FMT), DecodeFailure.MALFORMED, "two format chunks"),
    "short format": (riff(b"fmt \x04\x00\x00\x00abcd" + data(4)), DecodeFailure.MALFORMED, "shorter than 16"),
    "a thousand chunks": (
        riff(b"junk\x00\x00\x00\x00" * 1000),
        DecodeFailure.MALFORMED,
        "more than 64 chunks",
    ),
    "wrong block": (wav(block_bytes=3), DecodeFailure.MALFORMED, "do not make blocks of 3"),
    "half a sample": (wav(bytes(3)), DecodeFailure.MALFORMED, "no whole number"),
    "unknown GUID": (riff(EXTENSIBLE[:-1] + b"\x00" + data(3)), DecodeFailure.MALFORMED, "sub-format"),
    "0 samples": (wav(b""), DecodeFailure.EMPTY, "no samples"),
    "0 samples, streamed": (wav(b"", riff_bytes=0, data_bytes=0), DecodeFailure.EMPTY, "no samples"),
    "0 channels": (wav(channels=0), DecodeFailure.UNSUPPORTED_LAYOUT, "0 channels"),
    "16 channels": (wav(channels=16), DecodeFailure.UNSUPPORTED_LAYOUT, "16 channels"),
    "8 Hz": (wav(rate_hz=8), DecodeFailure.UNSUPPORTED_LAYOUT, "8 Hz"),
    "768 kHz": (wav(rate_hz=768_000), DecodeFailure.UNSUPPORTED_LAYOUT, "768000 Hz"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_file_is_one_error_that_names_the_reason(name: str) -> None:
    forged, reason, message = FORGED[name]
    with pytest.raises(DecodeError, match=message) as caught:
        check_wav(BytesIO(forged))
    assert caught.value.reason is reason


@pytest.mark.parametrize(("tag", "bits"), [(1, 8), (2, 4), (3, 64), (6, 8), (7, 8), (17, 4), (85, 16)])
def test_another_sample_format_is_refused_as_a_format(tag: int, bits: int) -> None:
    with pytest.raises(AudioFormatError, match="send PCM of 16, 24 or 32 bits"):
        check_wav(BytesIO(wav(tag=tag, bits=bits)))


def test_every_cut_and_every_flipped_header_byte_is_accepted_or_one_of_our_errors() -> None:
    """A parser's own exception (struct.error, IndexError) at the border is a crash of the server."""
    whole = wav(bytes(64), before_data=b"LIST\x04\x00\x00\x00abcd")
    near_misses = [whole[:cut] for cut in range(12, len(whole))]
    near_misses += [
        whole[:place] + bytes([value]) + whole[place + 1 :]
        for place in range(12, 60)
        for value in (0, 1, 0x7F, 0x80, 0xFF)
    ]
    num_refused = 0
    for near_miss in near_misses:
        try:
            check_wav(BytesIO(near_miss))
        except (DecodeError, AudioFormatError):
            num_refused += 1
    assert num_refused > len(near_misses) // 2
