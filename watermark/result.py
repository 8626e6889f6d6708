"""What a detector says: evidence with its own uncertainty, the same type whatever was found.

`false_alarm_probability` is the chance that audio without this mark scores as high (a p-value that was
checked on real negatives, docs/benchmarks.md). A payload is given only when its tag verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watermark.warp import UNCHANGED, Warp


class Outcome(StrEnum):
    """How a technique answers."""

    FOUND = "found"
    NOT_FOUND = "not_found"
    INCONCLUSIVE = "inconclusive"  # the audio cannot speak: too short or silent; `reason` says which


@dataclass(frozen=True)
class SoftBits:
    """What some of the audio says of a mark's payload. Without a mark each bit has mean 0 and variance 1."""

    pilot_z: float  # of the pilot in the same audio
    bits: tuple[float, ...]  # 256 coded bits, positive for 0


@dataclass(frozen=True)
class Unread:
    """A mark whose payload did not verify: its soft bits, from all of it and from where its pilot stands out.

    Whoever knows the ids that were issued may still recognise it (watermark.issued), and have the detector
    mark it off by its whole codeword. `offset_frames`: where its period stands, for that.
    """

    tries: tuple[SoftBits, ...]
    offset_frames: int


@dataclass(frozen=True)
class MarkSegment:
    """A span that carries the mark. Seconds from the start of the audio, to about 0.2 s; `score` is a z."""

    start_s: float
    end_s: float
    score: float
    payload: int | None  # 48-bit content id, or None where none verified
    unread: int | None = None  # place of its mark in `Detection.unread`; None where a payload verified


@dataclass(frozen=True)
class ScoreAt:
    """How strongly one second shows the mark that was found: a z of mean 0 and variance 1 without it."""

    at_s: float  # its middle, in seconds from the start of the audio
    score: float


@dataclass(frozen=True)
class Detection:
    """The answer for one piece of audio. `score` and `threshold` are z-scores on one scale.

    `warp` is what was done to the audio's speed, tempo or pitch since it was marked, to about 0.1 %, when a
    mark was found; UNCHANGED within 0.3 % of that.
    """

    outcome: Outcome
    score: float
    threshold: float
    false_alarm_probability: float
    payload: int | None
    segments: tuple[MarkSegment, ...] = ()
    reason: str | None = None
    message: int | None = None  # of the public mark: 16 bits that name an issuer, and that anyone can write
    warp: Warp = UNCHANGED
    scores: tuple[ScoreAt, ...] = ()  # over time, every half second, when a mark was found
    unread: tuple[Unread, ...] = ()  # the keyed marks that were found and not read
