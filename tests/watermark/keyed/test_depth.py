"""How deep the mark goes: deepest below a masker, not at all in pauses, never by what comes later."""

import numpy as np
import numpy.typing as npt
import pytest

from watermark import Embedder
from watermark.keyed.depth import Depth

Floats = npt.NDArray[np.float32]


def level(db: float) -> np.float32:
    return np.float32(10 ** (db / 10))


def plane(num_frames: int, db: float = -20.0) -> Floats:
    return np.full((num_frames, 50), level(db), np.float32)


def test_a_tile_below_a_masker_goes_deeper_and_the_masker_fades() -> None:
    """Band 10 falls by 20 dB after 100 ms: four times as deep, 100 ** 0.3, fading with 200 ms."""
    power = plane(80)
    power[:20, 10], power[:, 0] = level(0), level(0)
    power[20:, 10] = level(-20)
    depth = Depth().of(power)[:, 10]
    assert depth[19] == pytest.approx(0.0315, rel=0.01)  # at the frame's peak: the budget of energy
    assert depth[20] == pytest.approx(0.0485 * (100 * np.exp(-0.005 / 0.2)) ** 0.3, rel=0.02)
    assert (np.diff(depth[20:]) <= 1e-7).all()
    assert depth[60] < 0.8 * depth[20]


def test_a_band_is_masked_by_its_third_of_an_octave_and_by_no_other() -> None:
    """Around band 25 (3.9 kHz) it is 900 Hz wide: band 26 masks it, band 32 does not."""
    quiet, beside, apart = plane(40, -30), plane(40, -30), plane(40, -30)
    for power in (quiet, beside, apart):
        power[:, 0] = level(0)
    beside[:, 26], apart[:, 32] = level(-5), level(-5)
    depths = [float(Depth().of(power)[-1, 25]) for power in (quiet, beside, apart)]
    assert depths[1] > 2 * depths[0]
    assert depths[2] == pytest.approx(depths[0], rel=1e-4)


@pytest.mark.parametrize(("below_db", "share"), [(40, 1.0), (45, 1.0), (65, 0.1), (85, 0.01)])
def test_pauses_fade_to_nothing(below_db: float, share: float) -> None:
    loud, power = plane(100), plane(100)
    power[50:] = plane(50, -20 - below_db)
    ratio = Depth().of(power)[50] / (Depth().of(loud)[50])
    masked = np.minimum(np.exp(0.3 * (below_db / 10 * np.log(10) - 0.005 / 0.2)), 100.0)
    assert (ratio <= share * masked * 1.05).all()
    assert ratio[40] == pytest.approx(share, rel=0.05)  # above 4.3 kHz the budget of energy decides here


def test_frames_come_in_any_portions() -> None:
    power = np.exp(np.random.default_rng(0).normal(0, 3, (200, 50))).astype(np.float32)
    whole, parts = Depth(), Depth()
    assert (
        np.abs(
            whole.of(power) - np.concatenate([parts.of(part) for part in np.split(power, [1, 7, 90, 91])])
        ).max()
        < 1e-6
    )


def test_the_mark_is_nowhere_in_a_pause(embedder: Embedder, voices: dict[str, Floats]) -> None:
    """Half a second of faint hiss, 60 dB below the speech: its mark lies another 30 dB below the hiss."""
    wav_T = voices["kathleen_1"][:72_000].copy()
    loud = float(np.sqrt(np.mean(np.square(wav_T))))
    hiss = np.random.default_rng(1).normal(0, loud * 1e-3, 12_000).astype(np.float32)
    wav_T[40_000:52_000] = hiss
    mark_T = embedder.mark(wav_T, 24_000, payload=7) - wav_T
    inside = mark_T[40_960:51_040]
    assert np.square(inside).sum() < 1e-3 * np.square(wav_T[40_960:51_040]).sum()
