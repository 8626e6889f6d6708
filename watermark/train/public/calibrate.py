"""Scores of speech without the mark, and the null that they give a detector.

By `audio.corpus.split`: a null is fitted on validation speakers, the report is on test speakers, so no
voice is in both. Dimension key: T samples.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from audio import corpus
from watermark.audioseal.detect import Listener
from watermark.audioseal.null import PIECE_SAMPLES, Null, fit
from watermark.errors import WeightsError

Wav = NDArray[np.float32]
_QUIET = 0.004  # RMS; -48 dBFS: what says nothing carries no mark


def pieces(clips: Iterable[corpus.Clip], per_speaker: int | None = None) -> Iterator[Wav]:
    """Pieces of 5 s that say something, one after the other, at most so many of each speaker."""
    taken: dict[tuple[str, str], int] = {}
    for clip in clips:
        speaker = (clip.source, clip.speaker)
        if per_speaker is not None and taken.get(speaker, 0) >= per_speaker:
            continue
        wav_T = corpus.read(clip.path)
        for start in range(0, len(wav_T) - PIECE_SAMPLES + 1, PIECE_SAMPLES):
            piece_T = wav_T[start : start + PIECE_SAMPLES]
            if says_something(piece_T) and (per_speaker is None or taken.get(speaker, 0) < per_speaker):
                taken[speaker] = taken.get(speaker, 0) + 1
                yield piece_T


def says_something(wav_T: Wav) -> bool:
    """Whether it is loud enough to be speech."""
    return bool(np.sqrt(np.mean(wav_T**2)) > _QUIET)


def calibrate(
    listener: Listener, clips: Iterable[corpus.Clip], report: Callable[[str], None], max_pieces: int = 1000
) -> Null:
    """The null of a detector on unmarked speech. Raises WeightsError when there is too little of it."""
    scores: list[float] = []
    for piece_T in pieces(clips):
        scores.append(listener.piece_score(piece_T))
        if len(scores) % 50 == 0:
            report(f"{len(scores)} pieces of unmarked speech heard")
        if len(scores) == max_pieces:
            break
    try:
        return fit(np.array(scores))
    except ValueError as exc:
        raise WeightsError(f"{exc}; the corpus needs more speech of validation speakers") from exc
