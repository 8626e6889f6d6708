import numpy as np
import pytest

from audio import EncodeError, decode_native, encode, media_type, trusted, writable_containers
from tests.audio.media import speech

EVERY_CODEC = [
    ("wav", "pcm_s16le"), ("wav", "pcm_s24le"), ("wav", "pcm_f32le"), ("flac", "flac"), ("mp3", "mp3"),
    ("ogg", "opus"), ("ogg", "vorbis"), ("m4a", "aac"), ("m4a", "alac"),
]  # fmt: skip


@pytest.mark.parametrize(("container", "codec"), EVERY_CODEC)
def test_every_codec_comes_back_in_place(container: str, codec: str) -> None:
    """Encoder delay that no header declares would shift the mark and the reported offsets."""
    wav_T = speech()
    heard_T = trusted.read(encode(wav_T, 24_000, container, codec=codec), container)
    assert 0 <= len(heard_T) - len(wav_T) < 1024
    assert len(heard_T) == len(wav_T) or codec == "aac"
    num_samples = len(wav_T)
    correlation = np.fft.irfft(
        np.fft.rfft(heard_T, 2 * num_samples) * np.fft.rfft(wav_T, 2 * num_samples).conj()
    )
    assert int(correlation.argmax()) == 0


def test_float_wav_is_exact_and_keeps_peaks_above_one() -> None:
    wav_T = np.array([0.0, 1.5, -2.0, 1e-9], np.float32)
    assert np.array_equal(trusted.read(encode(wav_T, 24_000, "wav", codec="pcm_f32le"), "wav"), wav_T)


def test_sixteen_bit_wav_has_the_bytes_written_by_hand() -> None:
    """Full scale is 32768: 1.0 clips to 32767 and does not wrap around to -32768."""
    data = encode(np.array([0.0, 0.5, -1.0, 1.0, 2.0], np.float32), 24_000, "wav")
    assert data[:4] == b"RIFF"
    assert data.endswith(b"data\x0a\x00\x00\x00" + bytes.fromhex("0000 0040 0080 ff7f ff7f"))


def test_twenty_four_bit_full_scale_does_not_wrap() -> None:
    out_T = trusted.read(encode(np.array([1.0, -1.0], np.float32), 24_000, "wav", codec="pcm_s24le"), "wav")
    assert out_T == pytest.approx([1.0, -1.0], abs=1e-6)


@pytest.mark.parametrize(("container", "codec"), EVERY_CODEC)
def test_the_same_wave_gives_the_same_bytes(container: str, codec: str) -> None:
    wav_T = speech(0.5)
    once, again = (encode(wav_T, 24_000, container, codec=codec) for _ in range(2))
    assert once == again


def test_stereo_at_44_1_khz_stays_so() -> None:
    wav_CT = np.stack([speech(0.5), -speech(0.5)])
    native = decode_native(encode(wav_CT, 44_100, "flac"))
    assert (native.source.channels, native.source.sample_rate_hz) == (2, 44_100)
    assert native.wav_CT == pytest.approx(wav_CT, abs=1e-4)


def test_opus_at_a_rate_it_does_not_know_is_resampled_and_keeps_its_length() -> None:
    native = decode_native(encode(np.zeros(44_100, np.float32), 44_100, "ogg"))
    assert native.source.duration_s == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"container": "aiff"}, "can write wav, flac"),
        ({"container": "wav", "codec": "opus"}, "is written with one of"),
        ({"container": "ogg", "codec": "vorbis", "bit_rate": 48_000}, "by quality, not by bit rate"),
        ({"container": "mp3", "quality": 2}, "for Vorbis alone"),
    ],
)
def test_what_cannot_be_written_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(EncodeError, match=message):
        encode(np.zeros(100, np.float32), 24_000, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(0,), (9, 100), (1, 2, 3)])
def test_a_shape_that_is_no_audio_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EncodeError, match="got shape"):
        encode(np.zeros(shape, np.float32), 24_000, "wav")


def test_six_channels_of_mp3_are_one_encode_error() -> None:
    """The encoder's own error must not pass the border."""
    with pytest.raises(EncodeError, match="mp3 cannot be written with 6 channels"):
        encode(np.zeros((6, 4800), np.float32), 24_000, "mp3")


def test_nan_is_refused() -> None:
    with pytest.raises(EncodeError, match="NaN"):
        encode(np.array([np.nan], np.float32), 24_000, "wav")


def test_every_writable_container_has_a_media_type() -> None:
    assert {name: media_type(name) for name in writable_containers()} == {
        "wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg", "m4a": "audio/mp4",
    }  # fmt: skip
