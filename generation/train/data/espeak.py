"""Speech of eSpeak NG, with the time of every word.

The library of Debian's package `espeak-ng` is called in this process through ctypes, synchronously; its word
events say where in the text and at which sample a word begins. A word ends where the next one begins, less
the quiet before that. The library keeps one voice for the whole process: one `Espeak` speaks at a time.
Source: speak_lib.h of espeak-ng 1.51. Text must be what `generation.speech_text.spoken` returns.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from audio import SAMPLE_RATE_HZ, resample
from audio.store import Wav
from generation.errors import TrainingDataError
from generation.train.data.item import SpokenSentence, in_order

_LIBRARY = "libespeak-ng.so.1"
_SYNCHRONOUS, _ASCII = 2, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_LAST_EVENT, _WORD_EVENT = 0, 1
_QUIET = 0.01  # of full scale, in blocks of 5 ms
_BLOCK = SAMPLE_RATE_HZ // 200


@dataclass(frozen=True)
class EspeakVoice:
    """`variant` as `espeak-ng -v` takes it; words a minute; pitch and its range from 0 to 99."""

    variant: str
    words_per_minute: int
    pitch: int
    pitch_range: int


VOICES = {
    "espeak-us-m": EspeakVoice("en-us", 160, 45, 50),
    "espeak-us-f": EspeakVoice("en-us+f3", 155, 55, 55),
    "espeak-gb-f": EspeakVoice("en-gb+f2", 165, 50, 60),
    "espeak-gb-m": EspeakVoice("en-gb-x-rp+m3", 150, 40, 45),
}


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("union", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Espeak:
    """One voice of VOICES."""

    def __init__(self, voice: str) -> None:
        """Raises TrainingDataError when the package is not installed, KeyError for an unknown voice."""
        self.voice, self._settings = voice, VOICES[voice]
        self._library, self._rate_hz = _library()

    def speak(self, text: str) -> SpokenSentence | None:
        """A sentence in its neutral style; None for text that eSpeak finds no word in."""
        samples, starts = self._synthesize(text)
        if not starts:
            return None
        wav_T = resample(samples, self._rate_hz, SAMPLE_RATE_HZ)
        starts_s = [start / self._rate_hz for start in _one_each(text, starts, len(samples))]
        spans_s = [
            (start, _end_of_sound_s(wav_T, start, following))
            for start, following in zip(starts_s, [*starts_s[1:], len(wav_T) / SAMPLE_RATE_HZ], strict=True)
        ]
        words = in_order(text, spans_s, len(wav_T) / SAMPLE_RATE_HZ)
        return SpokenSentence(text, words, wav_T, self.voice).trimmed()

    def _synthesize(self, text: str) -> tuple[Wav, dict[int, int]]:
        """Samples at the library's rate, and the sample at which the word at a character begins."""
        parts: list[Any] = [np.zeros(0, np.int16)]
        starts: dict[int, int] = {}

        def receive(wav: Any, num_samples: int, events: Any) -> int:
            if wav and num_samples:
                parts.append(np.ctypeslib.as_array(wav, (num_samples,)).copy())
            index = 0
            while events[index].type != _LAST_EVENT:
                if events[index].type == _WORD_EVENT:
                    starts.setdefault(events[index].text_position - 1, events[index].sample)
                index += 1
            return 0

        settings, library, encoded = self._settings, self._library, text.encode("ascii")
        library.espeak_SetVoiceByName(settings.variant.encode())
        for parameter, value in (
            (_RATE, settings.words_per_minute), (_PITCH, settings.pitch), (_RANGE, settings.pitch_range)
        ):  # fmt: skip
            library.espeak_SetParameter(parameter, value, 0)
        callback = _Callback(receive)
        library.espeak_SetSynthCallback(callback)
        status = library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _ASCII, None, None)
        if status:
            raise TrainingDataError(
                f"espeak-ng fails with status {status}: apt-get install --reinstall espeak-ng"
            )
        return np.concatenate(parts).astype(np.float32) / 32768.0, starts


def _one_each(text: str, starts: dict[int, int], num_samples: int) -> list[int]:
    """A start for every word: eSpeak reads some pairs ("of the") as one, whose time is shared by letters."""
    positions, at = [], 0
    for word in text.split():
        positions.append(at)
        at += len(word) + 1
    known = sorted({position: starts[position] for position in positions if position in starts}.items())
    xs = [0, *(position for position, _ in known if position), at]
    ys = [starts.get(0, 0), *(sample for position, sample in known if position), num_samples]
    return [int(sample) for sample in np.interp(positions, xs, ys)]


def _end_of_sound_s(wav_T: Wav, start_s: float, end_s: float) -> float:
    """The end of the last block between the two that is not quiet."""
    first, last = int(start_s * SAMPLE_RATE_HZ), int(end_s * SAMPLE_RATE_HZ)
    loud = np.flatnonzero(np.abs(wav_T[first:last]) > _QUIET)
    return (
        min(end_s, start_s + (int(loud[-1]) // _BLOCK + 1) * _BLOCK / SAMPLE_RATE_HZ) if len(loud) else end_s
    )


@cache
def _library() -> tuple[Any, int]:
    """The library, started, and its sample rate."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as exc:
        raise TrainingDataError(f"{_LIBRARY} is missing: apt-get install espeak-ng") from exc
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0)
    if rate_hz <= 0:
        raise TrainingDataError(
            "espeak-ng does not start: apt-get install --reinstall espeak-ng espeak-ng-data"
        )
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
        ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    return library, rate_hz
