"""What was done to a recording's time and pitch: the one value that says it, in factors of the original's.

    event at time t, frequency f  ->  time t / tempo, frequency f * pitch

A change of speed is Warp(s, s), a stretch that keeps the pitch Warp(tempo, 1), a pitch shift Warp(1, pitch).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Warp:
    """`tempo` times as fast and `pitch` times as high as it was issued; both positive, 1 is unchanged."""

    tempo: float = 1.0
    pitch: float = 1.0


UNCHANGED = Warp()
