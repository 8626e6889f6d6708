"""Messages as bytes, against literals written by hand from the published protocol."""

from uuid import UUID

from api.chat import protocol


def test_every_message_is_these_bytes() -> None:
    assert protocol.HANDSHAKE == b"\x00"
    assert protocol.PING == b"\x06"
    assert protocol.audio(b"OggS...") == b"\x01OggS..."
    assert protocol.text(" voil\u00e0") == b"\x02 voil\xc3\xa0"
    assert protocol.queue_position(3) == b'\x04{"queue_position": 3}'
    name = UUID("01a20aeb-ad4e-75fa-95bd-65dc73232b53")
    assert protocol.issued(name, 0xFE) == (
        b'\x04{"generation_id": "01a20aeb-ad4e-75fa-95bd-65dc73232b53", "content_id": "0000000000fe"}'
    )
    assert protocol.error("no room") == b"\x05no room"


def test_only_audio_is_heard() -> None:
    """Kinds that a client may invent, and the empty message, must not reach the decoder."""
    assert protocol.heard(b"\x01OggS") == b"OggS"
    for other in (b"", b"\x01", b"\x00", b"\x02hi", b"\x03\x01", b"\x04{}", b"\x06", b"\x07x", b"\xffOggS"):
        assert protocol.heard(other) == b""


def test_a_close_reason_fits_its_frame_and_is_cut_between_characters() -> None:
    assert protocol.close_reason("over") == "over"
    cut = protocol.close_reason("\u00e9" * 100)
    assert len(cut.encode()) <= 123 and set(cut) == {"\u00e9"}
