"""The budget for near-duplicates: variants of one recording are counted, recordings of one person are not."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from api.access.budget import MAX_QUERIES, NearDuplicates
from api.access.sketch import NEAR_BITS, NUM_BITS, is_near, sketch
from api.errors import TooManyRequests
from audio import edits, trusted
from tests.api.conftest import ASSETS

SPEECH = sorted(path for path in ASSETS.glob("*.flac"))
VARIANTS = ("noise_20db", "mp3_32k", "opus_12k", "telephone_band")


def wav(name: str) -> NDArray[np.float32]:
    return trusted.read(ASSETS / f"{name}.flac", "flac")


def test_copies_are_near_and_other_recordings_are_far() -> None:
    """Counts on every recording of the repository: no other pair is near, no copy is far."""
    originals = {path.stem: trusted.read(path, "flac") for path in SPEECH}
    bits = {name: sketch(wav_T) for name, wav_T in originals.items()}
    others = [(bits[a] ^ bits[b]).bit_count() for a, b in itertools.combinations(bits, 2)]
    assert min(others) > NEAR_BITS + 8, f"{min(others)} of {NUM_BITS} bits differ between two recordings"
    copies = {
        (name, edit): (bits[name] ^ sketch(edits.apply(originals[name], edit))).bit_count()
        for name in ("kathleen_1", "kerstin_1", "amelia")
        for edit in VARIANTS
    }
    assert max(copies.values()) <= NEAR_BITS, copies


def test_the_search_for_a_smallest_change_is_stopped() -> None:
    """What a black-box attack does: the same clip, a little noise, again."""
    budget, original_T, rng = NearDuplicates(), wav("kathleen_1"), np.random.default_rng(1)
    spent = 0
    with pytest.raises(TooManyRequests, match="nearly this audio") as refused:
        for _ in range(50):
            budget.spend("a", original_T + 1e-3 * rng.standard_normal(len(original_T)).astype(np.float32), 20)
            spent += 1
    assert spent == 20
    assert 3000 < refused.value.retry_after_s <= 3600
    budget.spend("b", original_T, 20)
    budget.spend("a", wav("amelia"), 20)


def test_asking_again_about_the_same_file_costs_nothing() -> None:
    budget, original_T = NearDuplicates(), wav("amelia")
    for _ in range(50):
        budget.spend("a", original_T, 3)


def test_the_budget_comes_back_after_an_hour_and_its_memory_is_bounded() -> None:
    now_s = 0.0
    budget, rng = NearDuplicates(lambda: now_s), np.random.default_rng(2)
    original_T = wav("amelia")
    budget.spend("a", original_T, 1)
    with pytest.raises(TooManyRequests):
        budget.spend("a", original_T * np.float32(0.5), 1)
    now_s = 3601.0
    budget.spend("a", original_T * np.float32(0.5), 1)
    for _ in range(MAX_QUERIES + 10):
        budget.spend("a", rng.standard_normal(40_000).astype(np.float32), 10_000)
    assert len(budget._queries["a"]) == MAX_QUERIES


def test_audio_too_short_for_a_sketch_is_not_counted() -> None:
    short_T = np.ones(100, np.float32)
    assert sketch(short_T) == 0
    budget = NearDuplicates()
    for level in range(5):
        budget.spend("a", short_T * level, 1)


def test_names_that_do_not_come_back_are_forgotten_after_their_hour() -> None:
    """What is held is promised for an hour, and an attacker with many addresses must not fill the memory."""
    now_s = 0.0
    budget, rng = NearDuplicates(lambda: now_s), np.random.default_rng(4)
    for number in range(50):
        now_s += 10.0
        budget.spend(f"{number}", rng.standard_normal(40_000).astype(np.float32), 20)
    assert len(budget) == 50
    now_s = 250.0 + 3600.0
    budget.spend("short", np.ones(100, np.float32), 20)
    assert len(budget) == 25, "those who asked within the hour, in whatever order the rest goes"
    now_s = 8000.0
    budget.spend("last", wav("amelia"), 20)
    assert len(budget) == 1


def test_names_that_are_not_counted_are_not_kept() -> None:
    """Audio too short for a sketch is judged, so each new address would leave an empty book behind."""
    budget = NearDuplicates()
    for number in range(100):
        budget.spend(f"{number}", np.ones(100, np.float32), 20)
    assert len(budget) == 0


def test_random_sketches_are_never_near() -> None:
    rng = np.random.default_rng(3)
    pairs = rng.integers(0, 256, (2000, 2, NUM_BITS // 8), dtype=np.uint8)
    numbers = [[int.from_bytes(one.tobytes(), "big") for one in pair] for pair in pairs]
    assert not any(is_near(a, b) for a, b in numbers)
