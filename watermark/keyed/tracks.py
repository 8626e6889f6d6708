"""Windows that agree on an offset are one track, and a track is one marked recording.

Not covered: several warps in one file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from watermark.keyed.geometry import PERIOD_FRAMES
from watermark.keyed.search import WINDOW_FRAMES, Sync

_SAME_TRACK_FRAMES = 3  # 15 ms: offsets of one recording drift with the clocks of what recorded it
_TRACKS_READ = 8  # loudest first; audio spliced from more recordings is reported by its best ones


@dataclass(frozen=True)
class Track:
    """Windows that agree on an offset: `sync` is the best of them, the frames run from first to last."""

    sync: Sync
    offset_frames: int  # as `sync` has it, or a frame beside
    first_frame: int
    end_frame: int


def drift(syncs: list[Sync]) -> float:
    """Return by how many frames the offset moves per frame, over the windows of 5 s."""
    moved = passed = 0
    long = [sync for sync in syncs if sync.num_frames == WINDOW_FRAMES]
    for before, after in pairwise(long):
        by = (after.offset_frames - before.offset_frames + PERIOD_FRAMES // 2) % PERIOD_FRAMES
        by -= PERIOD_FRAMES // 2
        if abs(by) <= _SAME_TRACK_FRAMES:  # more is a cut, not a drift
            moved, passed = moved + by, passed + after.first_frame - before.first_frame
    return moved / passed if passed else 0.0


def in_tracks(syncs: list[Sync]) -> list[Track]:
    """Group windows that agree on the offset, best first."""
    found: list[Track] = []
    for sync in sorted(syncs, key=lambda s: -s.z):
        end = sync.first_frame + sync.num_frames
        for i, track in enumerate(found):
            apart = abs((sync.offset_frames - track.sync.offset_frames + 256) % PERIOD_FRAMES - 256)
            if apart <= _SAME_TRACK_FRAMES:
                first = min(track.first_frame, sync.first_frame)
                found[i] = replace(track, first_frame=first, end_frame=max(track.end_frame, end))
                break
        else:
            found.append(Track(sync, sync.offset_frames, sync.first_frame, end))
    return found[:_TRACKS_READ]
