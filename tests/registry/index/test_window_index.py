"""The index in memory: replay, numbering, what is hot and what is sealed, merges, search over all of it."""

import uuid

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.changelog import Change
from registry.index import WindowIndex
from registry.index.hits import Hits, best
from registry.index.quantizer import unit

WEIGHTS = "ab" * 32


def random_codes(num: int, seed: int) -> NDArray[np.int8]:
    emb_ND = np.random.default_rng(seed).standard_normal((num, 128))
    return np.rint(127 * emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)).astype(np.int8)


def change(
    position: int, ordinal: int, first_window: int = 0, num: int = 5, weights: str = WEIGHTS
) -> Change:
    informative_N = np.ones(num, np.bool_)
    informative_N[1::3] = False
    codes_ND = random_codes(num, seed=1000 * ordinal + first_window)
    return Change(position, ordinal, uuid.UUID(int=ordinal), first_window, codes_ND, informative_N, weights)


CHANGES = [change(2, 7), change(3, 9), change(5, 7, first_window=5), change(8, 12, num=40)]
BIG = [change(n + 1, n, num=150) for n in range(70)]  # 7,000 informative windows
SMALL_HOT = 800  # a segment every eight changes; eight segments become one


def filled(changes: list[Change], **settings: int) -> WindowIndex:
    index = WindowIndex(**settings)
    index.apply(changes)
    return index


def test_a_stored_window_finds_its_generation_and_number() -> None:
    """The numbering skips silent windows and goes on across chunks of one generation."""
    index = filled(CHANGES)
    for stored in CHANGES:
        for row in np.flatnonzero(stored.informative_N):
            hits = index.search(unit(stored.codes_ND[row : row + 1]), 3)
            assert hits.scores_QK[0, 0] == pytest.approx(1.0, abs=1e-5)
            assert hits.ordinals_QK[0, 0] == stored.generation_ordinal
            assert hits.windows_QK[0, 0] == stored.first_window + row


def test_silent_windows_are_not_indexed() -> None:
    """They would be hubs."""
    index = filled(CHANGES)
    assert index.num_windows == sum(int(c.informative_N.sum()) for c in CHANGES)
    silent = CHANGES[3].codes_ND[~CHANGES[3].informative_N]
    assert index.search(unit(silent), 1).scores_QK.max() < 0.9


def test_replaying_again_adds_nothing() -> None:
    """Faiss knows no uniqueness, so the position is what makes a replay idempotent."""
    index = filled(CHANGES)
    index.apply(CHANGES)
    index.apply(CHANGES[1:])
    assert (index.position, index.num_windows) == (8, filled(CHANGES).num_windows)


def test_changes_out_of_order_are_refused_and_nothing_is_skipped() -> None:
    """A position applied early would hide the ones before it for good."""
    index = WindowIndex()
    with pytest.raises(ValueError, match="must rise"):
        index.apply([CHANGES[0], CHANGES[2], CHANGES[1]])
    assert index.position == 5
    assert index.num_windows == filled([CHANGES[0], CHANGES[2]]).num_windows


def test_codes_of_other_weights_are_passed_over_and_counted() -> None:
    """Cosines between two networks mean nothing."""
    index = filled([*CHANGES, change(9, 13, weights="cd" * 32)])
    assert (index.position, index.num_foreign) == (9, 3)
    assert index.num_windows == filled(CHANGES).num_windows


def test_an_empty_index_answers_with_nothing() -> None:
    """The first query of a new registry."""
    hits = WindowIndex().search(unit(random_codes(2, 0)), 4)
    assert hits.ordinals_QK.tolist() == [[-1] * 4] * 2


def test_fewer_windows_than_asked_for_are_filled_with_minus_one() -> None:
    """Faiss pads with row -1, which must not become the last generation."""
    hits = filled([change(1, 4, num=1)]).search(unit(random_codes(1, 5)), 3)
    assert hits.ordinals_QK.tolist() == [[4, -1, -1]]
    assert hits.windows_QK.tolist() == [[0, -1, -1]]


def test_a_filled_index_finds_what_a_replayed_one_finds() -> None:
    """A rebuild reads the table by generation, a replica the changelog by position."""
    replayed, filled_at_once = filled(BIG, hot_windows=SMALL_HOT), WindowIndex(hot_windows=SMALL_HOT)
    sample_ND = np.concatenate([one.codes_ND for one in BIG])
    filled_at_once.fill(70, sample_ND, [BIG[n : n + 9] for n in range(0, 70, 9)])
    assert (filled_at_once.position, filled_at_once.num_windows) == (70, replayed.num_windows)
    for index in (replayed, filled_at_once):
        assert places(index) == places(filled(BIG))
        assert share_found(index, BIG) >= 0.99


def test_what_is_hot_is_sealed_and_segments_are_merged() -> None:
    """Else every search would go through hundreds of small parts."""
    index = WindowIndex(hot_windows=SMALL_HOT)
    sizes = []
    for one in BIG:
        index.apply([one])
        sizes.append([segment.num_windows for segment in index.segments])
    assert sizes[6] == []
    assert sizes[7] == [800]
    assert sizes[55] == [800] * 7
    assert sizes[63] == [6400]
    assert places(index) == places(filled(BIG))
    assert not index.is_exact


def test_the_compressed_index_still_finds_what_is_stored() -> None:
    """Every stored window among its own ten best; approximate scores may reorder the top."""
    index = filled(BIG, hot_windows=SMALL_HOT)
    assert share_found(index, BIG) >= 0.99


def test_segments_of_different_codebooks_are_not_merged() -> None:
    """Their codes mean different vectors."""
    one, two = (filled(BIG[n : n + 8], hot_windows=SMALL_HOT).segments[0] for n in (0, 8))
    with pytest.raises(ValueError, match="codebooks"):
        type(one).merge([one, two])


def test_the_best_of_several_parts_is_the_best_of_all() -> None:
    """Hand-written: -1 fills the end, and of equal scores the earlier part's comes first."""
    left = Hits(np.array([[0.9, -np.inf]], "f4"), np.array([[1, -1]]), np.array([[10, -1]]))
    right = Hits(np.array([[0.9, 0.5]], "f4"), np.array([[2, 3]]), np.array([[20, 30]]))
    assert best([left, right], 3).ordinals_QK.tolist() == [[1, 2, 3]]
    assert best([right, left], 2).windows_QK.tolist() == [[20, 10]]
    assert best([left, Hits.none(1, 2)], 2).ordinals_QK.tolist() == [[1, -1]]


def test_a_query_of_another_width_is_refused() -> None:
    """Faiss would read beyond its end."""
    with pytest.raises(ValueError, match="128"):
        filled(CHANGES).search(np.zeros((1, 64), np.float32), 1)


def places(index: WindowIndex) -> list[tuple[int, int]]:
    return sorted(zip(*(array.tolist() for array in index.places()), strict=True))


def share_found(index: WindowIndex, changes: list[Change]) -> float:
    found = []
    for stored in changes:
        kept = np.flatnonzero(stored.informative_N)
        hits = index.search(unit(stored.codes_ND[kept]), 10)
        own = (hits.ordinals_QK == stored.generation_ordinal) & (hits.windows_QK == kept[:, None])
        found.append(own.any(axis=1).mean())
    return float(np.mean(found))
