"""Nearest windows among all that were registered; a replica that replays the changelog by position.

    changes ──► hot (exact, newest) ──seal, every 8192 windows──► segment ──8 of a size──► larger segment
    query   ──► hot and every segment, side by side on all cores ──► the k best of all

Everything is searched: no windows are passed over unseen. A segment is sealed and never changed; with a store
it is on disk from then on, and a restart replays only what came after the last one. Processes that share a
store take over what another one has sealed. Codes of another network than this one's are passed over and
counted in `num_foreign`. Scores of segments are approximate: re-score before comparing with a threshold.

Not safe to search while applying: Faiss allows no search beside a change. registry/replica.py holds the lock.
Dimension key: N index rows, D embedding width, Q query rows, K hits of a row.
Not covered: removal; generations are never removed.
"""

import functools
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
from numpy.typing import NDArray

from registry.changelog import Change
from registry.errors import IndexUnavailable
from registry.index import quantizer
from registry.index.hits import Hits, best
from registry.index.hot import Entry, Hot
from registry.index.quantizer import Codebook, unit
from registry.index.segment import Segment
from registry.index.store import Manifest, SegmentStore
from registry.tables import EMBEDDING_WIDTH

__all__ = ["HOT_WINDOWS", "WindowIndex", "unit"]

log = logging.getLogger(__name__)

HOT_WINDOWS = 8_192  # 1.1 h of speech; an exact search of 17 rows takes 7 ms there on one core
MERGE = 8  # segments of a size become one, up to HOT_WINDOWS * MERGE ** 2: half a million, 19 MB
_LARGEST_LEVEL = 2


