import numpy as np
import pytest

from audio import AudioFormatError, encode
from audio.sniff import container_of
from tests.audio.media import speech, wav

MP3_FRAME = bytes.fromhex("fffb9000") + bytes(413)  # MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes
ID3 = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)  # a size of 1, 0 in 7-bit digits is 128


@pytest.mark.parametrize("container", ["wav", "flac", "mp3", "ogg", "m4a"])
def test_what_we_write_is_recognised(container: str) -> None:
    assert container_of(encode(speech(0.5), 24_000, container)) == container


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"RIFF\x00\x00\x00\x00WAVE", "wav"),
        (b"fLaC\x00", "flac"),
        (b"\x00\x00\x00\x1cftypM4A ", "m4a"),
        (b"OggS" + bytes(22) + b"\x01\x13OpusHead", "ogg"),
        (b"OggS" + bytes(22) + b"\x01\x1e\x01vorbis", "ogg"),
        (MP3_FRAME + MP3_FRAME, "mp3"),
        (ID3 + MP3_FRAME + MP3_FRAME, "mp3"),
    ],
)
def test_heads_written_by_hand_are_recognised(head: bytes, container: str) -> None:
    assert container_of(head) == container


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", "not an audio file"),
        (b"hello, world", "not an audio file"),
        (b"PK\x03\x04", "a zip archive"),
        (b"RIFF\x00\x00\x00\x00AVI ", "not an audio file"),
        (b"RF64\xff\xff\xff\xffWAVE", "an RF64 file"),
        (b"\x1aE\xdf\xa3", "Matroska"),
        (b"OggS" + bytes(22) + b"\x01\x2a\x80theora", "neither Opus nor Vorbis"),
        (b"OggS", "neither Opus nor Vorbis"),
        (b"\xff\xf1\x50\x80" + bytes(100), "raw AAC"),
        (MP3_FRAME + b"PK\x03\x04", "not an audio file"),  # one sync word proves nothing
        (ID3, "not an audio file"),
    ],
)
def test_anything_else_is_refused_and_told_what_is_accepted(head: bytes, message: str) -> None:
    with pytest.raises(AudioFormatError, match=f"{message}.*send WAV"):
        container_of(head)


def test_random_bytes_are_not_taken_for_audio() -> None:
    """An 11-bit sync word alone accepts one file in 2048; false-alarm rate of this test below 1e-3."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        with pytest.raises(AudioFormatError):
            container_of(b"\xff" + rng.bytes(4000))


def test_every_cut_of_a_head_is_accepted_or_refused_in_our_words() -> None:
    for whole in (wav(), ID3 + MP3_FRAME, encode(speech(0.1), 24_000, "ogg")[:200]):
        for cut in range(len(whole)):
            try:
                container_of(whole[:cut])
            except AudioFormatError:
                continue
