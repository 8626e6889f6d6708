"""Opus as a stream: the header bytes, what other people's code makes of ours, and the duration of packets."""

import struct

import numpy as np
import pytest
import sphn
from numpy.typing import NDArray

from audio import EncodeError, OpusWriter, PacketReader, decode, opus
from tests.audio.media import speech


def written(wav_T: NDArray[np.float32], chunk: int = 1920) -> bytes:
    writer = OpusWriter()
    pieces = [writer.push(wav_T[at : at + chunk]) for at in range(0, len(wav_T), chunk)]
    return b"".join(pieces) + writer.flush()


def snr_db(copy_T: NDArray[np.float32], wav_T: NDArray[np.float32]) -> float:
    """Of a copy that may come up to 20 ms late."""
    best = max(
        (copy_T[late : late + len(wav_T) - 480] for late in range(480)),
        key=lambda one_T: float(one_T @ wav_T[: len(one_T)]),
    )
    error_T = best - wav_T[: len(best)]
    return float(10 * np.log10(np.square(best).sum() / np.square(error_T).sum()))


def test_the_headers_are_these_bytes() -> None:
    assert opus.opus_head(120) == b"OpusHead\x01\x01\x78\x00\xc0\x5d\x00\x00\x00\x00\x00"
    assert opus.opus_tags() == b"OpusTags\x07\x00\x00\x00earmark\x00\x00\x00\x00"


def test_a_page_for_every_packet_of_40_ms_and_granules_at_48_khz() -> None:
    """The published clients play 40 ms pieces as they come; a page of a second would be a second late."""
    writer = OpusWriter(serial=5)
    first = writer.push(np.zeros(959, np.float32))
    assert first.count(b"OggS") == 2 and writer.push(np.zeros(0, np.float32)) == b""
    pages = writer.push(np.zeros(1 + 960, np.float32)).split(b"OggS")[1:]
    fields = [struct.unpack_from("<BBqII", page) for page in pages]
    assert fields == [(0, 0, 1920, 5, 2), (0, 0, 3840, 5, 3)]


def test_the_last_page_says_where_the_audio_ends() -> None:
    stream = written(speech(1.0)[:12_345])
    *_, (_, flags, granule, _, _) = [struct.unpack_from("<BBqII", page) for page in stream.split(b"OggS")[1:]]
    assert (flags, granule) == (4, OpusWriter().pre_skip + 2 * 12_345)
    assert len(decode(stream).wav_T) == 12_345


@pytest.mark.parametrize("chunk", [1, 7, 960, 1920, 100_000])
def test_any_chunking_gives_the_same_bytes(chunk: int) -> None:
    wav_T = speech(0.3)
    assert written(wav_T, chunk) == written(wav_T)


def test_streams_side_by_side_do_not_leak_into_each_other() -> None:
    one, other = speech(0.4), -0.5 * speech(0.4)
    first, second, pieces = OpusWriter(), OpusWriter(), [b"", b""]
    for at in range(0, len(one), 480):
        pieces[0] += first.push(one[at : at + 480])
        pieces[1] += second.push(other[at : at + 480])
    assert pieces[0] + first.flush() == written(one)
    assert pieces[1] + second.flush() == written(other)


def test_a_refused_chunk_changes_nothing() -> None:
    wav_T, writer = speech(0.2), OpusWriter()
    stream = writer.push(wav_T[:1000])
    for wrong in (np.array([np.nan], np.float32), np.zeros((2, 5), np.float32)):
        with pytest.raises(EncodeError):
            writer.push(wrong)
    stream += writer.push(wav_T[1000:]) + writer.flush()
    assert stream == written(wav_T)
    with pytest.raises(EncodeError):
        writer.push(wav_T)
    with pytest.raises(EncodeError):
        writer.flush()


def test_the_official_reader_hears_what_we_write() -> None:
    wav_T, reader = speech(2.0), sphn.OpusStreamReader(24_000)
    stream = written(wav_T)
    heard_T = np.concatenate([reader.append_bytes(stream[at : at + 99]) for at in range(0, len(stream), 99)])
    assert snr_db(heard_T, wav_T) > 12


def test_the_official_writers_packets_are_counted_before_they_are_decoded() -> None:
    writer, reader = sphn.OpusStreamWriter(24_000), PacketReader()
    packets = [
        packet
        for _ in range(10)
        for packet in reader.push(writer.append_pcm(np.zeros(1920, np.float32)))
        if not opus.is_header(packet)
    ]
    assert reader.num_damaged == 0
    assert [opus.duration_s(packet) for packet in packets] == [0.04] * 20


@pytest.mark.parametrize(
    ("packet", "expected_s"),
    [
        (b"", 0.0),
        (bytes([0 << 3]), 0.010),  # SILK 10 ms, one frame
        (bytes([3 << 3 | 1]), 0.120),  # SILK 60 ms, two frames
        (bytes([13 << 3]), 0.020),  # hybrid 20 ms
        (bytes([16 << 3]), 0.0025),  # CELT 2.5 ms
        (bytes([31 << 3 | 2]), 0.040),  # CELT 20 ms, two frames
        (bytes([31 << 3 | 3, 6]), 0.120),  # CELT 20 ms, six frames
        (bytes([31 << 3 | 3, 7]), 0.0),  # over 120 ms: no packet
        (bytes([31 << 3 | 3]), 0.0),  # its number of frames is missing
        (bytes([31 << 3 | 3, 0]), 0.0),
    ],
)
def test_the_duration_is_read_from_the_first_bytes(packet: bytes, expected_s: float) -> None:
    """What is counted here bounds how much a client may make us decode."""
    assert opus.duration_s(packet) == pytest.approx(expected_s)
