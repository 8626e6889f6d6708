"""The spectrograms that training reads, made once: log-mel frames every 15 ms of all recordings.

    clips    every clip of the corpus, and sentences that synthetic voices repeat (respoken.py)
    copy_K   the training ones again, each after a random journey (journeys.py), in time with its clip
    copy_codec_K   and through one of the neural codecs that were given, if any
    noise    noises of the training part, and white and pink noise

`FrameStore.frames` reads any of them. What a neural codec is, is no business of this package: one is a
function of samples. Frames are float16: to 0.01 nat.

Dimension key: T samples, F frames, M mel bands.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, corpus, edits
from audio.store import Recording, Store, Wav, build_store
from registry.fingerprint import features
from registry.fingerprint.train import respoken
from registry.fingerprint.train.journeys import random_journey

NUM_SENTENCES = 900  # that are spoken again, four times each: 3.7 h
FLOOR = 1e-10  # power; below 16-bit noise
_NOISE_SECONDS = 120
_ANY_LEVEL = 0.05
Row = tuple[str, str, str, Wav]  # file, source, speaker, samples
Recoder = Callable[[Wav], Wav]  # speech through a codec and back, as long and in time


class FrameStore:
    """A store of spectrograms: recordings are measured in frames of `features.NUM_BANDS` values."""

    def __init__(self, folder: Path, name: str) -> None:
        self._store = Store(folder, name)
        self.recordings = self._store.recordings

    def num_frames(self, recording: Recording) -> int:
        return recording.length // features.NUM_BANDS

    def frames(
        self, recording: Recording, first: int, count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Log power [count, M] from frame `first` on, and which frames [count] lie outside the recording."""
        inside = np.clip([first, first + count], 0, self.num_frames(recording))
        width = features.NUM_BANDS
        log_FM = np.full((count, width), np.log(FLOOR), np.float32)
        missing_F = np.ones(count, np.bool_)
        if inside[1] > inside[0]:
            values = self._store.read(
                recording.start + int(inside[0]) * width, int(inside[1] - inside[0]) * width
            )
            log_FM[inside[0] - first : inside[1] - first] = values.reshape(-1, width)
            missing_F[inside[0] - first : inside[1] - first] = False
        return log_FM, missing_F


def build(data: Path, folder: Path, num_copies: int, seed: int, codecs: Sequence[Recoder] = ()) -> None:
    """Compute whatever is not complete yet; an hour of speech takes a minute, a copy of it one or two."""
    respoken.build(data, folder, "train", NUM_SENTENCES)
    build_frames(folder, "noise", _noises(data))
    build_frames(folder, "clips", _recordings(folder, corpus.load(data)))
    for number in range(num_copies):
        build_frames(folder, f"copy_{number}", _copies(data, folder, seed + number))
    for number in range(num_copies if codecs else 0):
        build_frames(folder, f"copy_codec_{number}", _recoded(data, folder, seed + number, codecs))


def build_frames(folder: Path, name: str, rows: Iterable[Row]) -> None:
    """Store the spectrograms of these recordings under `name`, unless they are there."""
    build_store(folder, name, ((*row[:3], log_frames(row[3]).ravel()) for row in rows), "float16")


def log_frames(wav_T: Wav) -> NDArray[np.float32]:
    """Log-mel power [F, M] of every whole frame; none of audio shorter than a frame."""
    if len(wav_T) < features.FRAME_SAMPLES:
        return np.zeros((0, features.NUM_BANDS), np.float32)
    power = features.power_spectrogram(torch.from_numpy(np.ascontiguousarray(wav_T, np.float32))[None])[0]
    return np.asarray(torch.log((features.mel_filters() @ power).T + FLOOR).numpy())


def finished_copies(folder: Path) -> list[FrameStore]:
    """The copies that are complete, in the order of their names."""
    return [FrameStore(folder, path.stem) for path in sorted(folder.glob("copy_*.json"))]


def training_rows(data: Path, folder: Path) -> Iterator[Row]:
    """Every recording that training may use, as a waveform."""
    return _recordings(folder, corpus.split(corpus.load(data)).train)


def _recordings(folder: Path, clips: list[corpus.Clip]) -> Iterator[Row]:
    for clip in clips:
        yield clip.path.name, clip.source, clip.speaker, corpus.read(clip.path)
    spoken = Store(folder, f"{respoken.SOURCE}_train")
    for one in spoken.recordings:
        yield one.file, one.source, one.speaker, spoken.read(one.start, one.length)


def _copies(data: Path, folder: Path, seed: int) -> Iterator[Row]:
    rng = np.random.default_rng(seed)
    rooms = [corpus.read(clip.path) for clip in corpus.split(corpus.load_rooms(data)).train]
    for file, source, speaker, wav_T in training_rows(data, folder):
        altered_T = edits.apply(wav_T, random_journey(rng, rooms), seed=int(rng.integers(2**31)))
        copy_T = np.zeros_like(wav_T)
        copy_T[: len(altered_T)] = altered_T[: len(wav_T)]
        yield file, source, speaker, copy_T


def _recoded(data: Path, folder: Path, seed: int, codecs: Sequence[Recoder]) -> Iterator[Row]:
    """Each recording through one of the codecs."""
    rng = np.random.default_rng(seed)
    for file, source, speaker, wav_T in training_rows(data, folder):
        yield file, source, speaker, codecs[int(rng.integers(len(codecs)))](wav_T)


def _noises(data: Path) -> Iterator[Row]:
    for clip in corpus.split(corpus.load_noise(data)).train:
        yield clip.path.name, clip.source, clip.speaker, corpus.read(clip.path)
    silence_T = np.zeros(_NOISE_SECONDS * SAMPLE_RATE_HZ, np.float32)
    for kind in ("white_noise", "pink_noise"):
        carrier_T = silence_T.copy()
        carrier_T[0] = _ANY_LEVEL  # noise is set relative to what it is added to
        yield kind, "made", kind, edits.apply(carrier_T, edits.Edit(kind, kind, {"snr_db": -80.0}))
