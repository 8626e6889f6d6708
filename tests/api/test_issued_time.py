"""What the mark gives away about speed and pitch is undone before anything is compared."""

import numpy as np
import pytest

from api.issued_time import as_issued, described
from audio import edits
from watermark import Warp

TONE_T = (0.3 * np.sin(2 * np.pi * 440 * np.arange(72_000) / 24_000)).astype(np.float32)


def loudest_hz(wav_T: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(wav_T * np.hanning(len(wav_T)))).argmax() * 24_000 / len(wav_T))


@pytest.mark.parametrize(
    ("edit", "warp"),
    [
        ("speed_1.25", Warp(1.25, 1.25)),
        ("speed_0.8", Warp(0.8, 0.8016)),  # the pitch is known to 0.2 %
        ("editor_tempo_0.8", Warp(0.8, 1.0)),
        ("editor_pitch_+2", Warp(1.0, 2 ** (2 / 12))),
    ],
)
def test_undoing_a_change_gives_back_length_and_pitch(edit: str, warp: Warp) -> None:
    undone_T = as_issued(edits.apply(TONE_T, edit), warp)
    assert len(undone_T) == pytest.approx(len(TONE_T), rel=0.01)
    assert loudest_hz(undone_T) == pytest.approx(440, rel=0.005)


def test_what_was_not_changed_is_not_touched_and_nothing_is_said() -> None:
    assert as_issued(TONE_T, Warp()) is TONE_T
    assert described(Warp()) is None
