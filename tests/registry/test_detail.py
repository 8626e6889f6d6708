"""Whether signs agree under an alignment: on signs and values made by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.detail import FRAME_S, Place, agreement
from registry.fingerprint.subprints import FIRST_FRAME, HOP_FRAMES, NUM_PATCHES, NUM_SIGNS, STEP_FRAMES

Signs = NDArray[np.uint8]
Values = NDArray[np.float32]
NUM_WINDOWS = 12
HEARD = np.ones(NUM_WINDOWS, np.bool_)


def registered(seed: int = 0) -> Signs:
    return np.random.default_rng(seed).integers(0, 256, (NUM_WINDOWS, NUM_SIGNS), dtype=np.uint8)


def heard(
    signs_NB: Signs, begin: float, speed: float = 1.0, num_frames: int = 240, noise: float = 0.0
) -> Values:
    """Values of a query whose beginning lies `begin` frames into the generation, one half frame exact."""
    rng = np.random.default_rng(9)
    values = (0.1 + noise) * rng.standard_normal((2 * num_frames, NUM_SIGNS)).astype(np.float32)
    sign_PK = np.unpackbits(signs_NB, axis=1).reshape(-1, NUM_SIGNS) * 2.0 - 1.0
    for p, signs in enumerate(sign_PK):
        frame = HOP_FRAMES * (p // NUM_PATCHES) + FIRST_FRAME + STEP_FRAMES * (p % NUM_PATCHES)
        row = round(2 * (frame - begin) / speed)
        for near in (row - 1, row, row + 1):
            if 0 <= near < len(values):
                values[near] += (1.0 if near == row else 0.5) * signs
    return values


def test_signs_that_agree_say_so_and_where_to_half_a_frame() -> None:
    """The alignment is 0.1 s off; 51 patches of 64 signs, all agreeing, have the root of 51 times 64."""
    signs_NB = registered()
    values_QK = heard(signs_NB, begin=70.5)
    found = agreement(Place(70.5 * FRAME_S + 0.1, 1.0), (0.0, 3.5), values_QK, signs_NB, HEARD)
    assert found is not None
    assert found.place.begin_s == pytest.approx(70.5 * FRAME_S, abs=FRAME_S / 4)
    assert found.place.second_of(2.0) == pytest.approx(70.5 * FRAME_S + 2.0, abs=FRAME_S)
    assert found.score == pytest.approx(np.sqrt(51 * NUM_SIGNS), rel=0.1)


def test_signs_of_something_else_agree_by_chance_alone() -> None:
    """Values of one recording, signs of another: 165 places were tried and the best is within 5 spreads."""
    found = agreement(Place(1.0, 1.0), (0.0, 3.5), heard(registered(), 70.5), registered(seed=1), HEARD)
    assert found is not None
    assert 0.0 < found.score < 5.0


def test_a_faster_copy_is_placed_at_its_speed() -> None:
    """The alignment knows the speed to a hundredth; over 3.5 s that is two frames."""
    signs_NB = registered()
    values_QK = heard(signs_NB, begin=40.0, speed=1.05)
    found = agreement(Place(40.0 * FRAME_S, 1.06), (0.0, 3.5), values_QK, signs_NB, HEARD)
    assert found is not None
    assert found.place.speed == pytest.approx(1.05, abs=0.003)
    assert found.place.second_of(1.75) == pytest.approx(40.0 * FRAME_S + 1.05 * 1.75, abs=FRAME_S)


def test_only_the_span_is_asked() -> None:
    """The second half of the query is another sound: asked for the first half, nothing of it is lost."""
    signs_NB = registered()
    values_QK = heard(signs_NB, begin=40.0)
    values_QK[240:] = heard(registered(seed=3), begin=0.0)[240:]
    place = Place(40.0 * FRAME_S, 1.0)
    half, whole = (agreement(place, (0.0, end_s), values_QK, signs_NB, HEARD) for end_s in (1.8, 3.6))
    assert half is not None
    assert whole is not None
    assert half.score > whole.score


def test_silent_windows_are_not_asked() -> None:
    signs_NB = registered()
    values_QK = heard(signs_NB, begin=40.0)
    heard_half_N = np.arange(NUM_WINDOWS) < 6
    found = agreement(Place(40.0 * FRAME_S, 1.0), (0.0, 3.5), values_QK, signs_NB, heard_half_N)
    everything = agreement(Place(40.0 * FRAME_S, 1.0), (0.0, 3.5), values_QK, signs_NB, HEARD)
    assert found is not None
    assert everything is not None
    assert found.score < everything.score


@pytest.mark.parametrize("begin_s", [-30.0, 60.0])
def test_beside_the_generation_there_is_nothing_to_tell(begin_s: float) -> None:
    assert agreement(Place(begin_s, 1.0), (0.0, 3.5), heard(registered(), 0.0), registered(), HEARD) is None


def test_too_few_patches_say_nothing() -> None:
    """A generation of an earlier version has no signs at all."""
    none = np.zeros((0, NUM_SIGNS), np.uint8)
    assert agreement(Place(0.0, 1.0), (0.0, 3.5), heard(registered(), 0.0), none, HEARD) is None
