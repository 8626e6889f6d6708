"""Decoding honest files, and what hostile files may not do: whatever comes in, audio or one of our errors."""

import io
import tracemalloc
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest

from audio import (
    AudioError,
    AudioFormatError,
    DecodeError,
    DecodeFailure,
    DecodeLimits,
    decode,
    decode_native,
    encode,
    trusted,
)
from tests.audio.media import ASSETS, float_wav, silent_flac, speech, wav

FILES = {
    "wav": encode(speech(1.0), 24_000, "wav"),
    "flac": encode(speech(1.0), 24_000, "flac"),
    "mp3": encode(speech(1.0), 24_000, "mp3"),
    "ogg": encode(speech(1.0), 24_000, "ogg"),
    "m4a": encode(speech(1.0), 24_000, "m4a"),
}


@pytest.mark.parametrize("container", FILES)
def test_the_sandbox_hears_what_the_trusted_reader_hears(container: str) -> None:
    decoded = decode(FILES[container])
    assert np.array_equal(decoded.wav_T, trusted.read(FILES[container], container))
    assert decoded.wav_T.dtype == np.float32
    assert decoded.source.container == container
    assert decoded.source.duration_s == pytest.approx(1.0, abs=0.05)
    assert decoded.source.bit_rate > 0


def test_the_name_of_a_file_is_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(FILES["ogg"])
    assert decode(path).source.codec == "opus"


def test_a_zip_that_is_called_wav_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("speech.wav", FILES["wav"])
    with pytest.raises(AudioFormatError, match="a zip archive; send WAV"):
        decode(path)


def test_a_file_that_is_not_there_is_one_of_our_errors(tmp_path: Path) -> None:
    with pytest.raises(AudioFormatError, match="cannot be read"):
        decode(tmp_path / "none.wav")


def test_a_folder_is_one_of_our_errors(tmp_path: Path) -> None:
    with pytest.raises(AudioFormatError, match="cannot be read"):
        decode(tmp_path)


def test_mono_is_the_mean_of_the_channels() -> None:
    data = np.array([[0.5, 0.25], [1.0, -1.0]], "<f4").tobytes()
    assert decode(wav(data, channels=2, tag=3, bits=32)).wav_T.tolist() == [0.375, 0.0]


def test_peaks_above_one_are_kept() -> None:
    assert decode(float_wav([0.0, 2.5, -3.0])).wav_T.tolist() == [0.0, 2.5, -3.0]


def test_native_audio_keeps_rate_and_channels() -> None:
    native = decode_native(wav(np.array([[1, 2], [3, 4]], "<i2").tobytes(), channels=2, rate_hz=48_000))
    assert (native.wav_CT * 2**15).tolist() == [[1, 3], [2, 4]]
    assert (native.source.sample_rate_hz, native.source.channels) == (48_000, 2)


def test_twenty_four_bit_with_a_chunk_after_the_data_decodes_exactly() -> None:
    """Another decoder ran over the end of its buffer on such files."""
    data = b"".join(value.to_bytes(3, "little", signed=True) for value in (0, 1, -(2**23), 2**23 - 1))
    decoded = decode(wav(data, bits=24, after_data=b"_PMX\x04\x00\x00\x00<x/>"))
    assert (decoded.wav_T * 2**23).tolist() == [0, 1, -(2**23), 2**23 - 1]


@pytest.mark.parametrize("sizes", [(0xFFFFFFFF, 0xFFFFFFFF), (0, 0), (0x7FFFF024, 0x7FFFF000)])
def test_a_streamed_wav_with_unknown_sizes_is_read_to_its_end(sizes: tuple[int, int]) -> None:
    riff_bytes, data_bytes = sizes
    assert decode(wav(bytes(4800), riff_bytes=riff_bytes, data_bytes=data_bytes)).wav_T.shape == (2400,)


