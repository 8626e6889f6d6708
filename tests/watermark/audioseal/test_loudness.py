"""The mark keeps its distance from the speech, causally, whatever the generator says."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from watermark.audioseal.config import HOP_SAMPLES
from watermark.audioseal.loudness import LoudnessState, follow

Floats = NDArray[np.float32]


@pytest.mark.parametrize("snr_db", [10.0, 27.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_the_distance_is_what_was_asked_for(voices: dict[str, Floats], snr_db: float, scale: float) -> None:
    """Over a whole recording, within 1 dB, for a faint generator and for a loud one."""
    wav_T = voices["kathleen_1"][: 500 * HOP_SAMPLES]
    noise_T = torch.randn(1, len(wav_T), generator=torch.Generator().manual_seed(1)) * scale
    mark_T = follow(LoudnessState.fresh(1), torch.from_numpy(wav_T)[None], noise_T, snr_db)[0].numpy()
    measured = 10 * np.log10(np.sum(wav_T**2) / np.sum(mark_T**2))
    assert measured == pytest.approx(snr_db, abs=1.0)


def test_silence_gets_no_mark() -> None:
    """A second of speech-like noise, then nothing: 400 ms later no mark is left, to the last bit of 16."""
    wav = torch.randn(1, 24_000, generator=torch.Generator().manual_seed(1)) * 0.1
    wav = torch.cat([wav, torch.zeros(1, 24_000)], dim=1)
    mark = follow(LoudnessState.fresh(1), wav, torch.ones_like(wav), 20.0)
    assert mark[:, :24_000].abs().max() > 1e-3
    assert mark[:, 24_000 + 9_600 :].abs().max() < 2**-16


def test_a_hand_made_stream_has_the_gain_computed_by_hand() -> None:
    """Constant speech of power 4 and mark of power 1, 20 dB: the gain climbs to 0.2 in the first frame."""
    speech, mark = torch.full((1, 2 * HOP_SAMPLES), 2.0), torch.ones(1, 2 * HOP_SAMPLES)
    out = follow(LoudnessState.fresh(1), speech, mark, 20.0)[0]
    assert out[0] == pytest.approx(0.2 / HOP_SAMPLES, rel=1e-5)
    assert out[HOP_SAMPLES - 1] == pytest.approx(0.2, rel=1e-5)
    assert out[-1] == pytest.approx(0.2, rel=1e-5)


def test_frames_one_by_one_are_frames_at_once() -> None:
    generator = torch.Generator().manual_seed(1)
    speech, mark = (torch.randn(2, 40 * HOP_SAMPLES, generator=generator) for _ in range(2))
    whole = follow(LoudnessState.fresh(2), speech, mark, 15.0)
    state = LoudnessState.fresh(2)
    pieces = zip(speech.split(3 * HOP_SAMPLES, dim=1), mark.split(3 * HOP_SAMPLES, dim=1), strict=True)
    assert torch.allclose(
        torch.cat([follow(state, *piece, 15.0) for piece in pieces], dim=1), whole, atol=1e-6
    )
