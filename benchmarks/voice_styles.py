"""Whether each style that `say` offers is heard: rate, pitch, level, tilt and whispering, measured.

    python -m benchmarks.voice_styles SPEECH [--model mini] [--sentences 12]

SPEECH is what `earmark train data` made; its held-out sentences are said in each style, with one seed, and
compared sentence by sentence with how they are said neutrally. Beside every median stands what the style's
row asks for (generation/train/data/styles.py). Rate counts words between the first and the last sound, level
is of active frames, pitch the median of voiced windows, tilt a line through four octaves of the spectrum.
Not here: whether words stay intelligible (benchmarks/voice.py).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from benchmarks import report
from benchmarks.voice import one_recording_each
from generation import MINI_VOICE, Speaker
from generation.mimi.features import PITCH_HZ, PITCH_SCALE, VOICING_SCALE, features
from generation.train.data.cache import SpeechCache
from generation.train.data.effects import level_db
from generation.train.data.styles import STYLES, Style

SEED = 7
WINDOW, HOP = 1024, 240
NUM_BANDS = 62
QUIET_DB = 35.0  # below the loudest window: no speech
VOICED = 0.5
OCTAVES_HZ = (300, 600, 1200, 2400)

Wav = NDArray[np.float32]


class Sound(NamedTuple):
    """What is measured of one utterance."""

    words_per_s: float
    pitch_hz: float  # NaN where nothing is voiced
    level_db: float
    tilt_db_per_octave: float
    voiced_share: float  # of active windows


def measured(wav_T: Wav, num_words: int) -> Sound:
    """Raises ValueError for silence."""
    frames_NW = torch.from_numpy(wav_T).unfold(0, WINDOW, HOP)
    power_N = frames_NW.square().mean(1)
    active_N = 10 * torch.log10(power_N + 1e-12) > 10 * torch.log10(power_N.max() + 1e-12) - QUIET_DB
    if float(power_N.max()) < 1e-10:
        raise ValueError("nothing is heard")
    pitch_N, voicing_N = features(frames_NW[None], NUM_BANDS + 2)[0, :, -2:].T
    voicing_N = voicing_N / VOICING_SCALE
    voiced_N = active_N & (voicing_N > VOICED)
    hz_N = PITCH_HZ * torch.exp(pitch_N / PITCH_SCALE / voicing_N.clamp(min=1e-3))
    heard = torch.nonzero(active_N)[:, 0]
    seconds = float(heard[-1] - heard[0] + 1) * HOP / SAMPLE_RATE_HZ
    return Sound(
        num_words / seconds,
        float(hz_N[voiced_N].median()) if voiced_N.any() else float("nan"),
        level_db(wav_T),
        _tilt(frames_NW[active_N].numpy()),
        float(voiced_N.sum() / active_N.sum()),
    )


def _tilt(frames_NW: NDArray[np.float32]) -> float:
    power_K = (np.abs(np.fft.rfft(frames_NW * np.hanning(WINDOW))) ** 2).mean(axis=0)
    hz_K = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE_HZ)
    bands = [power_K[(hz_K > low) & (hz_K < 2 * low)].mean() for low in OCTAVES_HZ]
    return float(np.polyfit(range(len(bands)), 10 * np.log10(bands), 1)[0])


class Row(NamedTuple):
    """A style against neutral: medians over sentences, factors for rate and pitch, else differences."""

    style: str
    rate: float
    pitch: float
    level_db: float
    tilt_db_per_octave: float
    voiced_share: float  # of the style itself

    def heard(self, wanted: Style) -> bool:
        """Whether what the style asks for is at least half there, and in the right direction."""
        asked = (
            (np.log(wanted.rate), np.log(self.rate)),
            (np.log(wanted.pitch), np.log(self.pitch)),
            (0.0 if wanted.whispered else wanted.level_db, self.level_db),
            (wanted.tilt_db_per_octave, self.tilt_db_per_octave),
        )
        changed = [found / asks >= 0.5 for asks, found in asked if asks]
        return all(changed) and (not wanted.whispered or self.voiced_share < 0.25)


def compared(name: str, styled: Sequence[Sound], neutral: Sequence[Sound]) -> Row:
    """Medians of what changed between two ways to say the same sentences."""

    def median(values: Sequence[float]) -> float:
        return float(np.nanmedian(np.asarray(values)))

    pairs = list(zip(styled, neutral, strict=True))
    return Row(
        name,
        median([one.words_per_s / other.words_per_s for one, other in pairs]),
        median([one.pitch_hz / other.pitch_hz for one, other in pairs]),
        median([one.level_db - other.level_db for one, other in pairs]),
        median([one.tilt_db_per_octave - other.tilt_db_per_octave for one, other in pairs]),
        median([one.voiced_share for one in styled]),
    )


def main() -> None:
    """Print the table and write benchmarks/results/voice_styles.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--model", default=MINI_VOICE)
    parser.add_argument("--sentences", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(1)

    speaker = Speaker.load(args.model)
    texts = [
        row.text
        for row in one_recording_each(SpeechCache(args.speech), speaker.choices("voice")[0], args.sentences)
    ]

    def sounds(style: str) -> list[Sound]:
        said = []
        for text in texts:
            request = speaker.read(text, style=style)
            wav_T = np.concatenate(list(speaker.say(request, seed=SEED)))
            said.append(measured(wav_T, sum(len(part.split()) for part in request.sentences)))
        return said

    neutral = sounds("neutral")
    rows = [compared(name, sounds(name), neutral) for name in speaker.choices("style")[1:]]
    print(report.table(
        ("style", "rate", "pitch", "level, dB", "tilt, dB/octave", "voiced", "heard"),
        [
            (
                row.style,
                f"{row.rate:.2f} ({STYLES[row.style].rate:g})",
                f"{row.pitch:.2f} ({STYLES[row.style].pitch:g})",
                f"{row.level_db:+.1f} ({STYLES[row.style].level_db:+g})",
                f"{row.tilt_db_per_octave:+.1f} ({STYLES[row.style].tilt_db_per_octave:+g})",
                f"{100 * row.voiced_share:.0f} %",
                "yes" if row.heard(STYLES[row.style]) else "no",
            )
            for row in rows
        ],
    ))  # fmt: skip
    result = {row.style: row._asdict() | {"heard": row.heard(STYLES[row.style])} for row in rows}
    print(report.write("voice_styles", {"sentences": len(texts), "styles": result}))


if __name__ == "__main__":
    main()
