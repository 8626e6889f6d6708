"""Hear audio as it was issued, when its mark gave away that speed, tempo or pitch were changed since.

    issued second = submitted second * warp.tempo

The fingerprint does not survive what the mark survives, so it listens to audio that is changed back; its
spans then return to the seconds of the file that was sent. Not here: finding the warp (`watermark`).
"""

import numpy as np
from numpy.typing import NDArray

from api.schemas import Evidence
from watermark import Warp

_SAME = 0.005
"""Tempo and pitch this close are one change of speed: the pitch is known to 0.2 %, the tempo better."""


def as_issued(wav_T: NDArray[np.float32], warp: Warp) -> NDArray[np.float32]:
    """The audio (float32 [T], 24 kHz) at its first speed and pitch; the same array when that is how it is."""
    if warp == Warp():
        return wav_T
    from audio.edits import timing  # brings scipy.signal, which only changed audio needs

    if abs(warp.tempo / warp.pitch - 1) < _SAME:
        return timing.speed(wav_T, factor=1 / warp.tempo)
    return timing.stretch(timing.speed(wav_T, factor=1 / warp.pitch), tempo=warp.pitch / warp.tempo)


def in_submitted_time(row: Evidence, warp: Warp) -> Evidence:
    """The row with its spans in seconds of the file that was sent; places in a generation stay."""
    segments = [
        one.model_copy(update={"start_s": one.start_s / warp.tempo, "end_s": one.end_s / warp.tempo})
        for one in row.segments
    ]
    return row.model_copy(update={"segments": segments})


def described(warp: Warp) -> str | None:
    """The change in words, None when there was none."""
    if warp == Warp():
        return None
    return (
        f"speed or pitch was changed since it was marked: {warp.tempo:.3f} times as fast, "
        f"{warp.pitch:.3f} times as high"
    )
