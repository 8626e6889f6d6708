"""How strong copies, strangers and pasted marks agree with a generation: `python -m benchmarks.agreement`.

The limits of api/agreement.py come from here. Strength is the score of `Registry.compare` by audible
second. Copies are marked recordings of tests/assets after each edit, whole and cut to 3 s; strangers are
the other recordings; pasted marks are (marked - original) times a level, added to a recording that nobody
marked. Prints one line for each kind with the number of cases, and writes
benchmarks/results/agreement.json. Eight recordings are few: read the extremes."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.agreement import CLEAR_PER_S, UNLIKE_PER_S
from api.audible import audible
from api.service import Service
from api.settings import Settings
from audio import SAMPLE_RATE_HZ, decode, edits

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
RESULTS = Path(__file__).parent / "results" / "agreement.json"
MARKED = ("kathleen_1", "kerstin_1", "krisgesling", "eltocino")
VICTIMS = ("kathleen_2", "kerstin_2", "amelia", "adocampo")
EDITS = ("identity", "mp3_32k", "opus_12k", "telephone_band", "noise_20db", "noise_10db", "speed_1.05")
LEVELS = (1, 3, 6, 12)
_CROP = slice(SAMPLE_RATE_HZ, 4 * SAMPLE_RATE_HZ)

Wav = NDArray[np.float32]


def main() -> None:
    """Measure, print, write."""
    original = {name: decode((ASSETS / f"{name}.flac").read_bytes()).wav_T for name in MARKED + VICTIMS}
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        Path(folder).chmod(0o711)  # the database's unprivileged account must pass through
        with Service.open(Settings(data_dir=Path(folder) / "data")) as service:
            strengths = _measure(service, original)
    print(f"{'strength per audible second':<32} {'n':>4} {'least':>6} {'median':>6} {'most':>6}")
    for kind, values in strengths.items():
        print(
            f"{kind:<32} {len(values):>4} {min(values):>6.2f} {np.median(values):>6.2f} {max(values):>6.2f}"
        )
    print(f"limits: agreement from {CLEAR_PER_S}, not the generation below {UNLIKE_PER_S}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(strengths, indent=2) + "\n")


def _measure(service: Service, original: dict[str, Wav]) -> dict[str, list[float]]:
    strengths: dict[str, list[float]] = {}
    for name in MARKED:
        file = service.mark_file((ASSETS / f"{name}.flac").read_bytes())
        for kind, wav_T in _cases(name, decode(file.data).wav_T, original):
            score = service.registry.compare(file.generation_id, wav_T, SAMPLE_RATE_HZ).score
            strengths.setdefault(kind, []).append(score / audible(wav_T).duration_s)
    return strengths


def _cases(name: str, marked_T: Wav, original: dict[str, Wav]) -> Iterator[tuple[str, Wav]]:
    for edit in EDITS:
        yield f"copy, {edit}", edits.apply(marked_T, edit, seed=0)
        yield f"copy, {edit}, 3 s", edits.apply(marked_T[_CROP], edit, seed=0)
    for stranger, wav_T in original.items():
        if stranger != name:
            yield "stranger", wav_T
            yield "stranger, 3 s", wav_T[_CROP]
    for level in LEVELS:
        for victim in VICTIMS:
            yield f"pasted mark, level {level}", _pasted(original[name], marked_T, original[victim], level)


def _pasted(original_T: Wav, marked_T: Wav, victim_T: Wav, level: int) -> Wav:
    T = min(len(victim_T), len(marked_T))
    return victim_T[:T] + level * (marked_T[:T] - original_T[:T])


if __name__ == "__main__":
    main()
