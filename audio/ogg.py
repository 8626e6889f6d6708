"""Ogg as a stream: packets into pages, and pages that arrive in any pieces back into packets.

    page = "OggS" 0 flags granule_i64 serial_u32 sequence_u32 crc_u32 num_segments lacing[num_segments] body

A packet is cut into segments of 255 bytes and ends with the first shorter one. The reader believes a page
only when its checksum holds; after a damaged one it goes on at the next that does. Source: RFC 3533, sec. 6.
Not covered: seeking, several streams side by side (the one that began last is read), what a packet means.
"""

import struct
import zlib

CAPTURE = b"OggS"
CONTINUED, FIRST, LAST = 1, 2, 4
"""Flags: the page goes on with a packet of the page before; begins the stream; ends it."""

MAX_PAGE_BYTES = 8_192
"""Longer pages are passed over: 1 s of Opus at 64 kbit/s. Bounds what a damaged length makes us wait for."""

MAX_PACKET_BYTES = 61_440  # RFC 7845, sec. 6: longer ones may be refused

_HEADER = struct.Struct("<4sBBqIII")  # without the number of segments and their lengths
_FIXED_BYTES = _HEADER.size + 1
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum(data: bytes) -> int:
    """Ogg's CRC-32: polynomial 0x04c11db7, most significant bit first, from 0, not inverted.

    zlib's has the same polynomial with every bit order mirrored and both ends inverted.
    """
    mirrored = zlib.crc32(data.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def write_page(packet: bytes, *, serial: int, sequence: int, granule: int, flags: int = 0) -> bytes:
    """One page that holds one whole packet of fewer than 65,025 bytes.

    `granule` is the position after the packet, in the unit of the codec.
    """
    whole, rest = divmod(len(packet), 255)
    lacing = bytes([255] * whole + [rest])

    def header(crc: int) -> bytes:
        return _HEADER.pack(CAPTURE, 0, flags, granule, serial, sequence, crc) + bytes([len(lacing)]) + lacing

    return header(checksum(header(0) + packet)) + packet


class PacketReader:
    """The packets of a stranger's stream. Holds at most one page and one packet (70 kB)."""

    def __init__(self) -> None:
        self.num_damaged = 0  # pages that were passed over
        self._buffer = b""
        self._packet: bytes | None = None  # what has come of a packet that is not whole
        self._serial: int | None = None
        self._sequence = -1

    def push(self, data: bytes) -> list[bytes]:
        """The packets that these bytes complete. Never raises: what is no page is passed over."""
        buffer = self._buffer + data
        packets: list[bytes] = []
        start = 0
        while (start := buffer.find(CAPTURE, start)) >= 0:
            end = _page_end(buffer, start)
            if end is None or (end > len(buffer) and end - start <= MAX_PAGE_BYTES):
                break
            page = buffer[start:end]
            if len(page) <= MAX_PAGE_BYTES and _is_whole(page):
                packets += self._packets_of(page)
                start = end
            else:
                # A page cannot begin inside the header of another, and to look there costs hostile bytes
                # nothing and us a checksum each time.
                self.num_damaged += 1
                start += _FIXED_BYTES + page[_FIXED_BYTES - 1]
        self._buffer = buffer[start:] if start >= 0 else buffer[-(len(CAPTURE) - 1) :]
        return packets

    def _packets_of(self, page: bytes) -> list[bytes]:
        _, _, flags, _, serial, sequence, _ = _HEADER.unpack_from(page)
        if flags & FIRST or self._serial is None:
            self._serial, self._packet = serial, None
        if serial != self._serial:
            return []
        follows = flags & CONTINUED and sequence == self._sequence + 1
        self._sequence = sequence
        if not follows:
            self._packet = None
        skipping = bool(flags & CONTINUED) and self._packet is None  # the beginning of its packet is lost
        packets = []
        body = _FIXED_BYTES + page[_FIXED_BYTES - 1]
        for length in page[_FIXED_BYTES : _FIXED_BYTES + page[_FIXED_BYTES - 1]]:
            packet = (self._packet or b"") + page[body : body + length]
            body += length
            if length == 255:
                self._packet = packet
                continue
            if packet and not skipping and len(packet) <= MAX_PACKET_BYTES:
                packets.append(packet)
            self._packet, skipping = None, False
        if skipping or (self._packet and len(self._packet) > MAX_PACKET_BYTES):
            self._packet = None
        return packets


def _page_end(buffer: bytes, start: int) -> int | None:
    """Where the page that begins at `start` ends; None while its header is not whole."""
    body = start + _FIXED_BYTES
    if body > len(buffer) or (body := body + buffer[body - 1]) > len(buffer):
        return None
    return body + sum(buffer[start + _FIXED_BYTES : body])


def _is_whole(page: bytes) -> bool:
    _, version, _, _, _, _, crc = _HEADER.unpack_from(page)
    return bool(version == 0 and checksum(page[:22] + bytes(4) + page[26:]) == crc)
