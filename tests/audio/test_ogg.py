"""Ogg pages against hand-written bytes, cut anywhere and damaged in every way a network or a stranger can."""

import random
import struct

import pytest

from audio import ogg
from audio.ogg import PacketReader, checksum, write_page

# "OggS", version 0, flags 2, granule 1920, serial 7, sequence 3, checksum, one segment of 3 bytes, "abc".
PAGE = bytes.fromhex("4f67675300 02 8007000000000000 07000000 03000000 e881b78d 01 03 616263")
SECOND = write_page(b"d" * 255, serial=7, sequence=4, granule=3840)


def forged(lacing: bytes, body: bytes, *, flags: int = 0, serial: int = 7, sequence: int = 4) -> bytes:
    """A page with any segment table and a checksum that holds."""
    head = struct.pack("<4sBBqII", b"OggS", 0, flags, 0, serial, sequence)
    tail = bytes([len(lacing)]) + lacing + body
    return head + struct.pack("<I", checksum(head + bytes(4) + tail)) + tail


def test_a_page_is_these_bytes() -> None:
    """A round trip through our own reader would not notice a wrong checksum or byte order."""
    assert write_page(b"abc", serial=7, sequence=3, granule=1920, flags=ogg.FIRST) == PAGE
    assert PacketReader().push(PAGE) == [b"abc"]


def test_the_checksum_is_oggs_and_not_zlibs() -> None:
    """From the polynomial, bit by bit: the definition in RFC 3533, sec. 6."""
    data = bytes(range(256)) * 3
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    assert checksum(data) == crc


@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 510, 3000])
def test_a_packet_of_any_length_comes_back(size: int) -> None:
    """A packet of a whole number of 255 bytes ends with an empty segment, which is easily forgotten."""
    packet = bytes(size % 251 for size in range(size))
    got = PacketReader().push(write_page(packet, serial=1, sequence=0, granule=0))
    assert got == ([packet] if packet else [])


@pytest.mark.parametrize("cut", [1, 2, 27, 28, 100])
def test_any_cutting_gives_the_same_packets(cut: int) -> None:
    stream, reader = PAGE + SECOND, PacketReader()
    pieces = [stream[at : at + cut] for at in range(0, len(stream), cut)]
    assert [packet for piece in [b"", *pieces] for packet in reader.push(piece)] == [b"abc", b"d" * 255]


def test_a_packet_over_two_pages_is_one_packet_and_is_dropped_when_its_beginning_is_lost() -> None:
    first = forged(b"\x02\xff", b"aa" + b"b" * 255)
    second = forged(b"\x01\x02", b"b" + b"cc", flags=ogg.CONTINUED, sequence=5)
    assert PacketReader().push(first + second) == [b"aa", b"b" * 256, b"cc"]
    assert PacketReader().push(second) == [b"cc"]
    assert PacketReader().push(first + forged(b"\x02", b"xx", sequence=5)) == [b"aa", b"xx"]
    later = forged(b"\x01\x02", b"b" + b"cc", flags=ogg.CONTINUED, sequence=6)
    assert PacketReader().push(first + later) == [b"aa", b"cc"]


def test_after_a_damaged_page_the_next_one_is_read() -> None:
    """In the reference server one damaged byte ends the conversation."""
    for at in range(len(PAGE)):
        reader = PacketReader()
        damaged = PAGE[:at] + bytes([PAGE[at] ^ 0x55]) + PAGE[at + 1 :]
        got = reader.push(damaged + b"junk OggS and more junk " + SECOND + SECOND + bytes(ogg.MAX_PAGE_BYTES))
        assert got[-1] == b"d" * 255, f"byte {at}"
        assert b"abc" not in got


def test_another_stream_in_between_is_not_mixed_in() -> None:
    stranger = write_page(b"no", serial=8, sequence=0, granule=0)
    assert PacketReader().push(PAGE + stranger + SECOND) == [b"abc", b"d" * 255]
    begins = write_page(b"new", serial=8, sequence=0, granule=0, flags=ogg.FIRST)
    assert PacketReader().push(PAGE + begins + SECOND) == [b"abc", b"new"]


def test_nothing_that_is_sent_makes_it_raise_or_grow() -> None:
    """Strangers send what they like, for as long as they like."""
    rng, reader = random.Random(0), PacketReader()
    endless = forged(b"\xff" * 60, bytes(60 * 255), flags=ogg.CONTINUED)
    for _ in range(300):
        reader.push(rng.randbytes(rng.randrange(2000)))
        reader.push(b"OggS\0" + bytes(21) + b"\xff" * rng.randrange(300))
        reader.push(endless)
        assert len(reader._buffer) <= 2 * ogg.MAX_PAGE_BYTES
        assert len(reader._packet or b"") <= ogg.MAX_PACKET_BYTES + ogg.MAX_PAGE_BYTES
    reader.push(bytes(ogg.MAX_PAGE_BYTES))
    begins = write_page(b"still here", serial=9, sequence=0, granule=0, flags=ogg.FIRST)
    assert reader.push(begins) == [b"still here"]
