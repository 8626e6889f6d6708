"""Speech of CMU Flite, with the time of every word; and how its dictionary and rules pronounce a word.

The library of Debian's package `flite` is called in this process through ctypes: one utterance holds tokens,
words, syllables and segments, and their ends are read by its feature paths. Text must be what
`generation.speech_text.spoken` returns, so that tokens are words.
Source: A. Black and K. Lenzo, 2001, "Flite: a small fast run-time synthesis engine"; flite 2.2,
cst_utterance.h, cst_wave.h. Not thread-safe, as the library is not.
"""

import ctypes
from functools import cache
from typing import Any

import numpy as np

from audio import SAMPLE_RATE_HZ, resample
from generation.errors import TrainingDataError
from generation.train.data.item import SpokenSentence, in_order

VOICES = ("slt", "rms", "awb")
"""The statistical voices at 16 kHz: an American woman, an American man, a Scottish man."""

_START = "daughter1.R:SylStructure.daughter1.daughter1.R:Segment.p.end"
_END = "daughtern.R:SylStructure.daughtern.daughtern.R:Segment.end"

_C = ctypes.CDLL(None)  # the C library that Flite calls


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class Flite:
    """One voice. Loading takes a tenth of a second."""

    def __init__(self, voice: str) -> None:
        """Raises TrainingDataError when the package is not installed or has no such voice."""
        self.voice = f"flite-{voice}"
        self._library = _library()
        try:
            register = getattr(_load(f"libflite_cmu_us_{voice}.so.1"), f"register_cmu_us_{voice}")
        except AttributeError as exc:
            raise TrainingDataError(f"flite has no voice {voice}; there are {', '.join(VOICES)}") from exc
        register.restype = ctypes.c_void_p
        self._handle = register(None)

    def speak(self, text: str) -> SpokenSentence | None:
        """A sentence in its neutral style; None for text that Flite cuts into other words."""
        _C.srand(1)  # the excitation is noise from rand(): the same text must give the same samples
        utterance = self._library.flite_synth_text(text.encode("ascii"), self._handle)
        try:
            wave = self._library.utt_wave(utterance).contents
            samples = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).astype(np.float32) / 32768.0
            wav_T = resample(samples, wave.sample_rate, SAMPLE_RATE_HZ)
            spans_s = [
                (self._float(token, _START), self._float(token, _END))
                for token in self._items(utterance, b"Token")
            ]
        finally:
            self._library.delete_utterance(utterance)
        if len(spans_s) != len(text.split()):
            return None
        words = in_order(text, spans_s, len(wav_T) / SAMPLE_RATE_HZ)
        return SpokenSentence(text, words, wav_T, self.voice).trimmed()

    def pronounce(self, word: str) -> list[str]:
        """ARPAbet phones of one word, without stress, as in the CMU dictionary: "moshi" is M AA SH IY."""
        utterance = self._library.flite_synth_text(word.encode("ascii"), self._handle)
        try:
            phones = [
                self._library.item_feat_string(item, b"name") for item in self._items(utterance, b"Segment")
            ]
        finally:
            self._library.delete_utterance(utterance)
        return [_CMU.get(phone, phone.upper().decode()) for phone in phones if phone != b"pau"]

    @staticmethod
    def phones(word: str) -> tuple[str, ...]:
        """ARPAbet phones of one word with the stress of vowels, 0 or 1, and AX: "moshi" is M OW1 SH IY0. From
        the dictionary, else by letters; 0.1 ms. A possessive is cut in two, as Flite does to speak it."""
        if word.endswith("'s") and len(word) > 2:
            owner = Flite.phones(word[:-2])
            return (*owner, *_possessive(owner))
        library, lexicon = _library(), _lexicon()
        found = rest = library.lex_lookup(lexicon, word.encode("ascii"), None, None)
        said = []
        while rest:
            said.append(library.val_string(library.val_car(rest)).decode().upper())
            rest = library.val_cdr(rest)
        library.delete_val(found)
        return tuple(said)

    def _items(self, utterance: int, relation: bytes) -> list[int]:
        found, item = [], self._library.relation_head(self._library.utt_relation(utterance, relation))
        while item:
            found.append(item)
            item = self._library.item_next(item)
        return found

    def _float(self, item: int, path: str) -> float:
        value: float = self._library.ffeature_float(item, path.encode())
        return value


def _possessive(owner: tuple[str, ...]) -> tuple[str, ...]:
    """What "'s" is after these phones."""
    if owner[-1:] and owner[-1] in ("S", "Z", "SH", "ZH", "CH", "JH"):
        return ("AX0", "Z")
    return ("S",) if owner[-1:] and owner[-1] in ("P", "T", "K", "F", "TH") else ("Z",)


_CMU = {b"ax": "AH", b"axr": "ER", b"ix": "IH", b"el": "L", b"em": "M", b"en": "N"}


@cache
def _library() -> Any:
    """libflite with the types of what is called here."""
    library = _load("libflite.so.1")
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
        ("flite_synth_text", pointer, [text, pointer]),
        ("utt_wave", ctypes.POINTER(_Wave), [pointer]),
        ("utt_relation", pointer, [pointer, text]),
        ("relation_head", pointer, [pointer]),
        ("item_next", pointer, [pointer]),
        ("item_feat_string", text, [pointer, text]),
        ("ffeature_float", ctypes.c_float, [pointer, text]),
        ("delete_utterance", None, [pointer]),
        ("lex_lookup", pointer, [pointer, text, text, pointer]),
        ("val_car", pointer, [pointer]),
        ("val_cdr", pointer, [pointer]),
        ("val_string", text, [pointer]),
        ("delete_val", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.flite_init()
    return library


@cache
def _lexicon() -> int:
    """The English dictionary of the package."""
    _library()
    init = _load("libflite_cmulex.so.1").cmu_lex_init
    init.restype = ctypes.c_void_p
    lexicon: int = init()
    return lexicon


def _load(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError as exc:
        raise TrainingDataError(f"{name} is missing: apt-get install flite") from exc