HOSTILE = {
    "no bytes": (b"", DecodeFailure.EMPTY),
    "0 samples": (wav(b""), DecodeFailure.EMPTY),
    "forged size": (wav(data_bytes=2**30), DecodeFailure.MALFORMED),
    "two formats": (wav(before_data=wav()[12:36]), DecodeFailure.MALFORMED),
    "16 channels": (wav(bytes(3200), channels=16), DecodeFailure.UNSUPPORTED_LAYOUT),
    "8 Hz": (wav(rate_hz=8), DecodeFailure.UNSUPPORTED_LAYOUT),
    "768 kHz": (wav(rate_hz=768_000), DecodeFailure.UNSUPPORTED_LAYOUT),
    "NaN": (float_wav([0.0, float("nan"), 0.5]), DecodeFailure.NOT_FINITE),
    "infinity": (float_wav([0.0, float("-inf")]), DecodeFailure.NOT_FINITE),
    "1e30": (float_wav([0.0, 1e30]), DecodeFailure.MALFORMED),
    "FLAC at 384 kHz": (encode(speech(0.1), 384_000, "flac"), DecodeFailure.UNSUPPORTED_LAYOUT),
    "FLAC of a header alone": (FILES["flac"][:42], DecodeFailure.MALFORMED),
    "MP4 of no track": (b"\x00\x00\x00\x14ftypM4A \x00\x00\x00\x00M4A ", DecodeFailure.MALFORMED),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_error_that_names_the_reason(name: str) -> None:
    data, reason = HOSTILE[name]
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert caught.value.reason is reason
    assert str(caught.value)


@pytest.mark.parametrize("container", FILES)
def test_a_cut_off_file_gives_audio_or_one_of_our_errors(container: str) -> None:
    """Truncated MP4 has crashed FFmpeg's binding in process."""
    whole = FILES[container]
    whole_T = decode(whole).wav_T
    for cut in [*range(1, 100, 19), *range(100, len(whole), len(whole) // 6), len(whole) - 1]:
        try:
            decoded_T = decode(whole[:cut]).wav_T
        except AudioError as exc:
            assert not isinstance(exc, DecodeError) or exc.reason is DecodeFailure.MALFORMED
        else:
            assert container != "wav", "a WAV file that ends before its stated size is refused"
            assert len(decoded_T) <= len(whole_T)


@pytest.mark.parametrize("container", FILES)
def test_flipped_bytes_give_audio_or_one_of_our_errors(container: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(6):
        damaged = bytearray(FILES[container])
        for place in rng.integers(4, len(damaged), 8):
            damaged[place] ^= int(rng.integers(1, 256))
        for place in rng.integers(8, 120, 2):
            damaged[place] ^= int(rng.integers(1, 256))
        try:
            assert np.isfinite(decode(bytes(damaged)).wav_T).all()
        except AudioError:
            continue


def test_an_hour_of_silence_is_too_long_and_is_not_held() -> None:
    """A few hundred kilobytes that unfold to 115 MB: bounded by what comes out, not by what goes in."""
    bomb = silent_flac(3600)
    assert len(bomb) < 700_000
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="more audio than is accepted: 30 s") as caught:
            decode(bomb, DecodeLimits(max_duration_s=30, address_space_bytes=256 * 2**20))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason is DecodeFailure.TOO_LONG
    assert peak_bytes < 5 * 2**20  # 30 s are 1 MB


def test_decoded_bytes_are_bounded_whatever_the_rate() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(FILES["flac"], DecodeLimits(max_decoded_bytes=50_000))
    assert caught.value.reason is DecodeFailure.TOO_LONG


@pytest.mark.parametrize("as_path", [True, False])
def test_a_file_over_the_size_limit_is_refused_unread(as_path: bool) -> None:
    path = ASSETS / "kathleen_1.flac"
    with pytest.raises(DecodeError, match="at most 1000") as caught:
        decode(path if as_path else path.read_bytes(), DecodeLimits(max_input_bytes=1000))
    assert caught.value.reason is DecodeFailure.TOO_LARGE


def test_another_codec_in_an_accepted_container_is_refused_as_a_format() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as media:
        stream = media.add_stream("ac3", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        media.mux(stream.encode(frame))
        media.mux(stream.encode(None))
    with pytest.raises(AudioFormatError, match=r"codec ac3 in m4a\); send WAV"):
        decode(out.getvalue())
