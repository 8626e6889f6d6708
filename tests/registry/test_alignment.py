"""Votes and scores on codes made by hand, so that the right line is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.alignment import (
    NEUTRAL_COSINE,
    ROWS_PER_WINDOW,
    Hit,
    Line,
    best_sums,
    gain,
    score,
    speeds,
    vote,
)

CERTAIN = 2.5408  # by hand: log(0.75 / (1 - 0.97^2))


def units(num: int, seed: int) -> NDArray[np.float32]:
    emb_ND = np.random.default_rng(seed).standard_normal((num, 128)).astype(np.float32)
    return emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)


def hits(rows: list[int], windows: list[int], ordinal: int = 3, cosine: float = 0.9) -> Hit:
    H = len(rows)
    return Hit(np.array(rows), np.full(H, ordinal), np.array(windows), np.full(H, cosine, np.float32))


def everything(num: int) -> NDArray[np.bool_]:
    return np.ones(num, np.bool_)


@pytest.mark.parametrize(
    "gains, expected",
    [
        ([1.0], 1.0),
        ([-1.0], -1.0),
        ([1.0, -0.5, 2.0, -3.0, 1.0], 2.5),
        ([-1.0, 0.0, 2.0, 0.0, -1.0], 2.0),
        ([1.0, -2.0, 1.5], 1.5),
    ],
)
def test_the_best_sum_is_the_one_found_by_hand(gains: list[float], expected: float) -> None:
    """One window, nothing good, a dip that is bridged, zeros at the edges, a dip that is not."""
    assert best_sums(np.array([gains, gains])).tolist() == pytest.approx([expected, expected])


def test_consistent_hits_outvote_a_single_stronger_one() -> None:
    """Sequence before single window."""
    consistent = hits([0, 4, 8], [10, 11, 12])
    lone = hits([0], [50], ordinal=8, cosine=1.0)
    both = Hit(
        np.concatenate([consistent.rows_H, lone.rows_H]),
        np.concatenate([consistent.ordinals_H, lone.ordinals_H]),
        np.concatenate([consistent.windows_H, lone.windows_H]),
        np.concatenate([consistent.cosines_H, lone.cosines_H]),
    )
    best = vote(both, 4)[0]
    assert (best.ordinal, best.offset_rows) == (3, 10 * ROWS_PER_WINDOW)


def test_a_generation_may_begin_inside_the_query() -> None:
    """The offset is then negative; the packing of keys must survive that."""
    best = vote(hits([20, 24, 28], [0, 1, 2]), 1)[0]
    assert (best.ordinal, best.offset_rows) == (3, -20)


def test_hits_on_nothing_and_weak_hits_do_not_vote() -> None:
    """-1 is how the index says that it has no more."""
    assert vote(hits([0], [-1], ordinal=-1), 3) == []
    assert vote(hits([0], [1], cosine=NEUTRAL_COSINE), 3) == []


def test_a_copy_played_faster_is_found_on_a_line_of_that_speed() -> None:
    """At 1.06 twenty windows drift by 1.1 windows."""
    windows = list(range(20))
    rows = [round(ROWS_PER_WINDOW * n / 1.06) for n in windows]
    assert vote(hits(rows, windows), 1)[0].speed == pytest.approx(1.06)


def test_a_short_query_is_asked_at_few_speeds_and_a_long_one_at_all() -> None:
    """Over 9 rows 10 % are less than a row; over 100 rows 2 % are two."""
    assert speeds(9) == [1.0]
    assert speeds(25) == pytest.approx([0.92, 0.96, 1.0, 1.04, 1.08])
    assert speeds(100) == pytest.approx([0.9 + 0.02 * k for k in range(11)])


def test_the_part_that_is_ours_is_returned_and_not_the_rest() -> None:
    """Windows 5 to 9 of the generation lie in rows 20 to 36 of a query of other sound."""
    unit_ND, emb_JD = units(30, 0), units(60, 1)
    emb_JD[20:40:ROWS_PER_WINDOW] = unit_ND[5:10]
    found = score(Line(3, 0.0, 1.0), emb_JD, everything(60), unit_ND, everything(30))
    assert found is not None
    assert (found.first_window, found.last_window) == (5, 9)
    assert found.likeness == pytest.approx(5 * CERTAIN, abs=1e-3)


def test_silent_windows_neither_help_nor_hurt() -> None:
    """A pause in the middle must not cut the match in two."""
    unit_ND = units(10, 0)
    emb_JD = np.repeat(unit_ND, ROWS_PER_WINDOW, axis=0)
    emb_JD[16:24] = -emb_JD[16:24]
    informative_N = everything(10)
    informative_N[4:6] = False
    found = score(Line(3, 0.0, 1.0), emb_JD, everything(40), unit_ND, informative_N)
    assert found is not None
    assert (found.first_window, found.last_window) == (0, 9)
    assert found.likeness == pytest.approx(8 * CERTAIN, abs=1e-3)


def test_a_line_beside_the_generation_has_no_score() -> None:
    """Votes come from an approximate index, so such a line can be proposed."""
    assert score(Line(3, 400.0, 1.0), units(8, 0), everything(8), units(8, 1), everything(8)) is None


def test_a_match_does_not_reach_over_seconds_of_something_else() -> None:
    """Ours, then something else for 4 s, then ours again where it would have been: the longer part."""
    unit_ND, emb_JD = units(30, 0), units(120, 1)
    emb_JD[0:24:ROWS_PER_WINDOW] = unit_ND[0:6]
    emb_JD[60:92:ROWS_PER_WINDOW] = unit_ND[15:23]
    found = score(Line(3, 0.0, 1.0), emb_JD, everything(120), unit_ND, everything(30))
    assert found is not None
    assert (found.first_window, found.last_window) == (15, 22)


def test_the_offset_is_where_the_cosines_beside_have_their_top() -> None:
    """A query that began a third of a row late: the cosines fall off evenly around that place."""
    unit_ND = units(12, 0)
    emb_JD = np.zeros((48, 128), np.float32)
    for j in range(48):
        distance_N = np.abs(j + 1 / 3 - ROWS_PER_WINDOW * np.arange(12))
        emb_JD[j] = (np.clip(1.0 - 0.1 * distance_N**2, 0.0, None)[:, None] * unit_ND).sum(axis=0)
    found = score(Line(3, 0.0, 1.0), emb_JD, everything(48), unit_ND, everything(12))
    assert found is not None
    assert found.line.offset_rows == pytest.approx(1 / 3, abs=0.05)


def test_the_gain_is_the_formula_on_both_sides_of_neutral() -> None:
    """By hand: log(0.75 / 0.36) = 0.7340 at 0.8; 2 (0.1 - 0.5) at 0.1; beyond 0.97 no more."""
    assert gain(np.array([0.8, 0.5, 0.1, 0.97, 1.0])) == pytest.approx(
        [0.7340, 0.0, -0.8, CERTAIN, CERTAIN], abs=1e-4
    )


def test_a_finer_grid_gives_the_same_windows() -> None:
    """Short queries have eight rows to a window."""
    unit_ND = units(10, 0)
    emb_JD = np.repeat(unit_ND, 8, axis=0)
    rows = np.arange(0, 80, 8)
    voted = vote(Hit(rows, np.full(10, 3), np.arange(10), np.full(10, 0.9, np.float32)), 1, rows_per_window=8)
    found = score(voted[0], emb_JD, everything(80), unit_ND, everything(10))
    assert found is not None
    assert (found.first_window, found.last_window) == (0, 9)
    assert found.rows == pytest.approx((0.0, 72.0), abs=4.0)
