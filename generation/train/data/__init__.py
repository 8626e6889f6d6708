"""Speech with its words and their times, to train the small voice on: `build` makes, `SpeechCache` reads.

    speech = SpeechCache(folder)
    for row in speech.select(Part.TRAIN, voice="kathleen", style="neutral"):
        item = speech.read(row)         # SpokenSentence(text, words, wav_T, voice, style)
    speech.select(Part.TEST)            # the sentences that nothing is trained on, in every voice

Needs, at training time only: Debian's `espeak-ng` and `flite`, and `pip install 'earmark[train]'`.
"""

from generation.train.data.build import PRONUNCIATIONS, TOKENIZER, DataConfig, Figures, build
from generation.train.data.cache import Row, SpeechCache
from generation.train.data.item import Part, SpokenSentence, Word
from generation.train.data.styles import STYLES, Style

__all__ = [
    "PRONUNCIATIONS",
    "STYLES",
    "TOKENIZER",
    "DataConfig",
    "Figures",
    "Part",
    "Row",
    "SpeechCache",
    "SpokenSentence",
    "Style",
    "Word",
    "build",
]
