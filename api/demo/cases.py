"""What the demo asks about: marked speech, altered copies, a pasted mark, and people nobody marked.

Dimension key: T samples at 24 kHz. Expectations are about the verdict only. Most alterations must be
survived; for the one that the mark often does not survive (strong noise) it is enough that nothing false is
claimed. How often each is survived is a question for many clips: docs/benchmarks.md.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.demo.errors import DemoError
from audio import SAMPLE_RATE_HZ, decode, edits, encode

OURS = frozenset({"issued_here", "issued_here_altered"})
NOTHING_FALSE = OURS | {"not_detected", "inconclusive"}
NOT_ISSUED = frozenset({"mark_transplanted", "marked_unknown_issuer", "not_detected", "inconclusive"})
HUMAN = frozenset({"not_detected"})

SAID = "said"
TEXT = (
    "Dear listener, nobody has ever said this sentence before me. I am a small voice, and whatever I say can "
    "be recognised later, on the telephone and in a podcast."
)
"""What our own voice says first, with a seed, so that it always says it in the same way."""
SEED = 7

MARKED = ("kathleen_1", "kerstin_1")
NEVER_MARKED = ("kathleen_2", "amelia", "adocampo")
"""kathleen_2 is the voice of kathleen_1 reading something else: a voice is not a recording."""
VICTIM = "kerstin_2"
"""The person onto whose clip kathleen_1's mark is pasted; kerstin_1's goes onto kathleen_2, amplified."""

_CROP_S = (4.0, 7.0)


@dataclass(frozen=True)
class Recording:
    """One of the repository's recordings, as the file that is sent."""

    name: str
    data: bytes
    wav_T: NDArray[np.float32]


@dataclass(frozen=True)
class Marked:
    """Marked speech as it was answered: what our voice said, or a recording under its name."""

    name: str
    form: str  # wav, flac: the end of a file's name
    data: bytes
    wav_T: NDArray[np.float32]
    generation_id: str
    content_id: str


@dataclass(frozen=True)
class Case:
    """One file to ask about, the verdicts that are right, and the only generation it may be attributed to."""

    file_name: str
    data: bytes
    required: frozenset[str]
    generation_id: str | None = None


def load_recording(assets: Path, name: str) -> Recording:
    """Read one recording. Raises DemoError when the repository's recordings are not there."""
    path = assets / f"{name}.flac"
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise DemoError(
            f"{path} cannot be read; the demo needs the repository's recordings, so run it in a clone of it"
        ) from exc
    return Recording(name, data, decode(data).wav_T)


def build_cases(
    said: Marked,
    marked: list[tuple[Recording, Marked]],
    victim: Recording,
    never_marked: list[Recording],
) -> list[Case]:
    """All files, in the order of the table. Deterministic but for the ids in the marks."""
    (first, first_marked), (second, second_marked) = marked
    cases = [case for one in (said, first_marked) for case in _copies(one)]
    # The louder one is still readable, and names a generation that the audio is not.
    for original, one, other, level in (
        (first, first_marked, victim, 1),
        (second, second_marked, never_marked[0], 3),
    ):
        name = f"{other.name}_pasted_mark_x{level}.flac"
        cases.append(Case(name, _flac(_paste(original, one, other.wav_T, level)), NOT_ISSUED))
    cases += [Case(f"{human.name}_unmarked.flac", human.data, HUMAN) for human in never_marked]
    return cases


def _copies(marked: Marked) -> list[Case]:
    name, wav_T = marked.name, marked.wav_T
    start, end = (round(at_s * SAMPLE_RATE_HZ) for at_s in _CROP_S)
    mp3 = encode(wav_T, SAMPLE_RATE_HZ, "mp3", bit_rate=32_000)
    opus = encode(wav_T, SAMPLE_RATE_HZ, "ogg", codec="opus", bit_rate=12_000)
    return [
        Case(f"{name}_{alteration}", data, required, marked.generation_id)
        for alteration, data, required in (
            (f"marked.{marked.form}", marked.data, frozenset({"issued_here"})),
            ("mp3_32k.mp3", mp3, OURS),
            ("opus_12k.ogg", opus, OURS),
            ("telephone_band.flac", _edited(wav_T, "telephone_band"), OURS),
            ("noise_10db.flac", _edited(wav_T, "noise_10db"), NOTHING_FALSE),
            ("crop_3s.flac", _flac(wav_T[start:end]), OURS),
            ("speed_0.8.flac", _edited(wav_T, "speed_0.8"), OURS),
            ("tempo_1.25.flac", _edited(wav_T, "editor_tempo_1.25"), OURS),
            ("pitch_+2.flac", _edited(wav_T, "editor_pitch_+2"), OURS),
        )
    ]


def _edited(wav_T: NDArray[np.float32], edit: str) -> bytes:
    return _flac(edits.apply(wav_T, edit, seed=0))


def _paste(
    original: Recording, marked: Marked, victim_T: NDArray[np.float32], level: int
) -> NDArray[np.float32]:
    """What an attacker with original and marked file does: their difference, amplified, added to another
    clip."""
    T = min(len(marked.wav_T), len(victim_T))
    residual_T = marked.wav_T[:T] - original.wav_T[:T]
    return victim_T[:T] + level * residual_T


def _flac(wav_T: NDArray[np.float32]) -> bytes:
    return encode(wav_T, SAMPLE_RATE_HZ, "flac")
