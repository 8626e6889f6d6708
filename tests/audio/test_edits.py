import numpy as np
import pytest
from numpy.typing import NDArray

from audio import edits
from audio.edits import dynamics, filters, mixing, timing
from tests.audio.media import speech

RATE_HZ = 24_000


@pytest.fixture(scope="module", name="wav_T")
def read_speech() -> NDArray[np.float32]:
    return speech(3.5)


def snr_db(wav_T: NDArray[np.float32], heard_T: NDArray[np.float32]) -> float:
    error_T = heard_T.astype(np.float64) - wav_T
    return float(10 * np.log10(np.sum(wav_T.astype(np.float64) ** 2) / np.sum(error_T**2)))


def tone(hz: float, seconds: float = 1.0) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ).astype(np.float32)


def loudest_hz(wav_T: NDArray[np.float32]) -> float:
    return float(np.abs(np.fft.rfft(wav_T * np.hanning(len(wav_T)))).argmax() * RATE_HZ / len(wav_T))


@pytest.mark.parametrize("name", edits.CATALOGUE)
def test_every_named_edit_runs_and_is_deterministic(name: str, wav_T: NDArray[np.float32]) -> None:
    """A benchmark that cannot be repeated measures nothing; an edit that gives NaN breaks every detector."""
    before_T = wav_T.copy()
    out_T = edits.apply(wav_T, name, seed=5)
    assert out_T.dtype == np.float32
    assert out_T.ndim == 1
    assert np.isfinite(out_T).all()
    assert 0.25 * len(wav_T) < len(out_T) < 1.3 * len(wav_T)
    assert np.array_equal(out_T, edits.apply(wav_T, name, seed=5))
    assert np.array_equal(wav_T, before_T)


@pytest.mark.parametrize("name", [name for name in edits.CATALOGUE if name != "identity"])
def test_every_named_edit_changes_something(name: str, wav_T: NDArray[np.float32]) -> None:
    assert not np.array_equal(edits.apply(wav_T, name), wav_T)


@pytest.mark.parametrize(
    "name", ["noise_20db", "crop_1s", "packet_loss_10_zero", "reverb_0.3s_6db", "jitter_0.1"]
)
def test_another_seed_gives_another_result(name: str, wav_T: NDArray[np.float32]) -> None:
    assert not np.array_equal(edits.apply(wav_T, name, seed=1), edits.apply(wav_T, name, seed=2))


@pytest.mark.parametrize("name", edits.CATALOGUE)
def test_every_named_edit_takes_a_very_short_clip_and_silence(name: str) -> None:
    """The edges of attacks: one packet of sound, and nothing to normalise by."""
    for short_T in (tone(300, 0.02), np.zeros(480, np.float32)):
        assert np.isfinite(edits.apply(short_T, name)).all()


@pytest.mark.parametrize(
    ("name", "least_db"),
    [
        ("opus_24k", 10),
        ("mp3_64k", 15),
        ("aac_64k", 15),
        ("g711_mulaw", 10),
        ("resample_16k", 10),
    ],
)
def test_mild_codecs_keep_the_wave_in_place(name: str, least_db: float, wav_T: NDArray[np.float32]) -> None:
    """Sample by sample: an encoder delay that is left in makes the SNR negative."""
    assert snr_db(wav_T, edits.apply(wav_T, name)[: len(wav_T)]) > least_db


def test_amr_is_late_by_its_look_ahead(wav_T: NDArray[np.float32]) -> None:
    """Stated in the docstring, because nobody on a call compensates it."""
    heard_T = edits.apply(wav_T, "amr_nb_12.2k")
    num_samples = len(wav_T) + len(heard_T)
    spectrum = np.fft.rfft(heard_T, num_samples) * np.fft.rfft(wav_T, num_samples).conj()
    lag_samples = int(np.abs(np.fft.irfft(spectrum)[:400]).argmax())
    assert 100 <= lag_samples <= 160


@pytest.mark.parametrize("name", ["noise_20db", "pink_10db", "babble_10db"])
def test_noise_has_the_snr_of_its_name(name: str, wav_T: NDArray[np.float32]) -> None:
    wanted_db = float(name.split("_")[1].removesuffix("db"))
    assert snr_db(wav_T, edits.apply(wav_T, name)) == pytest.approx(wanted_db, abs=0.05)


def test_a_recorded_background_has_the_snr_asked_for(wav_T: NDArray[np.float32]) -> None:
    noise_T = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    assert snr_db(wav_T, edits.apply(wav_T, edits.background(noise_T, 12))) == pytest.approx(12, abs=0.05)