class WindowIndex:
    """Informative windows of every generation replayed so far."""

    def __init__(
        self,
        weights_sha256: str | None = None,
        hot_windows: int = HOT_WINDOWS,
        store: SegmentStore | None = None,
    ) -> None:
        """An empty index at position 0. `weights_sha256`: whose codes to take; None: those of the first
        change. Without a store it lives in memory alone."""
        self.position = 0
        self.saved_position = 0  # what the store holds
        self.num_foreign = 0
        self.weights_sha256 = weights_sha256
        self.segments: list[Segment] = []
        self._hot_windows = hot_windows
        self._store = store
        self._hot = Hot()
        self._codebook: Codebook | None = None
        self._sealed_position = 0  # what the segments hold, saved or not

    @property
    def num_windows(self) -> int:
        return self._hot.num_windows + sum(segment.num_windows for segment in self.segments)

    @property
    def is_exact(self) -> bool:
        """Whether nothing is compressed yet."""
        return not self.segments

    def load(self) -> None:
        """Take over what the store holds, if anything. Raises `IndexUnavailable` when it is damaged or
        belongs to other weights; then the index is as before."""
        if self._store is not None:
            with self._store.locked(exclusive=False):
                self._take_over(self._store.manifest())

    def apply(self, changes: Iterable[Change]) -> None:
        """Add what lies behind `position`; what was applied before is passed over, so a replay may repeat.

        Changes come in ascending order of position, as the changelog gives them. Raises ValueError otherwise,
        with everything before the offending change applied.
        """
        last_given = 0
        entries: list[Entry] = []
        try:
            for change in changes:
                if change.position <= last_given:
                    raise ValueError(f"change {change.position} came after {last_given}; positions must rise")
                last_given = change.position
                if change.position > self.position:
                    entries.append(self._entry(change))
                    self.position = change.position
        finally:
            self._add(entries)
        if self._hot.num_windows >= self._hot_windows:
            self._save(everything=False)

    def fill(self, position: int, sample_ND: NDArray[np.int8], batches: Iterable[list[Change]]) -> None:
        """Make an empty index that of a whole table as it was at `position`, then save it.

        `sample_ND`: codes from everywhere in it, of which the centroids are made. Raises whatever `batches`
        does; the index is then of no use. Nothing is saved before everything is there; then it takes the
        place of what was saved.
        """
        if len(sample_ND) >= self._hot_windows:
            self._codebook = self._pool.submit(quantizer.train, unit(sample_ND)).result()
        self.position = position
        for changes in batches:
            self._add([self._entry(change) for change in changes])
            if self._hot.num_windows >= self._hot_windows:
                self._seal()
        if self._store is not None:
            self._save(everything=True)

    def search(self, emb_QD: NDArray[np.float32], k: int) -> Hits:
        """The k best windows of each unit embedding [Q, 128]."""
        Q, D = emb_QD.shape
        if D != EMBEDDING_WIDTH or k < 1:
            raise ValueError(f"expected [Q, {EMBEDDING_WIDTH}] and k >= 1, not {emb_QD.shape} and {k}")
        parts: list[Segment | Hot] = sorted(self.segments, key=lambda segment: -segment.num_windows)
        if self._hot.num_windows:
            parts.append(self._hot)
        if not parts or Q == 0:
            return Hits.none(Q, k)
        emb_QD = np.ascontiguousarray(emb_QD, np.float32)
        return best(list(self._pool.map(lambda part: part.search(emb_QD, k), parts)), k)

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Generation and window of every row, in no order."""
        places = [self._hot.places(), *(segment.places() for segment in self.segments)]
        return np.concatenate([one for one, _ in places]), np.concatenate([one for _, one in places])

    def check_files(self) -> int:
        """How many segments were read again from the store and found whole. Raises `IndexUnavailable`."""
        if self._store is None:
            return 0
        with self._store.locked(exclusive=False):
            manifest = self._store.manifest()
            names = manifest.segments if manifest else ()
            for sha256 in names:
                self._store.segment(sha256)
        return len(names)

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        # One thread of Faiss's own each: with more, the threads of a short search wait for each other.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return ThreadPoolExecutor(cores, "index", faiss.omp_set_num_threads, (1,))

    def _entry(self, change: Change) -> Entry:
        """The change's informative windows, if they are of the weights in use."""
        if self.weights_sha256 is None:
            self.weights_sha256 = change.weights_sha256
        kept = np.flatnonzero(change.informative_N)
        num_foreign = 0
        if change.weights_sha256 != self.weights_sha256:
            kept, num_foreign = kept[:0], len(kept)
        windows_N = (change.first_window + kept).astype(np.int32)
        return Entry(
            change.position, change.generation_ordinal, windows_N, change.codes_ND[kept], num_foreign
        )

    def _add(self, entries: list[Entry]) -> None:
        self.num_foreign += sum(entry.num_foreign for entry in entries)
        self._hot.add(entries)

    def _save(self, *, everything: bool) -> None:
        """Seal what is hot and publish it, unless another process has done so. A disk that does not take it
        costs a longer replay at the next start, and nothing now."""
        if self._store is None:
            self._seal()
            return
        try:
            with self._store.locked(exclusive=True):
                if not everything:
                    self._take_over(self._published())
                if everything and not self.segments:
                    # Too little to seal. What lies there is damaged, of other weights or of what the database
                    # held before a restore: the next start, or the next seal, would take it over.
                    self._store.unpublish()
                elif everything or self._hot.num_windows >= self._hot_windows:
                    self._seal()
                    self._publish(self._store)
        except IndexUnavailable as exc:
            log.warning("%s: it goes on in memory", exc)
            if self._hot.num_windows >= self._hot_windows:
                self._seal()

    def _seal(self) -> None:
        """Turn what is hot into a segment, and eight segments of a size into one. Memory only."""
        self._sealed_position = self.position
        if not self._hot.num_windows:
            return
        emb_ND = self._hot.vectors()
        if self._codebook is None:
            self._codebook = self._pool.submit(quantizer.train, emb_ND).result()
        ordinals_N, windows_N = self._hot.places()
        sealed = self._pool.submit(
            Segment.seal, self._codebook, ordinals_N, windows_N.astype(np.int32), emb_ND
        ).result()
        self.segments = self._merged([*self.segments, sealed])
        self._hot = Hot()

    def _merged(self, segments: list[Segment]) -> list[Segment]:
        while True:
            level = self._level(segments[-1])
            run = 1
            while run < len(segments) and self._level(segments[-run - 1]) == level:
                run += 1
            if level == _LARGEST_LEVEL or run < MERGE:
                return segments
            segments = [*segments[:-run], Segment.merge(segments[-run:])]

    def _level(self, segment: Segment) -> int:
        sizes = [self._hot_windows * MERGE ** (level + 1) for level in range(_LARGEST_LEVEL)]
        return sum(segment.num_windows >= size for size in sizes)

    def _published(self) -> Manifest | None:
        assert self._store is not None
        try:
            return self._store.manifest()
        except IndexUnavailable as exc:
            log.warning("%s: it is replaced", exc)
            return None

    def _take_over(self, manifest: Manifest | None) -> None:
        """Replace our segments by published ones that reach at least as far, and drop from what is hot what
        they hold. Raises IndexUnavailable, with nothing changed."""
        assert self._store is not None
        if manifest is None or manifest.position < self._sealed_position:
            return
        if self.weights_sha256 is not None and manifest.weights_sha256 not in (None, self.weights_sha256):
            raise IndexUnavailable("the index was made with other fingerprint weights")
        known = {segment.sha256: segment for segment in self.segments}
        segments = [known.get(sha256) or self._store.segment(sha256) for sha256 in manifest.segments]
        list(self._pool.map(lambda segment: segment.index, segments))  # packed now, not in the first search
        self._use(segments, manifest.position)
        self.weights_sha256 = manifest.weights_sha256
        self.num_foreign = manifest.num_foreign + sum(entry.num_foreign for entry in self._hot.entries)

    def _publish(self, store: SegmentStore) -> None:
        # A file of ours may be gone: another process that rebuilt at a lower position has published since.
        segments = [segment if store.holds(segment) else store.put(segment) for segment in self.segments]
        names = tuple(str(segment.sha256) for segment in segments)
        store.publish(Manifest(self.position, self.num_foreign, self.weights_sha256, names))
        self._use(segments, self.position)

    def _use(self, segments: list[Segment], position: int) -> None:
        self.segments = segments
        self._hot = self._hot.after(position)
        self.saved_position = self._sealed_position = position
        self.position = max(self.position, position)
        if segments:
            self._codebook = segments[-1].codebook
