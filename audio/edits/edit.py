"""An edit as a value, and the one function that applies it.

An `Edit` is a name, an operation and its parameters; a chain is an edit whose operation is "chain". Random
edits draw from a generator seeded by (seed, name), so the same edit of the same wave gives the same samples.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio.edits import codecs, dynamics, filters, mixing, timing

Wav = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Edit:
    """One attack. `operation` is a key of `OPERATIONS`; `parameters` are its keyword arguments."""

    name: str
    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ValueError(f"{self.operation!r} is not one of {', '.join(sorted(OPERATIONS))}")
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))


def chain(name: str, *edits: Edit) -> Edit:
    """Several edits, one after the other, as one."""
    return Edit(name, "chain", {"edits": edits})


def apply(wav_T: Wav, edit: Edit, *, seed: int = 0) -> Wav:
    """Apply one edit to a trusted mono waveform.

    Args: wav_T float32 [T] at 24 kHz, T >= 1, nominally in [-1, 1]; seed of every random choice.
    Returns a new float32 [T'] at 24 kHz; each operation's docstring states its alignment and length.
    Raises ValueError for another shape, for NaN or infinity.
    """
    wav_T = np.ascontiguousarray(wav_T, dtype=np.float32)
    if wav_T.ndim != 1 or wav_T.size == 0 or not np.isfinite(wav_T).all():
        raise ValueError(f"an edit needs a finite mono waveform [T] with T >= 1, got shape {wav_T.shape}")
    rng = np.random.default_rng([seed, zlib.crc32(edit.name.encode())])
    return OPERATIONS[edit.operation](wav_T, rng, **edit.parameters)


def _chain(wav_T: Wav, rng: np.random.Generator, *, edits: tuple[Edit, ...]) -> Wav:
    seed = int(rng.integers(2**32))
    for edit in edits:
        wav_T = apply(wav_T, edit, seed=seed)
    return wav_T


def _fixed(function: Callable[..., Wav]) -> Callable[..., Wav]:
    """An operation without chance, under the common signature."""
    return lambda wav_T, _rng, **parameters: function(wav_T, **parameters)


OPERATIONS: Mapping[str, Callable[..., Wav]] = MappingProxyType(
    {
        "identity": _fixed(np.copy),
        "chain": _chain,
        # codecs
        "opus": _fixed(codecs.opus),
        "mp3": _fixed(codecs.mp3),
        "aac": _fixed(codecs.aac),
        "vorbis": _fixed(codecs.vorbis),
        "telephone_codec": _fixed(codecs.telephone_codec),
        "codec2": _fixed(codecs.codec2),
        # filters
        "resampled": _fixed(filters.resampled),
        "low_pass": _fixed(filters.low_pass),
        "high_pass": _fixed(filters.high_pass),
        "band_pass": _fixed(filters.band_pass),
        "equalise": filters.equalise,
        "smooth": _fixed(filters.smooth),
        # noise and rooms
        "white_noise": mixing.white_noise,
        "pink_noise": mixing.pink_noise,
        "babble": mixing.babble,
        "background": mixing.background,
        "reverb": _fixed(mixing.reverb),
        "simulated_reverb": mixing.simulated_reverb,
        "echo": _fixed(mixing.echo),
        "denoise": _fixed(mixing.denoise),
        # level
        "gain": _fixed(dynamics.gain),
        "polarity": _fixed(dynamics.polarity),
        "scale": _fixed(dynamics.scale),
        "quantise": _fixed(dynamics.quantise),
        "compress": _fixed(dynamics.compress),
        "limit": _fixed(dynamics.limit),
        "expand": _fixed(dynamics.expand),
        # time
        "shift": _fixed(timing.shift),
        "crop": timing.crop,
        "crop_fraction": timing.crop_fraction,
        "delete": timing.delete,
        "insert": timing.insert,
        "lose_packets": timing.lose_packets,
        "speed": _fixed(timing.speed),
        "stretch": _fixed(timing.stretch),
        "pitch": _fixed(timing.pitch),
        "editor_tempo": _fixed(timing.editor_tempo),
        "editor_pitch": _fixed(timing.editor_pitch),
        "jitter": timing.jitter,
    }
)
"""Every operation as f(wav_T, rng, **parameters) -> wav_T'."""
