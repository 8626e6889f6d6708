"""Detect the keyed mark: find the pilot, read the payload, mark off the spans that carry it.

The order, with the numbers used below:
(1) features; too little audible audio is inconclusive;
(2) the pilot is searched in windows of 5 s and 2.5 s and in the whole, the best z is paid for by all trials;
where it is not there, or nothing is read from it, a codeword is searched for (codeword.py): the pilot may
have been taken out;
(3) only when neither is there, or nothing is read, other speeds, tempos and pitches are tried (resync.py):
an editor's stretch leaves pieces of a tenth of a second as they were, which fit here and there. The stages
share the false alarms, nine parts in ten to the pilot, so that what needs no search loses nothing to it;
(4) the tempo of a mark found in (3) is made exact by how its offset drifts from window to window;
(5) windows that agree on an offset are one track, a track is one marked recording; short audio, where (2)
has one window, is searched in parts for that;
(6) the payload of a track is read from all of its tiles, then from those where its pilot stands out, and
counts when its tag verifies; tracks that are too short for that are read together, the strongest first, as
parts of one recording in another order; a track that stays unread gives its soft bits (issued.py);
(7) with the payload known every tile is known: the spans are where tiles agree with it. Of an unread track
only the pilot is known, 46 % of the tiles; `marked_off` does it again once the track is recognised.

Cost: linear in the audio, about 0.007 of its duration on one core; where the pilot is not there, 0.008 s for
each 5 s of it, and 0.06 s for each window of (3), of which there are eight at most. Not covered: several
warps in one file, of which the one found is read; a mark without a pilot at another speed or pitch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from watermark import payload
from watermark.keyed import codeword, features, geometry, spans
from watermark.keyed.codeword import CodewordSearch
from watermark.keyed.geometry import HOP_SAMPLES, PERIOD_FRAMES, SAMPLE_RATE_HZ, TILE_FRAMES, Layout
from watermark.keyed.resync import Resync, ResyncSearch
from watermark.keyed.search import (
    NUM_OFFSETS,
    PilotSearch,
    Sync,
    false_alarm_probability,
    fold,
    short_windows,
    threshold,
    windows,
)
from watermark.keyed.tracks import Track, drift, in_tracks
from watermark.keys import Key
from watermark.result import Detection, MarkSegment, Outcome, ScoreAt, SoftBits, Unread
from watermark.warp import UNCHANGED, Warp

Floats = npt.NDArray[np.float32]

MAX_FALSE_ALARM_PROBABILITY = 1e-3
PLAIN_SHARE = 0.9  # of the false alarms: a tenth costs the search 0.4 of z, half would cost every mark 0.15
CODEWORD_SHARE = 0.05
WARPED_SHARE = 0.05
MIN_AUDIBLE_S = 1.0
FRAMES_PER_S = SAMPLE_RATE_HZ // HOP_SAMPLES


@dataclass(frozen=True)
class _Stage:
    """What one stage says: its best z, the z it must reach, and its p-value, both for its share."""

    z: float
    limit: float
    p_false: float

    @classmethod
    def of(cls, z: float, num_trials: int, share: float) -> _Stage:
        paid = num_trials / share
        return cls(z, threshold(MAX_FALSE_ALARM_PROBABILITY, paid), false_alarm_probability(z, paid))

    @property
    def reached(self) -> bool:
        return self.z >= self.limit


class KeyedDetector:
    """The keyed scheme's detector for one key."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._layout = Layout.of(key)
        self._search = PilotSearch(self._layout)
        self._resync = ResyncSearch(self._layout)

    def detect(self, wav_T: Floats) -> Detection:
        """Return what the 24 kHz waveform shows. `wav_T` must be finite."""
        # (1)
        features_FK = features.tile_features(wav_T)
        audible_s = float((features_FK != 0).any(axis=1).sum()) * HOP_SAMPLES / SAMPLE_RATE_HZ
        if audible_s < MIN_AUDIBLE_S:
            duration_s = len(wav_T) / SAMPLE_RATE_HZ
            short = duration_s < MIN_AUDIBLE_S or audible_s >= duration_s / 2
            reason = f"{'too short' if short else 'silent'}: {audible_s:.2f} s audible, 1 s is needed"
            limit = threshold(MAX_FALSE_ALARM_PROBABILITY, NUM_OFFSETS / PLAIN_SHARE)
            return Detection(Outcome.INCONCLUSIVE, 0.0, limit, 1.0, None, (), reason)
        # (2)
        syncs = self._syncs(features_FK)
        plain = _Stage.of(max(sync.z for sync in syncs), len(syncs) * NUM_OFFSETS, PLAIN_SHARE)
        found = []
        if plain.reached:
            found.append(self._found(plain, UNCHANGED, features_FK, self._with_short(features_FK, syncs)))
            if found[0].payload is not None:
                return found[0]
        words = self._codeword_syncs(features_FK)
        worded = _Stage.of(max(sync.z for sync in words), len(words) * NUM_OFFSETS, CODEWORD_SHARE)
        if worded.reached:
            strong = [word for word in words if word.z >= worded.limit]
            found.append(self._found(worded, UNCHANGED, features_FK, strong))
            if found[-1].payload is not None:
                return found[-1]
        # (3)
        hit = self._resync.best(wav_T, lambda z, trials: _Stage.of(z, trials, WARPED_SHARE).reached)
        warped = _Stage.of(hit.z, hit.num_trials, WARPED_SHARE)
        if warped.reached:
            found.append(self._warped(wav_T, hit, warped))
        if found:
            return max(found, key=lambda one: (one.payload is not None, one.score))
        likelier = min(plain, worded, warped, key=lambda stage: stage.p_false)
        return Detection(Outcome.NOT_FOUND, likelier.z, likelier.limit, likelier.p_false, None)

    def _warped(self, wav_T: Floats, hit: Resync, stage: _Stage) -> Detection:
        """Return the evidence of a mark that is there at another speed, tempo or pitch: (4) to (7)."""
        warp = self._resync.refined(wav_T, hit)
        features_FK = features.tile_features(wav_T, warp)
        limit = threshold(MAX_FALSE_ALARM_PROBABILITY, len(windows(len(features_FK))) * NUM_OFFSETS)
        moved = drift([sync for sync in self._syncs(features_FK) if sync.z >= limit])
        if abs(moved) * len(features_FK) > 1:
            warp = replace(warp, tempo=warp.tempo * (1 + moved))
            features_FK = features.tile_features(wav_T, warp)
        syncs = self._with_short(features_FK, self._syncs(features_FK))
        return self._found(stage, warp, features_FK, syncs)

    def marked_off(self, wav_T: Floats, found: Detection, content_ids: Mapping[int, int]) -> Detection:
        """Return what was found in the 24 kHz waveform, unread marks marked off anew by the codewords of
        `content_ids`, which are by their place in `found.unread` (7)."""
        features_FK = features.tile_features(wav_T, found.warp)
        segments = list(found.segments)
        scores = list(found.scores)
        for place, content_id in content_ids.items():
            signs_MK, offset = self._signs(content_id), found.unread[place].offset_frames
            seen = [replace(s, unread=place) for s in spans.find(features_FK, signs_MK, offset, None)]
            if seen:  # a mark too weak for that stays where its pilot was
                segments = [one for one in segments if one.unread != place]
                segments += [_as_heard(segment, found.warp) for segment in seen]
            curve = spans.scores(features_FK, signs_MK, offset)
            scores = [
                replace(one, score=max(one.score, more.score))
                for one, more in zip(scores, curve, strict=False)
            ]
        return replace(found, segments=tuple(spans.without_overlap(segments)), scores=tuple(scores))

    @cached_property
    def _codewords(self) -> CodewordSearch:
        return CodewordSearch(self._layout)  # 0.1 s, and a mark whose pilot is found does not need it

    def _syncs(self, features_FK: Floats) -> list[Sync]:
        return [self._search.best(features_FK, *window) for window in windows(len(features_FK))]

    def _with_short(self, features_FK: Floats, syncs: list[Sync]) -> list[Sync]:
        """Return the windows of a mark that is there, with those of short audio that show one, too."""
        found = [self._search.best(features_FK, *part) for part in short_windows(len(features_FK))]
        limit = threshold(MAX_FALSE_ALARM_PROBABILITY, max(1, len(found)) * NUM_OFFSETS)
        return [*syncs, *(sync for sync in found if sync.z >= limit)]

    def _codeword_syncs(self, features_FK: Floats) -> list[Sync]:
        return [self._codewords.best(features_FK, *window) for window in codeword.windows(len(features_FK))]

    def _found(self, stage: _Stage, warp: Warp, features_FK: Floats, syncs: list[Sync]) -> Detection:
        """Return the evidence of a mark that is there: (5), (6), (7)."""
        limit = threshold(MAX_FALSE_ALARM_PROBABILITY, len(syncs) * NUM_OFFSETS)
        strong = [sync for sync in syncs if sync.z >= limit] or [max(syncs, key=lambda sync: sync.z)]
        segments: list[MarkSegment] = []
        curves: list[list[ScoreAt]] = []
        unread: list[Unread] = []
        for track, content_id in self._read(features_FK, in_tracks(strong)):
            signs_MK, offset = self._signs(content_id), track.offset_frames % PERIOD_FRAMES
            found = spans.find(features_FK, signs_MK, offset, content_id)
            if content_id is None:
                unread.append(self._unread(features_FK, track, _frames(found, track)))
            # A mark so weak that no stretch of it stands out is reported by the window that found it.
            segments += [
                replace(segment, unread=len(unread) - 1) if content_id is None else segment
                for segment in found or [spans.window(track.sync, content_id)]
            ]
            curves.append(spans.scores(features_FK, signs_MK, offset))
        segments = spans.without_overlap(segments)
        named = [segment for segment in segments if segment.payload is not None]
        longest = max(named, key=lambda s: s.end_s - s.start_s, default=None)
        content_id = longest.payload if longest else None
        heard = tuple(_as_heard(segment, warp) for segment in segments)
        scores = tuple(
            ScoreAt(at[0].at_s / warp.tempo, max(one.score for one in at))
            for at in zip(*curves, strict=False)  # tracks differ by a part of a tile
        )
        return Detection(
            Outcome.FOUND,
            stage.z,
            stage.limit,
            stage.p_false,
            content_id,
            heard,
            warp=warp,
            scores=scores,
            unread=tuple(unread),
        )

    def _read(self, features_FK: Floats, tracks: list[Track]) -> list[tuple[Track, int | None]]:
        """Return each track, its offset made exact, with its payload where one verifies (6)."""
        read = [self._read_alone(features_FK, track) for track in tracks]
        unread = [i for i, (_, content_id) in enumerate(read) if content_id is None]
        folds = {
            i: self._folded(features_FK, tracks[i], self._marked_parts(features_FK, tracks[i]))
            for i in unread
        }
        for num in range(2, len(unread) + 1):
            together = unread[:num]
            folded = np.sum([folds[i] for i in together], axis=0)
            content_id = self._decoded(folded)
            if content_id is not None:
                for i in together:
                    read[i] = (tracks[i], content_id)
                break
        return read

    def _read_alone(self, features_FK: Floats, track: Track) -> tuple[Track, int | None]:
        # All of it at the best offset and its neighbours, then what the pilot shows to be marked, where the
        # rest is somebody else's: in four tries of four words noise verifies with 16 / 65536.
        for shift in (0, 1, -1):
            moved = replace(track, offset_frames=track.offset_frames + shift)
            content_id = self._decoded(
                self._folded(features_FK, moved, [(track.first_frame, track.end_frame)])
            )
            if content_id is not None:
                return moved, content_id
        parts = self._marked_parts(features_FK, track)
        return track, self._decoded(self._folded(features_FK, track, parts))

    def _unread(self, features_FK: Floats, track: Track, parts: list[tuple[int, int]]) -> Unread:
        # The neighbouring offsets share most of their noise with the best one, and a try costs more than they
        # give (docs/LOG.md, 2026-11-26).
        whole = [(track.first_frame, track.end_frame)]
        tried = [whole] if parts == whole else [whole, parts]
        heard = (self._heard(self._folded(features_FK, track, frames)) for frames in tried)
        return Unread(tuple(heard), track.offset_frames % PERIOD_FRAMES)

    def _heard(self, folded_MK: Floats) -> SoftBits:
        pilot = self._layout.pilot
        energy = float((folded_MK**2)[pilot != 0].sum())
        pilot_z = float((folded_MK * pilot).sum()) / math.sqrt(energy + 1e-9)
        return SoftBits(pilot_z, tuple(self._soft_bits(folded_MK).tolist()))

    def _decoded(self, folded_MK: Floats) -> int | None:
        return payload.decode(self._key, self._soft_bits(folded_MK))

    def _marked_parts(self, features_FK: Floats, track: Track) -> list[tuple[int, int]]:
        """Return the frames, first and end, of each stretch in which the track's pilot stands out; all of the
        track where none does."""
        stretches = spans.find(features_FK, self._layout.pilot, track.offset_frames % PERIOD_FRAMES, None)
        return _frames(stretches, track)

    def _signs(self, content_id: int | None) -> Floats:
        """Return the signs of all tiles, or of the pilot alone where no payload was read [128, K] (7)."""
        if content_id is None:
            return self._layout.pilot
        return self._layout.with_payload(payload.encode(self._key, content_id))

    def _folded(self, features_FK: Floats, track: Track, parts: list[tuple[int, int]]) -> Floats:
        """Return the sum of the tiles within the parts in each tile of the track's period [128, K]."""
        phase = -track.offset_frames % TILE_FRAMES
        folded = np.sum([fold(features_FK[first:end], phase, first) for first, end in parts], axis=0)
        return np.roll(folded, (track.offset_frames + phase) // TILE_FRAMES, axis=0)

    def _soft_bits(self, folded_MK: Floats) -> Floats:
        """Return the soft value of each coded bit [256]; without a mark each has mean 0 and variance 1."""
        carrier = self._layout.role != geometry.PILOT
        bit = self._layout.role[carrier]
        soft = np.bincount(bit, (folded_MK * self._layout.sign)[carrier], payload.CODED_BITS)
        energy = np.bincount(bit, (folded_MK**2)[carrier], payload.CODED_BITS)
        return np.asarray(soft / np.sqrt(energy.mean() + 1e-9), np.float32)


def _as_heard(segment: MarkSegment, warp: Warp) -> MarkSegment:
    """Return a span of the issued audio in seconds of what was sent."""
    return replace(segment, start_s=segment.start_s / warp.tempo, end_s=segment.end_s / warp.tempo)


def _frames(stretches: list[MarkSegment], track: Track) -> list[tuple[int, int]]:
    """Return the frames, first and end, of each stretch; all of the track where there is none."""
    frames = [(round(s.start_s * FRAMES_PER_S), round(s.end_s * FRAMES_PER_S)) for s in stretches]
    return frames or [(track.first_frame, track.end_frame)]
