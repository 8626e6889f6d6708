"""The styles that can be asked for, as a table: what each changes, all of it measurable.

A style is applied to a neutral utterance by the signal processing of effects.py, in the same way for every
voice, so that the real voice has the same styles as the synthesizers. `num_styles` and the order are those of
the model's style tokens: new styles go at the end.
Measured so: rate in words a second, pitch in Hz, level in dBFS, tilt in dB an octave, whisper by the share
of voiced frames.
"""

from dataclasses import dataclass, replace

from audio import SAMPLE_RATE_HZ
from generation.train.data import effects
from generation.train.data.item import SpokenSentence, in_order

NEUTRAL_LEVEL_DB = -25.0
"""Speech in dBFS, RMS over its active frames: peaks stay near -8 dBFS."""


@dataclass(frozen=True)
class Style:
    """Factors and differences from neutral."""

    rate: float = 1.0
    pitch: float = 1.0
    level_db: float = 0.0
    tilt_db_per_octave: float = 0.0
    whispered: bool = False


STYLES: dict[str, Style] = {
    "neutral": Style(),
    "slow": Style(rate=0.8),
    "slower": Style(rate=0.65),
    "fast": Style(rate=1.25),
    "faster": Style(rate=1.5),
    "low": Style(pitch=0.86),
    "high": Style(pitch=1.16),
    "soft": Style(level_db=-10.0),
    "loud": Style(level_db=8.0),
    "dark": Style(tilt_db_per_octave=-3.0),
    "bright": Style(tilt_db_per_octave=3.0),
    "whisper": Style(level_db=-5.0, whispered=True),
}

NAMES = tuple(STYLES)


def styled(neutral: SpokenSentence, name: str, seed: int) -> SpokenSentence:
    """The utterance in another style, its word times with it; `neutral` only brings it to its level.

    Raises KeyError for a name that is not in the table.
    """
    style = STYLES[name]
    wav_T = neutral.wav_T
    if style.whispered:
        wav_T = effects.whisper(wav_T, seed)
    wav_T = effects.stretch(effects.transpose(wav_T, style.pitch), style.rate)
    if style.tilt_db_per_octave:
        wav_T = effects.tilt(wav_T, style.tilt_db_per_octave)
    wav_T = effects.at_level(wav_T, NEUTRAL_LEVEL_DB + style.level_db)
    spans_s = [(word.start_s / style.rate, word.end_s / style.rate) for word in neutral.words]
    words = in_order(neutral.text, spans_s, len(wav_T) / SAMPLE_RATE_HZ)
    return replace(neutral, wav_T=wav_T, words=words, style=name)
