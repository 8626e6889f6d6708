"""Clips of speech to train the codec on, and the held-out ones to report.

Held out: of the voice, every recording of the 100 sentences that no model is trained on (data/sentences.py);
of the other speech, the speakers outside `audio.corpus.split(...).train`. Synthesizers' voices may be added
from a speech folder (`earmark train data`), SPOKEN_S of each. A batch takes `voice_share` of its clips from
the voice and those, each as often, the others evenly from sources, then recordings. Dimension key: B clips,
T samples.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from audio import SAMPLE_RATE_HZ, corpus
from audio.store import Recording, Store, Wav, build_store
from generation.errors import TrainingDataError
from generation.speech_text import spoken
from generation.train.codec.phones import PhoneLabels, write_labels
from generation.train.codec.pitch import PitchLabels, stacked
from generation.train.data.build import RECORDED_VOICE
from generation.train.data.cache import SpeechCache
from generation.train.data.item import Part
from generation.train.data.sentences import held_out

HOP_SAMPLES = 240
SPOKEN_S = 3 * 3600.0


class Batch(NamedTuple):
    """Sound, which phones each frame holds where they are known, and the pitch."""

    wav_BT: Tensor
    phones_BFP: Tensor
    labelled_B: Tensor  # bool
    log_pitch_BN: Tensor  # at the end of each hop of 10 ms
    voiced_BN: Tensor  # bool


class Clips:
    """The corpus, decoded once into OUT/cache (2.3 GB for 12 h)."""

    def __init__(
        self,
        data: Path,
        cache: Path,
        frame_samples: int,
        speech: Path | None = None,
        spoken_voices: Sequence[str] = (),
    ) -> None:
        """`spoken_voices` of the folder `speech`. Raises TrainingDataError for one that is not there."""
        clips = corpus.load(data)
        build_store(cache, "speech", chain(_decoded(clips), _spoken(speech, spoken_voices)))
        self._store = Store(cache, "speech")
        self._frame_samples = frame_samples
        train = {clip.path.name for clip in corpus.split(clips).train}
        rows = self._store.recordings
        spoken_by = {
            clip.path.name: spoken(clip.text or "") for clip in clips if clip.source == RECORDED_VOICE
        }
        self.phones = self._labels(cache / "phones.json", spoken_by)
        self.pitch = PitchLabels(cache / "pitch.npy", rows, self.read)
        kept = set(held_out(spoken_by.values()))
        voice = [row for row in rows if row.source == RECORDED_VOICE and spoken_by[row.file] not in kept]
        self.voices = [voice, *([row for row in rows if row.source == name] for name in spoken_voices)]
        self.held_out = [row for row in rows if row.source == RECORDED_VOICE and spoken_by[row.file] in kept]
        self.others: dict[str, list[Recording]] = {}
        for row in rows:
            if row.source not in (RECORDED_VOICE, *spoken_voices) and row.file in train:
                self.others.setdefault(row.source, []).append(row)

    def draw(self, num: int, num_frames: int, voice_share: float, rng: np.random.Generator) -> Batch:
        """Clips of whole frames, each at a level of its own: -12 to +3 dB."""
        drawn = [self._draw(num_frames, voice_share, rng) for _ in range(num)]
        F, hops = self._frame_samples, self._frame_samples // HOP_SAMPLES
        phones = [self.phones.targets(row.file, start, num_frames, F) for _, row, start in drawn]
        pitch = [
            self.pitch.targets(row.file, start, num_frames * hops, HOP_SAMPLES) for _, row, start in drawn
        ]
        nothing_FP = np.zeros((num_frames, len(self.phones.names)), np.float32)
        return Batch(
            torch.from_numpy(np.stack([wav_T for wav_T, _, _ in drawn])),
            torch.from_numpy(np.stack([nothing_FP if known is None else known for known in phones])),
            torch.tensor([known is not None for known in phones]),
            *stacked(pitch),
        )

    def read(self, row: Recording) -> Wav:
        return self._store.read(row.start, row.length)

    def _labels(self, path: Path, spoken_by: dict[str, str]) -> PhoneLabels:
        if not path.exists():
            voice = [row for row in self._store.recordings if row.source == RECORDED_VOICE]
            write_labels(path, ((row.file, spoken_by[row.file], self.read(row)) for row in voice))
        return PhoneLabels(path, SAMPLE_RATE_HZ)

    def _draw(
        self, num_frames: int, voice_share: float, rng: np.random.Generator
    ) -> tuple[Wav, Recording, int]:
        if self.others and rng.random() >= voice_share:
            rows = self.others[sorted(self.others)[int(rng.integers(len(self.others)))]]
        else:
            rows = self.voices[int(rng.integers(len(self.voices)))]
        row = rows[int(rng.integers(len(rows)))]
        samples = num_frames * self._frame_samples
        start = int(rng.integers(max(1, row.length - samples + 1)))
        wav_T = self._store.read(row.start + start, min(samples, row.length - start))
        gain = 10.0 ** (rng.uniform(-12.0, 3.0) / 20.0)
        padded_T = np.pad(np.clip(wav_T * gain, -1.0, 1.0), (0, samples - len(wav_T))).astype(np.float32)
        return padded_T, row, start


def _decoded(clips: list[corpus.Clip]) -> Iterator[tuple[str, str, str, Wav]]:
    for clip in clips:
        yield clip.path.name, clip.source, clip.speaker, corpus.read(clip.path)


def _spoken(speech: Path | None, voices: Sequence[str]) -> Iterator[tuple[str, str, str, Wav]]:
    """The first utterances of each voice in its folder."""
    cached = SpeechCache(speech) if speech is not None else None
    for voice in voices:
        rows = cached.select(Part.TRAIN, voice) if cached is not None else []
        if cached is None or not rows:
            raise TrainingDataError(f"{speech} has no speech of {voice}: run earmark train data first")
        missing_s = SPOKEN_S
        for row in rows:
            if missing_s <= 0:
                break
            missing_s -= row.duration_s
            yield f"{row.shard}@{row.start}", voice, voice, cached.read(row).wav_T
