"""Edits of the time axis: shift, cut, speed, stretch, pitch, lost packets.

Dimension key: T samples at 24 kHz, mono. Lengths change where the docstring says so.
Source of the stretch: W. Verhelst, M. Roelands, "An overlap-add technique based on waveform similarity
(WSOLA)", ICASSP 1993; differs: 30 ms frames, search +-8 ms, similarity normalised.
"""

from fractions import Fraction
from typing import Literal

import av
import av.filter
import numpy as np
from numpy.typing import NDArray

from audio.encode import to_frame
from audio.rates import SAMPLE_RATE_HZ
from audio.resample import resample

Wav = NDArray[np.float32]

PACKET_SAMPLES = SAMPLE_RATE_HZ // 50
"""20 ms, the packet of telephony."""


def shift(wav_T: Wav, *, shift_samples: int) -> Wav:
    """Later by `shift_samples` (earlier when negative), silence moved in; same length."""
    out_T = np.zeros_like(wav_T)
    if shift_samples >= 0:
        out_T[shift_samples:] = wav_T[: max(len(wav_T) - shift_samples, 0)]
    else:
        out_T[:shift_samples] = wav_T[-shift_samples:]
    return out_T


def crop(wav_T: Wav, rng: np.random.Generator, *, seconds: float, start_s: float | None = None) -> Wav:
    """Keep `seconds` from `start_s` (None: a random place); the whole clip when it is shorter."""
    num_samples = min(round(seconds * SAMPLE_RATE_HZ), len(wav_T))
    last_start = len(wav_T) - num_samples
    start = int(rng.integers(last_start + 1)) if start_s is None else round(start_s * SAMPLE_RATE_HZ)
    return wav_T[min(start, last_start) :][:num_samples].copy()


def crop_fraction(wav_T: Wav, rng: np.random.Generator, *, keep: float) -> Wav:
    """Keep the fraction `keep` from a random place."""
    return crop(wav_T, rng, seconds=keep * len(wav_T) / SAMPLE_RATE_HZ)


def delete(wav_T: Wav, rng: np.random.Generator, *, fraction: float) -> Wav:
    """Cut out random 20 ms pieces, `fraction` of the clip in all; the rest closes up."""
    keep_P = _spared_packets(len(wav_T), rng, fraction)
    return wav_T[np.repeat(keep_P, PACKET_SAMPLES)[: len(wav_T)]]


def insert(wav_T: Wav, rng: np.random.Generator, *, fraction: float) -> Wav:
    """Insert 20 ms of silence after random pieces, so that the clip grows by `fraction`."""
    keep_P = _spared_packets(len(wav_T), rng, fraction)
    silence_T = np.zeros(PACKET_SAMPLES, dtype=np.float32)
    pieces = []
    for packet, kept in enumerate(keep_P):
        pieces.append(wav_T[packet * PACKET_SAMPLES : (packet + 1) * PACKET_SAMPLES])
        if not kept:
            pieces.append(silence_T)
    return np.concatenate(pieces)


def lose_packets(
    wav_T: Wav, rng: np.random.Generator, *, fraction: float, conceal: Literal["zero", "repeat"]
) -> Wav:
    """Lose random 20 ms packets; each becomes silence, or repeats the packet before it. Same length."""
    keep_P = _spared_packets(len(wav_T), rng, fraction)
    out_T = np.zeros(len(keep_P) * PACKET_SAMPLES, dtype=np.float32)
    out_T[: len(wav_T)] = wav_T
    out_PT = out_T.reshape(len(keep_P), PACKET_SAMPLES)
    for packet in np.flatnonzero(~keep_P):
        out_PT[packet] = out_PT[packet - 1] if conceal == "repeat" and packet > 0 else 0.0
    return out_T[: len(wav_T)].copy()


def speed(wav_T: Wav, *, factor: float) -> Wav:
    """Play `factor` times as fast, pitch rising with it; length ceil(T / factor)."""
    ratio = Fraction(factor).limit_denominator(1000)
    return resample(wav_T, ratio.numerator, ratio.denominator)


