"""What a training copy goes through as a waveform: a room, a noise, a codec, lost packets.

Only what cannot be done to a spectrogram is done here, once and for whole recordings; speed, pitch, bands,
more noise and cut ends are added anew each time a copy is used (augment.py). Every step keeps the alignment
to 5 ms (audio/edits/codecs.py says which codec is how late).
"""

import numpy as np

from audio import edits
from audio.edits import Edit
from audio.store import Wav

_CODECS: tuple[tuple[float, str, dict[str, object]], ...] = (
    (0.26, "opus", {}), (0.22, "mp3", {}), (0.14, "aac", {}), (0.02, "vorbis", {"quality": 2}),
    (0.08, "telephone_codec", {"codec": "pcm_mulaw", "rate_hz": 8_000}),
    (0.04, "telephone_codec", {"codec": "pcm_alaw", "rate_hz": 8_000}),
    (0.05, "telephone_codec", {"codec": "libopencore_amrnb", "rate_hz": 8_000, "bit_rate": 12_200}),
    (0.05, "telephone_codec", {"codec": "libopencore_amrnb", "rate_hz": 8_000, "bit_rate": 4_750}),
    (0.02, "telephone_codec", {"codec": "g722", "rate_hz": 16_000}),
    (0.12, "identity", {}),
)  # fmt: skip
_BIT_RATES = {
    "opus": (6_000, 8_000, 8_000, 12_000, 16_000, 24_000),
    "mp3": (16_000, 24_000, 32_000, 64_000),
    "aac": (24_000, 32_000, 48_000),
}


def random_journey(rng: np.random.Generator, rooms: list[Wav]) -> Edit:
    """A chain of edits, each of whose steps is left out more often than not, the codec excepted."""
    steps: list[Edit] = []
    if rng.random() < 0.4:
        steps.append(_room(rng, rooms))
    if rng.random() < 0.2:
        kind = ("white_noise", "pink_noise", "babble")[rng.integers(3)]
        steps.append(Edit("noise", kind, {"snr_db": float(rng.uniform(0.0, 20.0))}))
    _, operation, parameters = _CODECS[rng.choice(len(_CODECS), p=[share for share, _, _ in _CODECS])]
    if operation in _BIT_RATES:
        parameters = {"bit_rate": int(rng.choice(_BIT_RATES[operation]))}
    steps.append(Edit("codec", operation, parameters))
    if rng.random() < 0.12:
        lost = {"fraction": float(rng.uniform(0.02, 0.12)), "conceal": ("zero", "repeat")[rng.integers(2)]}
        steps.append(Edit("lost", "lose_packets", lost))
    return edits.chain("journey", *steps)


def _room(rng: np.random.Generator, rooms: list[Wav]) -> Edit:
    if rooms and rng.random() < 0.4:
        return edits.room(rooms[rng.integers(len(rooms))])
    rt60_s, drr_db = float(rng.uniform(0.2, 1.2)), float(rng.uniform(-4.0, 9.0))
    return Edit("room", "simulated_reverb", {"rt60_s": rt60_s, "drr_db": drr_db})