def test_the_telephone_band_keeps_1_khz_and_drops_100_hz_and_6_khz() -> None:
    kept, low, high = (
        float(np.std(edits.apply(tone(hz), "telephone_band")[2000:-2000])) for hz in (1000, 100, 6000)
    )
    assert kept == pytest.approx(np.sqrt(0.5), rel=0.01)
    assert max(low, high) < 1e-3


def test_a_one_tap_room_changes_nothing(wav_T: NDArray[np.float32]) -> None:
    """Also checks the alignment on the direct sound: the tap is 50 samples late."""
    impulse_T = np.zeros(200, np.float32)
    impulse_T[50] = 0.3
    assert snr_db(wav_T, edits.apply(wav_T, edits.room(impulse_T))) > 60


def test_an_echo_is_the_wave_again_later() -> None:
    out_T = mixing.echo(np.array([1.0] + [0.0] * 47, np.float32), volume=0.5, delay_ms=1)
    assert out_T.nonzero()[0].tolist() == [0, 24]
    assert out_T[24] == 0.5


def test_denoising_removes_steady_noise_and_keeps_speech(wav_T: NDArray[np.float32]) -> None:
    noisy_T = edits.apply(wav_T, "noise_10db", seed=1)
    assert snr_db(wav_T, mixing.denoise(noisy_T, reduction_db=24)) > snr_db(wav_T, noisy_T) + 1


def test_levels_have_the_values_written_by_hand() -> None:
    wav_T = np.array([0.5, -0.2], np.float32)
    assert dynamics.gain(wav_T, gain_db=-20).tolist() == pytest.approx([0.05, -0.02])
    assert dynamics.polarity(wav_T).tolist() == pytest.approx([-0.5, 0.2])
    assert dynamics.scale(wav_T, factor=3.0).tolist() == pytest.approx([1.0, -0.6])
    assert dynamics.quantise(wav_T, levels=5).tolist() == [0.5, 0.0]
    assert filters.smooth(np.array([3, 0, 3], np.float32), width_samples=3).tolist() == pytest.approx(
        [1, 2, 1]
    )


def test_a_limiter_lets_nothing_pass_its_threshold() -> None:
    assert np.abs(dynamics.limit(tone(200), threshold_db=-18)).max() <= 10 ** (-18 / 20) + 1e-6


def test_a_compressor_of_ratio_4_leaves_a_quarter_of_the_excess() -> None:
    """A tone at 0 dB, 20 dB over the threshold, settles at 15 dB less."""
    out_T = dynamics.compress(tone(1000), threshold_db=-20, ratio=4)
    assert 20 * np.log10(np.abs(out_T[12_000:]).max()) == pytest.approx(-15, abs=0.5)


def test_an_expander_turns_down_what_is_below() -> None:
    """A tone at -40 dB, 24 dB under the threshold, falls 24 dB further."""
    out_T = dynamics.expand(tone(1000) * np.float32(0.01), threshold_db=-16)
    assert 20 * np.log10(np.abs(out_T[12_000:]).max()) == pytest.approx(-64, abs=1)


@pytest.mark.parametrize(
    ("shift_samples", "expected"), [(1, [0, 1, 2]), (-1, [2, 3, 0]), (5, [0, 0, 0]), (-5, [0, 0, 0])]
)
def test_a_shift_moves_silence_in(shift_samples: int, expected: list[float]) -> None:
    out_T = timing.shift(np.array([1, 2, 3], np.float32), shift_samples=shift_samples)
    assert out_T.tolist() == expected


def test_a_crop_is_a_piece_of_the_clip(wav_T: NDArray[np.float32]) -> None:
    out_T = edits.apply(wav_T, "crop_1s", seed=4)
    assert len(out_T) == RATE_HZ
    assert any(np.array_equal(wav_T[start:][:RATE_HZ], out_T) for start in range(len(wav_T) - RATE_HZ + 1))


def test_lost_packets_are_as_many_as_stated(wav_T: NDArray[np.float32]) -> None:
    ones_T = np.ones(100 * timing.PACKET_SAMPLES, np.float32)
    assert 1 - edits.apply(ones_T, "packet_loss_10_zero").mean() == pytest.approx(0.1)
    assert len(edits.apply(ones_T, "delete_10")) == 90 * timing.PACKET_SAMPLES
    assert len(edits.apply(ones_T, "insert_10")) == 110 * timing.PACKET_SAMPLES


