"""Audio as a question to the registry: embedded densely, with rows that begin before it and end after it.

Dimension key: T samples, J query rows, D embedding width. Not here: what is asked (matching.py), what is
registered (fingerprint/windows.py).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from registry import alignment
from registry.alignment import Alignment
from registry.detail import Agreement, Place, agreement
from registry.fingerprint.windows import HOP_SAMPLES, WINDOW_SAMPLES, informative

# A second has two or three windows: there it pays that the nearest row is nearer (docs/LOG.md, 2026-11-25).
SHORT_SAMPLES, SHORT_ROWS_PER_WINDOW = 2 * SAMPLE_RATE_HZ, 2 * alignment.ROWS_PER_WINDOW
WINDOW_S = WINDOW_SAMPLES / SAMPLE_RATE_HZ
SHORT_ROWS = 45  # every second, third and fifth row find the same copies of 5 s (docs/LOG.md, 2026-11-26)
_LOUD_RMS = 0.1  # quiet queries are raised to -20 dBFS, by 40 dB at most, before silence is judged


class Embeds(Protocol):
    """What a query needs of a fingerprinter: that of registry/fingerprint/windows.py, or one elsewhere."""

    @property
    def weights_sha256(self) -> str: ...
    def embed(
        self,
        wav_T: NDArray[np.float32],
        hop_samples: int,
        first_sample: int,
        num_windows: int,
        pitches: Sequence[float],
        /,
    ) -> NDArray[np.float32]: ...
    def values(self, wav_T: NDArray[np.float32], pitches: Sequence[float], /) -> NDArray[np.float32]: ...


Values = Callable[[], NDArray[np.float32]]


@dataclass(frozen=True)
class Heard:
    """The audio of a query, and what embeds it: to ask once more, at another pitch."""

    wav_T: NDArray[np.float32]  # at 24 kHz, one window at least
    fingerprinter: Embeds


@dataclass(frozen=True)
class Query:
    """Embedded audio: a row every 1 / `rows_per_window` of 0.48 s, and which rows hold sound; and a row of
    values every 7.5 ms, for the signs.

    The first rows begin before the audio, row `rows_per_window` with it; as many end after it. Those windows
    are heard in part. `pitch`: how many times as high as registered the audio was taken to be; rows and times
    are those of the audio as it is.
    """

    emb_JD: NDArray[np.float32]
    informative_J: NDArray[np.bool_]
    rows_per_window: int
    values: Values
    pitch: float = 1.0

    @property
    def row_s(self) -> float:
        return HOP_SAMPLES / self.rows_per_window / SAMPLE_RATE_HZ

    @property
    def duration_s(self) -> float:
        """The audio's length, to a row."""
        return (len(self.emb_JD) - 1 - 2 * self.rows_per_window) * self.row_s + WINDOW_S

    @property
    def num_windows(self) -> float:
        """Its length in registry windows, silence left out."""
        return float(self.informative_J.sum()) / self.rows_per_window

    def without(self, found: Alignment) -> "Query":
        """The same query with the rows of an alignment taken away."""
        first, last = found.rows
        margin = self.rows_per_window // 2
        informative_J = self.informative_J.copy()
        informative_J[max(0, round(first) - margin) : max(0, round(last) + margin + 1)] = False
        return replace(self, informative_J=informative_J)

    def second_of(self, row: float) -> float:
        """Where in the audio a row begins."""
        return (row - self.rows_per_window) * self.row_s

    def span_of(self, found: Alignment) -> tuple[float, float]:
        """The seconds of the audio that an alignment covers: from the first window's start to the last one's
        end, as far as there is audio."""
        begins_s, last_s = (self.second_of(row) for row in found.rows)
        start_s = min(max(0.0, begins_s), self.duration_s)
        return start_s, max(start_s, min(last_s + WINDOW_S, self.duration_s))

    def agreement(
        self, found: Alignment, signs_NB: NDArray[np.uint8], informative_N: NDArray[np.bool_]
    ) -> Agreement | None:
        """Whether the signs of a generation agree with the audio that an alignment covers, and exactly
        where."""
        line = found.line
        begin_s = (line.offset_rows + line.speed * self.rows_per_window) * self.row_s
        around = Place(begin_s, line.speed)
        return agreement(around, self.span_of(found), self.values(), signs_NB, informative_N)


def heard_values(
    wav_T: NDArray[np.float32], fingerprinter: Embeds, pitches: Sequence[float] = (1.0,)
) -> list[Values]:
    """A query's values [Q, K] at each pitch, all computed when one is first asked for, and kept."""
    computed = cache(lambda: fingerprinter.values(wav_T, pitches))
    return [partial(lambda number: computed()[number], number) for number in range(len(pitches))]


def embed_query(wav_T: NDArray[np.float32], fingerprinter: Embeds) -> Query:
    """Audio at 24 kHz, at least one window, as a query. 5 s take 20 to 50 ms on one core."""
    rows_per_window = SHORT_ROWS_PER_WINDOW if len(wav_T) < SHORT_SAMPLES else alignment.ROWS_PER_WINDOW
    hop = HOP_SAMPLES // rows_per_window
    num_rows = 2 * rows_per_window + 1 + (len(wav_T) - WINDOW_SAMPLES) // hop
    emb_JD = fingerprinter.embed(wav_T, hop, -HOP_SAMPLES, num_rows, (1.0,))
    return as_query(emb_JD, wav_T, rows_per_window, *heard_values(wav_T, fingerprinter))


def probes(heard: Heard, query: Query, pitches: Sequence[float]) -> list[Query]:
    """The query at other pitches, in some of its rows: the others are not embedded, and count as silent.

    Every third row up to 5.3 s; longer audio has rows to spare, and gives every fifth.
    """
    J, D = query.emb_JD.shape
    # Odd, since windows are four or eight rows apart: else all rows could miss them by as much.
    step = 3 if J <= SHORT_ROWS else 5
    probed = slice(0, J, step)
    num_rows, hop = -(-J // step), step * HOP_SAMPLES // query.rows_per_window
    emb_RD = heard.fingerprinter.embed(heard.wav_T, hop, -HOP_SAMPLES, num_rows, pitches)
    emb_PJD, informative_J = np.zeros((len(pitches), J, D), np.float32), np.zeros(J, np.bool_)
    emb_PJD[:, probed] = emb_RD.reshape(len(pitches), num_rows, D)
    informative_J[probed] = query.informative_J[probed]
    values_P = heard_values(heard.wav_T, heard.fingerprinter, pitches)
    return [
        replace(
            query,
            emb_JD=emb_JD,
            informative_J=informative_J,
            values=values,
            pitch=pitch,
        )
        for emb_JD, values, pitch in zip(emb_PJD, values_P, pitches, strict=True)
    ]


def as_query(
    emb_JD: NDArray[np.float32],
    wav_T: NDArray[np.float32],
    rows_per_window: int,
    values: Values,
) -> Query:
    """Rows that were embedded already, with the audio they came from."""
    rms = math.sqrt(float(np.mean(np.square(wav_T, dtype=np.float64))) + 1e-20)
    gain = np.float32(min(max(1.0, _LOUD_RMS / rms), 100.0))
    informative_J = informative(np.pad(wav_T * gain, HOP_SAMPLES), HOP_SAMPLES // rows_per_window)
    return Query(emb_JD, informative_J[: len(emb_JD)], rows_per_window, values)
