"""WAV while it is made: a reader of half of it and of all of it must hear the samples."""

import struct

import numpy as np
import pytest

from audio import EncodeError, WavWriter, decode, wav_header


def test_the_header_is_these_bytes() -> None:
    """Written by hand from the format's description."""
    known = (
        b"RIFF" + struct.pack("<I", 36 + 6) + b"WAVEfmt " + struct.pack("<I", 16)
        + bytes([1, 0, 1, 0, 0xC0, 0x5D, 0, 0, 0x80, 0xBB, 0, 0, 2, 0, 16, 0])
        + b"data" + struct.pack("<I", 6)
    )  # fmt: skip
    assert wav_header(3) == known
    assert wav_header()[4:8] == wav_header()[40:44] == b"\xff\xff\xff\xff"


def test_any_chunking_is_the_same_file_and_our_decoder_takes_it() -> None:
    wav_T = np.sin(np.arange(24_000, dtype=np.float32) * 0.05) * 0.5
    whole, chunked = WavWriter(), WavWriter()
    data = whole.push(wav_T) + whole.flush()
    parts = [chunked.push(part_T) for part_T in np.split(wav_T, [0, 1, 977, 1920])]
    assert b"".join(parts) + chunked.flush() == data
    assert np.abs(decode(data).wav_T - wav_T).max() < 1 / 32767
    patched = wav_header(whole.num_samples) + data[44:]
    assert np.array_equal(decode(patched).wav_T, decode(data).wav_T)


def test_loud_samples_are_clipped_and_not_wrapped() -> None:
    data = WavWriter().push(np.array([2.0, -2.0], np.float32))
    assert np.frombuffer(data[44:], "<i2").tolist() == [32767, -32768]


def test_a_refused_chunk_changes_nothing() -> None:
    writer = WavWriter()
    for bad in (np.full(3, np.nan, np.float32), np.zeros((2, 2), np.float32)):
        with pytest.raises(EncodeError):
            writer.push(bad)
    assert writer.push(np.zeros(1, np.float32)) == wav_header() + b"\0\0"
    assert writer.num_samples == 1
