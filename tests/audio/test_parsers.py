"""The parsers that see a stranger's bytes first, on any bytes: one declared error or a result, soon.

Hypothesis searches near real heads, where the branches are; whole damaged files are in
benchmarks/hostile.py."""

import contextlib
import struct
import time
from io import BytesIO

from hypothesis import given, settings
from hypothesis import strategies as st

from audio import AudioError, AudioFormatError, DecodeError
from audio.decode_child import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ
from audio.riff import check_wav
from audio.sandbox import _parse_header
from audio.sniff import HEAD_BYTES, container_of
from tests.audio.media import wav

CONTAINERS = {"wav", "flac", "mp3", "ogg", "m4a"}
MAGICS = [
    b"RIFF\x00\x00\x00\x00WAVE",
    b"fLaC",
    b"OggS",
    b"\x00\x00\x00\x20ftyp",
    b"ID3\x04\x00\x00",
    b"\xff\xfb\x90",
]
heads = st.builds(bytes.__add__, st.sampled_from([b"", *MAGICS]), st.binary(max_size=400))

u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
edges = st.sampled_from([0, 1, 2, 16, 18, 40, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
sizes = st.integers(0, 200) | edges | u32
fmts = st.builds(
    lambda tag, channels, rate, byte_rate, block, bits: struct.pack(
        "<HHIIHH", tag, channels, rate, byte_rate, block, bits
    ),
    st.sampled_from([1, 3, 0xFFFE]) | u16,
    st.integers(0, 10) | u16,
    st.sampled_from([0, 8, 8000, 24_000, 192_000, 768_000]) | u32,
    u32,
    st.integers(0, 40) | u16,
    st.sampled_from([0, 4, 8, 16, 24, 32, 64]) | u16,
)
chunks = st.builds(
    lambda name, size, body: name + struct.pack("<I", size) + body,
    st.sampled_from([b"fmt ", b"data", b"LIST", b"fact", b"RIFF"]) | st.binary(min_size=4, max_size=4),
    sizes,
    fmts | st.binary(max_size=60),
)
riffs = st.builds(
    lambda size, parts: b"RIFF" + struct.pack("<I", size) + b"WAVE" + b"".join(parts),
    sizes,
    st.lists(chunks, max_size=8),
)


@given(heads)
@settings(max_examples=500)
def test_any_head_is_a_container_or_a_format_error(head: bytes) -> None:
    try:
        assert container_of(head) in CONTAINERS
    except AudioFormatError as exc:
        assert "send" in str(exc)


@given(riffs)
@settings(max_examples=500)
def test_any_riff_passes_or_is_refused_for_one_declared_reason(data: bytes) -> None:
    """A 69-byte file with a forged size kept another reader in a loop for ever."""
    started_s = time.perf_counter()
    with contextlib.suppress(AudioFormatError, DecodeError):
        check_wav(BytesIO(data))
    assert time.perf_counter() - started_s < 0.5


@given(st.integers(12, len(wav()) - 1), st.integers(0, 7))
def test_one_wrong_bit_of_a_good_file_passes_or_is_refused(place: int, bit: int) -> None:
    data = bytearray(wav())
    data[place] ^= 1 << bit
    try:
        check_wav(BytesIO(bytes(data)))
    except AudioError as exc:
        assert str(exc)


@given(
    st.binary(max_size=200)
    | st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9), max_size=6).map(
        lambda values: repr(values).replace("'", '"').replace("None", "null").lower().encode()
    )
)
@settings(max_examples=300)
def test_a_header_from_a_captured_child_is_believed_only_when_it_is_one(line: bytes) -> None:
    """A file that has taken the decoder over can write anything into the pipe."""
    try:
        header = _parse_header(line)
    except DecodeError:
        return
    assert 1 <= header.channels <= MAX_CHANNELS
    assert MIN_RATE_HZ <= header.sample_rate_hz <= MAX_RATE_HZ


def test_a_tag_longer_than_what_is_read_hides_the_file_and_is_no_crash() -> None:
    head = b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(HEAD_BYTES - 10)
    try:
        container_of(head)
    except AudioFormatError:
        return
    raise AssertionError("something was recognised behind the end")