def stretch(wav_T: Wav, *, tempo: float) -> Wav:
    """Play `tempo` times as fast and keep the pitch (WSOLA); length about T / tempo."""
    frame, hop, search = 720, 360, 192
    num_frames = max(round(len(wav_T) / tempo / hop), 1)
    padded_T = np.pad(wav_T, (search, frame + 2 * search + hop)).astype(np.float64)
    window_T = np.hanning(frame + 1)[:frame]
    out_T = np.zeros(num_frames * hop + frame)
    place = search  # where in padded_T the frame that was just written began
    for number in range(num_frames):
        if number > 0:
            # The best next frame looks like what would have followed the last one, near its nominal place.
            nominal = min(round(number * hop * tempo), len(padded_T) - frame - hop - 2 * search)
            wanted_T = padded_T[place + hop :][:frame]
            place = nominal + _most_similar(padded_T[nominal : nominal + frame + 2 * search], wanted_T)
        out_T[number * hop :][:frame] += padded_T[place : place + frame] * window_T
    out_T[:hop] += padded_T[search:][:hop] * (1 - window_T[:hop])  # the first half window has no partner
    return out_T[: num_frames * hop].astype(np.float32)


def pitch(wav_T: Wav, *, semitones: float) -> Wav:
    """Raise (or lower) the pitch and keep the tempo; about the same length."""
    factor = Fraction(2 ** (semitones / 12)).limit_denominator(200)
    return speed(stretch(wav_T, tempo=float(1 / factor)), factor=float(factor))


def editor_tempo(wav_T: Wav, *, tempo: float) -> Wav:
    """`stretch` as editors do it: FFmpeg's atempo (WSOLA with its own windows); length about T / tempo.

    Clips shorter than its window, about 40 ms, give nothing.
    """
    return _filtered(wav_T, ("atempo", f"{tempo}"))


def editor_pitch(wav_T: Wav, *, semitones: float) -> Wav:
    """`pitch` as the usual FFmpeg recipe does it: play faster, resample, and atempo back."""
    rate_hz = round(SAMPLE_RATE_HZ * 2 ** (semitones / 12))
    faster = ("asetrate", f"{rate_hz}"), ("aresample", f"{SAMPLE_RATE_HZ}")
    return _filtered(wav_T, *faster, ("atempo", f"{SAMPLE_RATE_HZ / rate_hz}"))


def _filtered(wav_T: Wav, *filters: tuple[str, str]) -> Wav:
    """The wave after a chain of FFmpeg's filters, each a name and its arguments."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=SAMPLE_RATE_HZ, format="flt", layout="mono")
    chain = [source, *(graph.add(name, arguments) for name, arguments in filters), graph.add("abuffersink")]
    graph.link_nodes(*chain).configure()
    source.push(to_frame(np.atleast_2d(wav_T), SAMPLE_RATE_HZ, "flt"))
    source.push(None)
    out: list[Wav] = [np.zeros(0, np.float32)]
    while True:
        try:
            frame = chain[-1].pull()
        except av.error.EOFError:
            return np.concatenate(out)
        assert isinstance(frame, av.AudioFrame)
        out.append(np.asarray(frame.to_ndarray().reshape(-1), np.float32))


def jitter(wav_T: Wav, rng: np.random.Generator, *, sigma_samples: float) -> Wav:
    """Take each sample at a place off by Gaussian(0, sigma_samples), linearly interpolated; same length."""
    places_T = np.arange(len(wav_T)) + sigma_samples * rng.standard_normal(len(wav_T))
    return np.interp(places_T, np.arange(len(wav_T)), wav_T).astype(np.float32)


def _most_similar(region_T: NDArray[np.float64], wanted_T: NDArray[np.float64]) -> int:
    """Offset into the region at which it correlates best with what is wanted (normalised)."""
    products = np.correlate(region_T, wanted_T, mode="valid")
    energy_T = np.concatenate([[0.0], np.cumsum(region_T**2)])
    energies = energy_T[len(wanted_T) :] - energy_T[: len(products)]
    return int(np.argmax(products / np.sqrt(np.maximum(energies, 1e-9))))


def _spared_packets(num_samples: int, rng: np.random.Generator, fraction: float) -> NDArray[np.bool_]:
    """One flag a packet: False for exactly round(fraction * packets) of them."""
    num_packets = -(-num_samples // PACKET_SAMPLES)
    keep_P = np.ones(num_packets, dtype=np.bool_)
    keep_P[rng.permutation(num_packets)[: round(fraction * num_packets)]] = False
    return keep_P
