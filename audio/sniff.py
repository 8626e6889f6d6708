"""Tell a container from its bytes, never from its name: the allow-list of what we decode.

Source: RFC 3533 (Ogg), RFC 7845 (Opus in Ogg), RFC 9639 (FLAC), ISO/IEC 14496-12 (`ftyp`), ISO/IEC 11172-3
(MP3 frame header), ID3v2.4. Looks at the head of the file alone; whether the rest fits is the decoder's word.
"""

from audio.errors import AudioFormatError

HEAD_BYTES = 65_536
"""Bytes that `container_of` wants to see, or the whole file; an ID3 tag longer than that hides an MP3."""

ACCEPTED = "WAV (PCM 16, 24 or 32 bit, or float 32), FLAC, MP3, Ogg (Opus or Vorbis) or M4A (AAC or ALAC)"

_MP3_KBPS = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def container_of(head: bytes) -> str:
    """Args: the first HEAD_BYTES of the file. Returns "wav", "flac", "mp3", "ogg" or "m4a".

    Raises AudioFormatError, which names what is accepted.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS":
        return _ogg(head)
    if head[4:8] == b"ftyp":
        return "m4a"
    if _is_mp3(head[_id3_bytes(head) :]):
        return "mp3"
    raise AudioFormatError(f"this is {_guess(head)}; send {ACCEPTED}")


def _ogg(head: bytes) -> str:
    num_segments = head[26] if len(head) > 26 else 0
    first_packet = head[27 + num_segments :]
    if not first_packet.startswith((b"OpusHead", b"\x01vorbis")):
        raise AudioFormatError(f"this Ogg file begins with neither Opus nor Vorbis; send {ACCEPTED}")
    return "ogg"


def _id3_bytes(head: bytes) -> int:
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _is_mp3(head: bytes) -> bool:
    """A layer III header, and a second one where the first frame ends (if that is in sight)."""
    length = _mp3_frame_bytes(head)
    if length is None:
        return False
    return len(head) < length + 4 or _mp3_frame_bytes(head[length:]) is not None


def _mp3_frame_bytes(head: bytes) -> int | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer != 1 or bit_rate in (0, 15) or rate == 3:
        return None
    is_mpeg1 = version == 3
    kbps = _MP3_KBPS[1 if is_mpeg1 else 2][bit_rate - 1]
    return (144 if is_mpeg1 else 72) * kbps * 1000 // _MP3_RATES_HZ[version][rate] + padding


def _guess(head: bytes) -> str:
    known = {
        b"PK\x03\x04": "a zip archive",
        b"RF64": "an RF64 file",
        b"\x1aE\xdf\xa3": "a Matroska or WebM file",
    }
    known |= {b"%PDF": "a PDF", b"FORM": "an AIFF file", b"\xff\xf1": "raw AAC", b"\xff\xf9": "raw AAC"}
    for magic, name in known.items():
        if head.startswith(magic):
            return name
    return "not an audio file that we accept"