def test_a_repeated_packet_is_the_one_before_it() -> None:
    wav_T = np.repeat(np.arange(50, dtype=np.float32), timing.PACKET_SAMPLES)
    out_PT = edits.apply(wav_T, "packet_loss_20_repeat").reshape(50, -1)
    changed = [packet for packet in range(1, 50) if out_PT[packet, 0] != packet]
    assert changed
    assert all(out_PT[packet, 0] == out_PT[packet - 1, 0] for packet in changed)


@pytest.mark.parametrize(
    ("name", "hz", "seconds"),
    [
        ("speed_1.25", 1250, 0.8),
        ("speed_0.8", 800, 1.25),
        ("stretch_1.25", 1000, 0.8),
        ("stretch_0.8", 1000, 1.25),
        ("pitch_+2", 1122.5, 1.0),
        ("pitch_-2", 890.9, 1.0),
    ],
)
def test_speed_moves_pitch_and_stretch_does_not(name: str, hz: float, seconds: float) -> None:
    out_T = edits.apply(tone(1000), name)
    assert len(out_T) / RATE_HZ == pytest.approx(seconds, abs=0.02)
    assert loudest_hz(out_T) == pytest.approx(hz, abs=3)


def test_a_stretch_keeps_the_level_of_a_tone() -> None:
    """Frames that are joined out of phase cancel; the similarity search exists to prevent that."""
    out_T = timing.stretch(tone(200), tempo=1.1)
    assert np.std(out_T[1000:-1000]) == pytest.approx(np.sqrt(0.5), rel=0.02)


def test_a_chain_applies_its_edits_in_order() -> None:
    half, three = (edits.Edit(f"x{factor}", "scale", {"factor": factor}) for factor in (0.5, 3.0))
    ones_T = np.ones(4, np.float32)
    assert edits.apply(ones_T, edits.chain("a", half, three)).tolist() == [1.0] * 4  # 0.5, then 1.5 clipped
    assert edits.apply(ones_T, edits.chain("b", three, half)).tolist() == [0.5] * 4  # 1.0 clipped, then 0.5


@pytest.mark.parametrize("wav_T", [np.zeros(0), np.zeros((2, 5)), np.array([np.nan])])
def test_a_wave_that_is_not_finite_and_mono_is_refused(wav_T: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="finite mono waveform"):
        edits.apply(wav_T, "polarity")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="mp3_32k"):
        edits.apply(np.zeros(9, np.float32), "mp3_33k")


def test_an_unknown_operation_is_refused_when_the_edit_is_made() -> None:
    with pytest.raises(ValueError, match="telepathy"):
        edits.Edit("mine", "telepathy")


def test_the_names_that_others_rely_on_are_in_the_catalogue() -> None:
    wanted = "mp3_32k opus_12k opus_24k aac_64k telephone_band noise_20db noise_10db speed_1.05 crop_3s"
    assert {*wanted.split(), "resample_16k", "gain_-6db", "polarity"} <= edits.CATALOGUE.keys()


needs_codec2 = pytest.mark.skipif(
    not edits.codec2_is_installed(), reason="Debian's c2enc and c2dec are not installed"
)


@needs_codec2
@pytest.mark.parametrize("name", edits.CODEC2)
def test_codec_2_keeps_the_length_and_the_rhythm_of_speech(name: str, wav_T: NDArray[np.float32]) -> None:
    """A vocoder keeps no wave, but loudness over 50 ms; the wrong mode or byte order would keep nothing."""
    heard_T = edits.apply(wav_T, edits.CODEC2[name])
    assert len(heard_T) == len(wav_T)
    assert np.array_equal(heard_T, edits.apply(wav_T, edits.CODEC2[name]))
    loudness = [
        np.sqrt(np.convolve(np.square(of_T), np.ones(1200) / 1200)[::600]) for of_T in (wav_T, heard_T)
    ]
    assert np.corrcoef(*loudness)[0, 1] > 0.7


@needs_codec2
def test_codec_2_takes_a_very_short_clip_and_silence() -> None:
    for short_T in (tone(300, 0.02), np.zeros(480, np.float32)):
        assert np.isfinite(edits.apply(short_T, edits.CODEC2["codec2_1200"])).all()


def test_codec_2_without_its_programs_says_what_to_install(
    wav_T: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="apt-get install codec2"):
        edits.apply(wav_T, edits.CODEC2["codec2_3200"])
