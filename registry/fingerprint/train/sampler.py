"""Batches in which the nearest wrong answers are the hard ones: same utterance, same voice.

A batch is groups of neighbouring windows (0.48 s apart, so they overlap by half), two utterances of each
voice. Each window comes twice: as it was registered, and as a copy that starts up to 0.1 s off, played up to
5 % faster or slower, sometimes out of a real codec.

Dimension key: B windows, T samples. Not covered: the same text said again by the same engine with another
seed; the nearest thing here is one speaker (kathleen) who read the same sentences several times.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from audio.store import Recording, Store, Wav
from registry.fingerprint import features
from registry.fingerprint.train.augment import CONTEXT_SAMPLES, SPAN_SAMPLES

HOP_SAMPLES = 11_520
_JITTER_SAMPLES = 2_400  # 0.1 s: queries step by 0.12 s, so the nearest is within 0.06 s of a stored window
_MAX_SPEED_CHANGE = 0.05
_QUIET_RMS = 10.0 ** (-50.0 / 20.0)


@dataclass(frozen=True)
class Pairs:
    """A batch: `anchor_BT` windows of 24000 samples, `span_BT` the copies' 32768 samples with their past."""

    anchor_BT: Wav
    span_BT: Wav


class Sampler:
    """Draws batches from the recordings of the given files."""

    def __init__(
        self, clips: Store, copies: list[Store], files: set[str], windows_per_group: int = 4
    ) -> None:
        self.clips = clips
        self.copies = [(store, {r.file: r for r in store.recordings}) for store in copies]
        self.windows_per_group = windows_per_group
        voices: dict[str, list[Recording]] = defaultdict(list)
        for recording in clips.recordings:
            if recording.file in files and recording.length >= features.WINDOW_SAMPLES:
                voices[f"{recording.source}/{recording.speaker}"].append(recording)
        self.voices = list(voices.values())
        if not self.voices:
            raise ValueError("no recording of the training part is as long as one window (1 s)")
        # Square root: a voice with an hour of speech should not fill the batches.
        weights = np.sqrt([sum(r.length for r in voice) for voice in self.voices])
        self.p_voice = weights / weights.sum()

    def draw(self, num_pairs: int, rng: np.random.Generator) -> Pairs:
        """One batch of `num_pairs` pairs; silent windows are drawn again."""
        anchors: list[Wav] = []
        spans: list[Wav] = []
        while len(anchors) < num_pairs:
            voice = self.voices[rng.choice(len(self.voices), p=self.p_voice)]
            for index in rng.permutation(len(voice))[:2]:
                for start in self._starts(voice[index], rng):
                    anchor_T = self._at(self.clips, voice[index], start, features.WINDOW_SAMPLES)
                    if np.sqrt(np.mean(anchor_T**2)) > _QUIET_RMS:
                        anchors.append(anchor_T)
                        spans.append(self._copy(voice[index], start, rng))
        return Pairs(np.stack(anchors[:num_pairs]), np.stack(spans[:num_pairs]))

    def _starts(self, recording: Recording, rng: np.random.Generator) -> list[int]:
        last = recording.length - features.WINDOW_SAMPLES
        first = int(rng.integers(max(1, last - (self.windows_per_group - 1) * HOP_SAMPLES + 1)))
        return [s for k in range(self.windows_per_group) if (s := first + k * HOP_SAMPLES) <= last]

    def _copy(self, recording: Recording, start: int, rng: np.random.Generator) -> Wav:
        store, place = self.clips, recording
        if self.copies and rng.random() < 0.5:
            other, by_file = self.copies[rng.integers(len(self.copies))]
            store, place = other, by_file.get(recording.file, recording)
            store = other if recording.file in by_file else self.clips
        start += int(rng.integers(-_JITTER_SAMPLES, _JITTER_SAMPLES + 1))
        if rng.random() < 0.6:
            return self._at(store, place, start - CONTEXT_SAMPLES, SPAN_SAMPLES)
        speed = 1.0 + rng.uniform(-_MAX_SPEED_CHANGE, _MAX_SPEED_CHANGE)
        # The middle of the window stays where it is; everything else moves away from it or towards it.
        middle = start + features.WINDOW_SAMPLES / 2
        places = middle + speed * (np.arange(SPAN_SAMPLES) - CONTEXT_SAMPLES - features.WINDOW_SAMPLES / 2)
        base = int(np.floor(places[0]))
        source_T = self._at(store, place, base, int(np.ceil(places[-1])) - base + 2)
        return np.asarray(np.interp(places - base, np.arange(len(source_T)), source_T), np.float32)

    def _at(self, store: Store, recording: Recording, start: int, length: int) -> Wav:
        """Samples of one recording; zeros before its beginning and after its end."""
        out = np.zeros(length, np.float32)
        first, last = max(0, start), min(recording.length, start + length)
        if last > first:
            out[first - start : last - start] = store.read(recording.start + first, last - first)
        return out
