"""Marks that cannot be read are recognised among issued ids, as surely as is said and no surer."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio import SAMPLE_RATE_HZ, decode, edits
from watermark import Codebook, Detector, Embedder, Key, Outcome, contradicts, payload, recognise
from watermark.issued import chance, issued
from watermark.result import Detection, SoftBits, Unread

KEY = Key(bytes(range(16)))
OTHER = Key(bytes(range(1, 17)))
ASSETS = Path(__file__).parents[1] / "assets"
CONTENT_ID = 0xABC123456789
DAMAGED = [("kathleen_1", "mp3_16k", 4), ("kerstin_1", "noise_10db", 6), ("kerstin_2", "amr_nb_12.2k", 5)]
"""Recording, edit, seconds: the mark is found and its payload is not read."""


def random_ids(num: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << payload.ID_BITS, num)


@cache
def damaged(name: str, edit: str, seconds: int) -> tuple[np.ndarray, Detection]:
    """A marked recording, damaged until its payload is not read, and what is detected in it."""
    wav_T = decode((ASSETS / f"{name}.flac").read_bytes()).wav_T
    marked_T = Embedder.load(key=KEY).mark(wav_T, SAMPLE_RATE_HZ, payload=CONTENT_ID)
    damaged_T = edits.apply(marked_T, edit, seed=0)[: seconds * SAMPLE_RATE_HZ]
    found = Detector.load(key=KEY).detect(damaged_T, SAMPLE_RATE_HZ)
    assert found.outcome is Outcome.FOUND
    assert found.payload is None
    assert len(found.unread) == 1
    assert {segment.unread for segment in found.segments} == {0}
    return damaged_T, found


def unread(name: str, edit: str, seconds: int) -> Unread:
    return damaged(name, edit, seconds)[1].unread[0]


def marked_s(found: Detection) -> float:
    return sum(segment.end_s - segment.start_s for segment in found.segments)


def soft_of(mark: Unread) -> np.ndarray:
    return np.array(mark.tries[0].bits, np.float32)


@given(st.lists(st.integers(0, (1 << 48) - 1), max_size=5))
def test_packed_codewords_are_the_encoded_ones(content_ids: list[int]) -> None:
    packed = payload.pack(KEY, np.array(content_ids, np.int64))
    assert packed.shape == (32, len(content_ids))
    for n, content_id in enumerate(content_ids):
        signs = 1.0 - 2.0 * np.unpackbits(packed[:, n])
        assert np.array_equal(payload.packed_order(payload.encode(KEY, content_id)).ravel(), signs)


@pytest.mark.parametrize("content_id", [-1, 1 << 48])
def test_a_codebook_refuses_what_is_no_content_id(content_id: int) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        Codebook(KEY, np.array([5, content_id]))


def test_the_best_of_a_codebook_is_the_best_whatever_its_blocks() -> None:
    """Filled in uneven pieces, over the edge of a block of 65,536."""
    ids_N = random_ids(70_000)
    book = Codebook(KEY)
    for part in np.split(ids_N, [1, 1, 40_000, 65_535, 65_536, 69_000]):
        book.extend(part)
    assert len(book) == len(ids_N)
    rng = np.random.default_rng(1)
    for n in (0, 40_000, 65_535, 65_536, 69_999):
        heard = payload.encode(KEY, int(ids_N[n])) + rng.standard_normal(256).astype(np.float32)
        content_id, z = book.best(heard)
        assert content_id == ids_N[n]
        exact = float(heard @ payload.encode(KEY, content_id)) / float(np.linalg.norm(heard))
        assert z == pytest.approx(exact, abs=1e-4)


def test_an_empty_codebook_recognises_nothing() -> None:
    assert recognise(unread(*DAMAGED[0]), [Codebook(KEY), Codebook(KEY)], 2) is None


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_recognised_mark_is_marked_off_by_its_codeword(damage: tuple[str, str, int]) -> None:
    """Twice as many tiles are known as of the pilot: no less of the marked audio is covered, and more surely;
    the span still names its mark."""
    wav_T, found = damaged(*damage)
    again = Detector.load(key=KEY).marked_off(wav_T, SAMPLE_RATE_HZ, found, {0: CONTENT_ID})
    assert {segment.unread for segment in again.segments} == {0}
    assert marked_s(again) >= marked_s(found) - 0.1
    assert max(one.score for one in again.segments) > max(one.score for one in found.segments)
    assert (again.score, again.unread, again.payload) == (found.score, found.unread, None)


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_mark_that_is_not_read_is_recognised_among_ten_thousand(damage: tuple[str, str, int]) -> None:
    mark, others_N = unread(*damage), random_ids(10_000)
    found = issued(KEY, mark, np.append(others_N, CONTENT_ID))
    assert found is not None
    assert found.accepted
    assert found.content_id == CONTENT_ID
    absent = issued(KEY, mark, others_N)
    assert absent is not None
    assert not absent.accepted
    under_another_key = issued(OTHER, mark, np.append(others_N, CONTENT_ID))
    assert under_another_key is not None
    assert not under_another_key.accepted


def test_a_name_is_paid_for_with_all_ids_tries_and_books() -> None:
    mark = unread("kathleen_1", "mp3_16k", 4)
    few, many = (np.append(random_ids(num), CONTENT_ID) for num in (99, 9_999))
    once = recognise(mark, [Codebook(KEY, few)], 1)
    assert once is not None
    for books, num_tries, price in [([few], 5, 5), ([many], 1, 100), ([few, many], 1, 2)]:
        paid = recognise(mark, [Codebook(KEY, ids) for ids in books], num_tries)
        assert paid is not None
        assert paid.content_id == once.content_id == CONTENT_ID
        assert paid.false_alarm_probability == pytest.approx(price * once.false_alarm_probability)


def soft_bits() -> dict[str, np.ndarray]:
    """What is heard: noise, real damaged marks, and a mark that is all but clean."""
    rng = np.random.default_rng(3)
    noise = rng.standard_normal(256).astype(np.float32)
    return {
        "noise": noise,
        "nearly a codeword": payload.encode(KEY, CONTENT_ID) + 0.3 * noise,
        **{" ".join(map(str, one)): soft_of(unread(*one)) for one in DAMAGED},
    }


def test_ids_that_were_never_issued_fit_no_more_often_than_is_said() -> None:
    """200,000 random ids on each of five: what is counted stays below the bound, but for four standard
    deviations of a count; a right bound fails by chance once in 10**5 runs of other seeds."""
    ids_N = random_ids(200_000)
    signs = payload.pack(KEY, ids_N)
    for name, soft in soft_bits().items():
        ordered = payload.packed_order(soft).ravel() / np.linalg.norm(soft)
        z_N = np.concatenate(
            [ordered @ (1.0 - 2.0 * np.unpackbits(part, axis=0)) for part in np.split(signs, 20, axis=1)]
        )
        assert abs(z_N.mean()) < 4 / math.sqrt(len(z_N)), name
        for z in (4.5, 4.75, 5.0):
            expected = len(z_N) * chance(soft, z)
            count = int((z_N >= z).sum())
            assert count <= expected + 4 * math.sqrt(expected), (name, z)


def test_the_bound_holds_where_the_code_itself_is_the_danger() -> None:
    """Words that differ from a clean one by one error event: 64 of them at least, one for each place it may
    begin. A normal tail at their z would be 1e-32 and less."""
    clean = payload.encode(KEY, CONTENT_ID)
    events = [np.roll(np.eye(1, 64, dtype=np.uint8)[0], n) for n in range(64)]
    weights = [int(payload._convolve(event).sum()) for event in events]
    assert len(set(weights)) == 1
    z = (payload.CODED_BITS - 2 * weights[0]) / math.sqrt(payload.CODED_BITS)
    assert z > 12
    assert chance(clean, z) >= 64 / 2.0**64


def test_the_bound_counts_every_word_of_the_code() -> None:
    """For one soft bit alone the moment is cosh(theta), whatever the code is; theta ends at twice z."""
    alone = np.zeros(256, np.float32)
    alone[77] = 1.0
    assert chance(alone, 4.6) == pytest.approx(math.cosh(2 * 4.6) / math.exp(2 * 4.6 * 4.6), rel=1e-3)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_the_bound_is_a_probability_that_falls_with_z(seed: int) -> None:
    soft = np.random.default_rng(seed).standard_normal(256).astype(np.float32)
    chances = [chance(soft, z) for z in (-3.0, 0.0, 4.6, 5.5, 7.0, 12.0, 16.0)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == 1.0
    assert 0 < chances[-1] < 1e-15


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_mark_contradicts_the_ids_of_others_and_not_its_own(damage: tuple[str, str, int]) -> None:
    """300 others. Of marks with a pilot of 4.8, the weakest here, 80 % of the others are contradicted."""
    mark = unread(*damage)
    assert not contradicts(KEY, mark, CONTENT_ID)
    others = [contradicts(KEY, mark, int(content_id)) for content_id in random_ids(300)]
    assert np.mean(others) > (0.7 if mark.tries[0].pilot_z < 5 else 0.95)


def test_a_mark_whose_pilot_is_hardly_there_contradicts_nobody() -> None:
    """A third of the others have a z below 0 with it, and so may its own."""
    rng = np.random.default_rng(0)
    faint = Unread((SoftBits(2.5, tuple(rng.standard_normal(256).tolist())),), 0)
    assert not any(contradicts(KEY, faint, int(n)) for n in random_ids(100))


def test_no_pilot_is_so_strong_that_a_clean_codeword_contradicts_itself() -> None:
    """z is 16 at most, by its norm; that of a pilot grows with the audio."""
    clean = Unread((SoftBits(300.0, tuple(payload.encode(KEY, CONTENT_ID).tolist())),), 0)
    assert not contradicts(KEY, clean, CONTENT_ID)
