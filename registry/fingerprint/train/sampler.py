"""Batches in which the nearest wrong answers are the hard ones: same utterance, same voice, same words.

A batch is groups of neighbouring windows (0.48 s apart, so they overlap by half), two recordings of each
voice; of a synthetic voice the two are one sentence read at two rates, from the same place in it. Each window
comes twice: as it was registered, and as a span of frames around the same place of a copy (augment.py cuts
it).

Dimension key: B windows, F frames, M mel bands.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio.store import Recording
from registry.fingerprint import features
from registry.fingerprint.train.cache import FrameStore

HOP_FRAMES = 32  # 0.48 s, the registry's hop
MARGIN_FRAMES = 12  # on each side of a window, for time to be stretched and shifted into
SPAN_FRAMES = features.NUM_FRAMES + 2 * MARGIN_FRAMES
_QUIET_POWER = 0.03  # mean of the bands; about -50 dBFS of speech
_P_CLEAN = 0.25


@dataclass(frozen=True)
class Pairs:
    """`anchor_BFM` windows of 64 frames, `span_BFM` the copies' 88 frames, all log power."""

    anchor_BFM: NDArray[np.float32]
    span_BFM: NDArray[np.float32]
    missing_BF: NDArray[np.bool_]  # frames of the span that lie outside the recording
    recording_B: NDArray[np.int64]  # two windows of one recording may overlap


class Sampler:
    """Draws batches from the given recordings of `clips`; `copies` holds some of them, altered."""

    def __init__(
        self, clips: FrameStore, copies: list[FrameStore], files: set[str], windows_per_group: int = 4
    ) -> None:
        self.clips = clips
        self.copies: dict[str, list[tuple[FrameStore, Recording]]] = defaultdict(list)  # by file
        for store in copies:
            for recording in store.recordings:
                self.copies[recording.file].append((store, recording))
        self.windows_per_group = windows_per_group
        voices: dict[str, list[tuple[int, Recording]]] = defaultdict(list)
        for number, recording in enumerate(clips.recordings):
            if recording.file in files and clips.num_frames(recording) >= features.NUM_FRAMES:
                voices[f"{recording.source}/{recording.speaker}"].append((number, recording))
        self.voices = list(voices.values())
        if not self.voices:
            raise ValueError("no recording of the training part is as long as one window (1 s)")
        # Square root: a voice with an hour of speech should not fill the batches.
        weights = np.sqrt([sum(r.length for _, r in voice) for voice in self.voices])
        self.p_voice = weights / weights.sum()

    def draw(self, num_pairs: int, rng: np.random.Generator) -> Pairs:
        """One batch of `num_pairs` pairs; silent windows are drawn again."""
        anchors: list[NDArray[np.float32]] = []
        spans: list[tuple[NDArray[np.float32], NDArray[np.bool_]]] = []
        owners: list[int] = []
        while len(anchors) < num_pairs:
            voice = self.voices[rng.choice(len(self.voices), p=self.p_voice)]
            place = rng.random()
            for index in rng.permutation(len(voice))[:2]:
                number, recording = voice[index]
                for first in self._starts(recording, place):
                    anchor_FM, _ = self.clips.frames(recording, first, features.NUM_FRAMES)
                    if np.exp(anchor_FM).mean() > _QUIET_POWER:
                        anchors.append(anchor_FM)
                        spans.append(self._span(recording, first, rng))
                        owners.append(number)
        return Pairs(
            np.stack(anchors[:num_pairs]),
            np.stack([log_FM for log_FM, _ in spans[:num_pairs]]),
            np.stack([missing_F for _, missing_F in spans[:num_pairs]]),
            np.array(owners[:num_pairs]),
        )

    def _starts(self, recording: Recording, place: float) -> list[int]:
        last = self.clips.num_frames(recording) - features.NUM_FRAMES
        first = int(place * max(1, last - (self.windows_per_group - 1) * HOP_FRAMES + 1))
        return [f for k in range(self.windows_per_group) if (f := first + k * HOP_FRAMES) <= last]

    def _span(
        self, recording: Recording, first: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        copies = self.copies.get(recording.file, [])
        altered = bool(copies) and rng.random() >= _P_CLEAN
        store, place = copies[rng.integers(len(copies))] if altered else (self.clips, recording)
        return store.frames(place, first - MARGIN_FRAMES, SPAN_FRAMES)
