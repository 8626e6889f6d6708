"""Named strengths of every edit: what benchmarks report and the demo shows.

The union of three published lists that needs no neural codec and no second watermark.
Source: RAW-Bench (strict settings), WMAR (24 kHz list), AudioMarkBench; telephone and doubles ours.
Recorded noises and rooms are not here, because they live in a corpus: see `background` and `room`.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from audio.edits.edit import Edit, chain
from audio.rates import SAMPLE_RATE_HZ


def background(noise_T: NDArray[np.float32], snr_db: float) -> Edit:
    """A recorded noise (float32 [T] at 24 kHz) at an SNR over the whole clip, from a random place in it."""
    return Edit(f"background_{snr_db:g}db", "background", {"noise_T": noise_T, "snr_db": snr_db})


def room(impulse_response_T: NDArray[np.float32]) -> Edit:
    """A measured impulse response (float32 [T] at 24 kHz)."""
    return Edit("room", "reverb", {"impulse_response_T": impulse_response_T})


def _codecs() -> Iterator[Edit]:
    yield Edit("identity", "identity")
    for kbps in (6, 8, 12, 16, 24, 32):
        yield Edit(f"opus_{kbps}k", "opus", {"bit_rate": kbps * 1000})
    for kbps in (16, 32, 64, 128):
        yield Edit(f"mp3_{kbps}k", "mp3", {"bit_rate": kbps * 1000})
    for kbps in (32, 64):
        yield Edit(f"aac_{kbps}k", "aac", {"bit_rate": kbps * 1000})
    yield Edit("vorbis_q2", "vorbis", {"quality": 2})
    yield Edit("g711_mulaw", "telephone_codec", {"codec": "pcm_mulaw", "rate_hz": 8_000})
    yield Edit("g711_alaw", "telephone_codec", {"codec": "pcm_alaw", "rate_hz": 8_000})
    yield Edit("g722", "telephone_codec", {"codec": "g722", "rate_hz": 16_000})
    for bit_rate in (4_750, 12_200):
        amr = {"codec": "libopencore_amrnb", "rate_hz": 8_000, "bit_rate": bit_rate}
        yield Edit(f"amr_nb_{bit_rate / 1000:.3g}k", "telephone_codec", amr)


def _filters() -> Iterator[Edit]:
    for khz in (8, 16, 48):
        yield Edit(f"resample_{khz}k", "resampled", {"rate_hz": khz * 1000})
    yield Edit("telephone_band", "band_pass", {"low_hz": 300, "high_hz": 3400})
    for low_hz, high_hz in ((500, 5000), (1000, 8000)):
        yield Edit(f"band_{low_hz}_{high_hz}", "band_pass", {"low_hz": low_hz, "high_hz": high_hz})
    for cutoff_hz in (1000, 3000, 3500, 6000, 8000):
        yield Edit(f"low_pass_{cutoff_hz}", "low_pass", {"cutoff_hz": cutoff_hz})
    for cutoff_hz in (100, 500, 1000):
        yield Edit(f"high_pass_{cutoff_hz}", "high_pass", {"cutoff_hz": cutoff_hz})
    for log_gain in (0.375, 0.75):
        yield Edit(f"equalise_{log_gain}", "equalise", {"log_gain": log_gain})
    for width_samples in (6, 14, 22):
        yield Edit(f"smooth_{width_samples}", "smooth", {"width_samples": width_samples})


def _mixing() -> Iterator[Edit]:
    for snr_db in (30, 20, 10, 5):
        yield Edit(f"noise_{snr_db}db", "white_noise", {"snr_db": snr_db})
    for snr_db in (20, 10):
        yield Edit(f"pink_{snr_db}db", "pink_noise", {"snr_db": snr_db})
        yield Edit(f"babble_{snr_db}db", "babble", {"snr_db": snr_db})
    for rt60_s, drr_db in ((0.3, 6), (0.5, 0)):
        yield Edit(f"reverb_{rt60_s}s_{drr_db}db", "simulated_reverb", {"rt60_s": rt60_s, "drr_db": drr_db})
    for volume, delay_ms in ((0.1, 200), (0.3, 500), (0.5, 700), (0.5, 100)):
        yield Edit(f"echo_{volume}_{delay_ms}ms", "echo", {"volume": volume, "delay_ms": delay_ms})
    for reduction_db in (12, 24):
        yield Edit(f"denoise_{reduction_db}db", "denoise", {"reduction_db": reduction_db})


def _levels() -> Iterator[Edit]:
    for gain_db in (-14, -6, 6):
        yield Edit(f"gain_{gain_db}db", "gain", {"gain_db": gain_db})
    yield Edit("polarity", "polarity")
    yield Edit("boost_90", "scale", {"factor": 1.9})
    yield Edit("duck_90", "scale", {"factor": 0.1})
    yield Edit("quantise_12bit", "quantise", {"levels": 2**12})
    yield Edit("quantise_64", "quantise", {"levels": 64})
    for threshold_db in (-18, -36):
        yield Edit(f"compress_{threshold_db}db", "compress", {"threshold_db": threshold_db, "ratio": 4})
        yield Edit(f"limit_{threshold_db}db", "limit", {"threshold_db": threshold_db})
    yield Edit("expand_-16db", "expand", {"threshold_db": -16})


def _times() -> Iterator[Edit]:
    for shift_ms in (10, 40):
        yield Edit(f"shift_{shift_ms}ms", "shift", {"shift_samples": shift_ms * SAMPLE_RATE_HZ // 1000})
    yield Edit("shift_7_samples", "shift", {"shift_samples": 7})
    for seconds in (1, 3):
        yield Edit(f"crop_{seconds}s", "crop", {"seconds": seconds})
    for percent in (50, 90):
        yield Edit(f"crop_{percent}", "crop_fraction", {"keep": percent / 100})
    for percent in (10, 20):
        yield Edit(f"delete_{percent}", "delete", {"fraction": percent / 100})
        yield Edit(f"insert_{percent}", "insert", {"fraction": percent / 100})
    for percent in (5, 10, 20):
        lost = {"fraction": percent / 100}
        yield Edit(f"packet_loss_{percent}_zero", "lose_packets", {**lost, "conceal": "zero"})
        yield Edit(f"packet_loss_{percent}_repeat", "lose_packets", {**lost, "conceal": "repeat"})
    for factor in (0.8, 0.9, 0.95, 1.05, 1.1, 1.25):
        yield Edit(f"speed_{factor}", "speed", {"factor": factor})
        yield Edit(f"stretch_{factor}", "stretch", {"tempo": factor})
    for semitones in (-2, -1, 1, 2):
        yield Edit(f"pitch_{semitones:+d}", "pitch", {"semitones": semitones})
    for tempo in (0.8, 0.9, 1.1, 1.25):
        yield Edit(f"editor_tempo_{tempo}", "editor_tempo", {"tempo": tempo})
    for semitones in (-2, -1, 1, 2):
        yield Edit(f"editor_pitch_{semitones:+d}", "editor_pitch", {"semitones": semitones})
    for sigma_samples in (0.1, 0.2):
        yield Edit(f"jitter_{sigma_samples}", "jitter", {"sigma_samples": sigma_samples})


def _by_name() -> dict[str, Edit]:
    made = [*_codecs(), *_filters(), *_mixing(), *_levels(), *_times()]
    by_name = {edit.name: edit for edit in made}
    doubles = {
        "mp3_64k+speed_1.05": ("mp3_64k", "speed_1.05"),
        "mp3_32k+speed_1.1": ("mp3_32k", "speed_1.1"),
        "opus_24k+editor_tempo_0.9": ("opus_24k", "editor_tempo_0.9"),
        "telephone_band+editor_pitch_+2": ("telephone_band", "editor_pitch_+2"),
        "opus_16k+noise_20db": ("noise_20db", "opus_16k"),
        "telephone_call": ("telephone_band", "g711_mulaw", "packet_loss_5_repeat"),
    }
    by_name |= {name: chain(name, *(by_name[part] for part in parts)) for name, parts in doubles.items()}
    return by_name


CATALOGUE: Mapping[str, Edit] = MappingProxyType(_by_name())
"""Every named edit, in the order of reports; the first, "identity", changes nothing."""

CODEC2: Mapping[str, Edit] = MappingProxyType(
    {f"codec2_{mode}": Edit(f"codec2_{mode}", "codec2", {"mode": mode}) for mode in ("3200", "1200")}
)
"""Not in the catalogue, since they need programs that not every machine has: `codecs.codec2_is_installed`."""
