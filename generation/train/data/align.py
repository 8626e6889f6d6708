"""The time of every word, or phone, in a recording whose text is known: forced alignment with PocketSphinx.

The model is the US English one that the package brings (16 kHz). A word that its dictionary lacks is given
the pronunciation that Flite guesses. Source: D. Huggins-Daines et al., 2006, "PocketSphinx"; pocketsphinx 5,
`Decoder.set_align_text`. The resolution is 10 ms. Not thread-safe: one Aligner for each thread.
"""

from functools import cached_property
from typing import Any

import numpy as np

from audio import SAMPLE_RATE_HZ, resample
from audio.store import Wav
from generation.errors import TrainingDataError
from generation.train.data.flite import Flite
from generation.train.data.item import SpokenSentence, in_order

_RATE_HZ = 16_000
_FRAMES_PER_S = 100
_FASTEST_WORDS_PER_S = 8.0  # nobody reads a sentence faster: such an alignment has lost the speech


class Aligner:
    """A decoder with its model. Loading takes about a second."""

    def __init__(self) -> None:
        """Raises TrainingDataError when pocketsphinx is not installed."""
        try:
            from pocketsphinx import Decoder
        except ImportError as exc:
            raise TrainingDataError("pocketsphinx is missing: pip install 'earmark[train]'") from exc
        self._decoder: Any = Decoder(samprate=_RATE_HZ, loglevel="FATAL", lm=None, bestpath=False)

    @cached_property
    def _flite(self) -> Flite:
        return Flite("slt")

    def align(self, text: str, wav_T: Wav, voice: str) -> SpokenSentence | None:
        """The recording cut to its speech, with its words; None where the text does not fit the speech.

        `text` is what `generation.speech_text.spoken` returns. Raises TrainingDataError when a word is not in
        the dictionary and Flite is not installed.
        """
        bare = self._known(text)
        segments = self._segments(" ".join(bare), resample(wav_T, SAMPLE_RATE_HZ, _RATE_HZ))
        if [word for word, _, _ in segments] != bare:
            return None
        spans_s = [(first / _FRAMES_PER_S, (last + 1) / _FRAMES_PER_S) for _, first, last in segments]
        if len(bare) / (spans_s[-1][1] - spans_s[0][0]) > _FASTEST_WORDS_PER_S:
            return None
        words = in_order(text, spans_s, len(wav_T) / SAMPLE_RATE_HZ)
        return SpokenSentence(text, words, wav_T, voice).trimmed()

    def phones(self, text: str, wav_T: Wav) -> list[tuple[str, float, float]]:
        """(phone, start_s, seconds) from the recording's first sample on, "SIL" where nobody speaks; empty
        where the alignment failed. `text` and errors as in `align`.

        Two passes, as PocketSphinx has it: the words, then the phones within them.
        """
        pcm = _pcm(resample(wav_T, SAMPLE_RATE_HZ, _RATE_HZ))
        try:
            self._decoder.set_align_text(" ".join(self._known(text)))
            self._decode(pcm)
            self._decoder.set_alignment()
            self._decode(pcm)
        except RuntimeError:
            return []
        return [
            (phone.name, phone.start / _FRAMES_PER_S, phone.duration / _FRAMES_PER_S)
            for word in self._decoder.get_alignment()
            for phone in word
        ]

    def _known(self, text: str) -> list[str]:
        """The words without their marks, each of them in the decoder's dictionary."""
        bare = [word.rstrip(",.?!") for word in text.split()]
        for word in bare:
            if self._decoder.lookup_word(word) is None:
                self._decoder.add_word(word, " ".join(self._flite.pronounce(word)), True)
        return bare

    def _segments(self, text: str, wav_T: Wav) -> list[tuple[str, int, int]]:
        """(word, first frame, last frame) without silences; empty where the alignment failed."""
        try:
            self._decoder.set_align_text(text)
            self._decode(_pcm(wav_T))
        except RuntimeError:
            return []
        return [
            (segment.word.partition("(")[0], segment.start_frame, segment.end_frame)
            for segment in self._decoder.seg() or []
            if not segment.word.startswith(("<", "["))
        ]

    def _decode(self, pcm: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()


def _pcm(wav_T: Wav) -> bytes:
    return (np.clip(wav_T, -1.0, 1.0) * 32767).astype("<i2").tobytes()
