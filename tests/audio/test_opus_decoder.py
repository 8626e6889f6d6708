"""The child that decodes a stranger's live stream: it hears, survives damage, and cannot hurt the server."""

import time
from pathlib import Path

import numpy as np
import pytest
import sphn
from numpy.typing import NDArray

from audio import (
    DecodeError,
    DecodeFailure,
    OpusDecoder,
    OpusWriter,
    PacketReader,
    StreamLimits,
    opus,
)
from tests.audio.media import decoder_of, running_children, speech
from tests.audio.test_opus import snr_db

READY = r'os.write(1, b"\xff\xff\xff\xff")'
PACKET = bytes([31 << 3]) + bytes(40)


def packets_of(stream: bytes) -> list[bytes]:
    return [packet for packet in PacketReader().push(stream) if not opus.is_header(packet)]


def official(wav_T: NDArray[np.float32]) -> bytes:
    writer = sphn.OpusStreamWriter(24_000)
    return b"".join(writer.append_pcm(wav_T[at : at + 1920]) for at in range(0, len(wav_T) - 1919, 1920))


def test_the_official_writers_speech_is_heard() -> None:
    """At 32 kbit/s and with its low-pass; the same decoder behind the official reader is the yardstick."""
    stream = official(speech(2.0))
    theirs_T = sphn.OpusStreamReader(24_000).append_bytes(stream)
    with OpusDecoder() as decoder:
        ours_T = np.concatenate([decoder.decode(packet) for packet in packets_of(stream)])
    assert len(ours_T) == len(theirs_T)
    assert snr_db(ours_T, theirs_T) > 30


def test_two_streams_side_by_side_do_not_leak_into_each_other() -> None:
    wav_T = speech(1.0)
    one, other = packets_of(official(wav_T)), packets_of(official(wav_T[::-1].copy()))
    with OpusDecoder() as alone:
        expected = [alone.decode(packet) for packet in one]
    with OpusDecoder() as first, OpusDecoder() as second:
        for packet, noise, samples in zip(one, other, expected, strict=True):
            second.decode(noise)
            np.testing.assert_array_equal(first.decode(packet), samples)


def test_a_damaged_packet_gives_no_audio_and_the_next_one_does() -> None:
    rng = np.random.default_rng(0)
    writer = OpusWriter()
    good = packets_of(writer.push(speech(0.2)))
    with OpusDecoder() as decoder:
        for size in (0, 1, 2, 3, 10, 500, 2000, 61_440, 61_441):
            for _ in range(20 if size < 3000 else 2):
                decoder.decode(rng.bytes(size))
            assert len(decoder.decode(good[0])) == 960, size


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("os._exit(0)", DecodeFailure.CRASHED),
        ("os.write(1, b'else')", DecodeFailure.CRASHED),
        ("time.sleep(60)", DecodeFailure.TIMED_OUT),
        (f"{READY}; os.read(0, 4); os.kill(os.getpid(), signal.SIGSEGV)", DecodeFailure.CRASHED),
        (f"{READY}; os.read(0, 4); os.kill(os.getpid(), signal.SIGXCPU)", DecodeFailure.TIMED_OUT),
        (f"{READY}; os.read(0, 4); os.close(1); time.sleep(60)", DecodeFailure.CRASHED),
        (f"{READY}; time.sleep(60)", DecodeFailure.TIMED_OUT),
        (f"{READY}; os.write(1, b'\\x08\\0\\0\\0abc'); time.sleep(60)", DecodeFailure.TIMED_OUT),
        (f"{READY}; os.write(1, b'\\xff\\xff\\xff\\x7f')", DecodeFailure.CRASHED),
        (f"{READY}; os.write(1, b'\\x03\\0\\0\\0abc')", DecodeFailure.CRASHED),
        (f"{READY}; os.write(1, b'\\x04\\0\\0\\0\\0\\0\\xc0\\x7f')", DecodeFailure.NOT_FINITE),
        (f"{READY}; os._exit(0)", DecodeFailure.CRASHED),
    ],
)
def test_nothing_the_child_does_is_more_than_one_error(
    program: str, reason: DecodeFailure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packet that takes over the decoder must end that stream and nothing else."""
    started = time.monotonic()
    with (
        decoder_of(f"{program}\ntime.sleep(60)", tmp_path, monkeypatch),
        pytest.raises(DecodeError) as caught,
        OpusDecoder(StreamLimits(start_s=0.5, wall_s=0.5)) as decoder,
    ):
        while True:
            decoder.decode(PACKET)
    assert caught.value.reason is reason
    assert time.monotonic() - started < 5


def test_a_closed_stream_leaves_no_process_and_no_descriptor() -> None:
    """A server of many sessions would run out of both."""
    OpusDecoder().close()
    before = len(list(Path("/dev/fd").iterdir()))
    decoder = OpusDecoder()
    decoder.decode(PACKET)
    assert len(running_children()) == 1
    decoder.close()
    decoder.close()
    assert len(list(Path("/dev/fd").iterdir())) == before
    assert running_children() == []


def test_the_processor_time_of_a_whole_stream_is_bounded() -> None:
    with pytest.raises(DecodeError) as caught, OpusDecoder(StreamLimits(cpu_s=1)) as decoder:
        packet = packets_of(official(speech(0.2)))[0]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            decoder.decode(packet)
    assert caught.value.reason is DecodeFailure.TIMED_OUT
