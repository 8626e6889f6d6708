"""The codec that is shipped, on a voice it was made for and on one that it never heard."""

from pathlib import Path

import numpy as np
import pytest
import torch

from audio import trusted
from generation.checkpoints import read_mimi
from generation.mimi import Mimi
from generation.train.codec.config import MINI, SHIPPED
from generation.train.codec.losses import mel_distance

ASSETS = Path(__file__).parents[2] / "assets"


@pytest.fixture(scope="module")
def codec() -> Mimi:
    return read_mimi(SHIPPED, MINI, MINI.num_codebooks)


@pytest.mark.parametrize(("name", "most"), [("kathleen_2", 1.1), ("kerstin_2", 1.6)])
@torch.no_grad()
def test_speech_comes_out_as_that_speech(codec: Mimi, name: str, most: float) -> None:
    """In nepers of power over mel bands; another second of the same voice is far off."""
    wav_BT = torch.from_numpy(trusted.read(ASSETS / f"{name}.flac", "flac"))[None]
    codes_BKF, made_BT = codec.run(wav_BT)
    assert codes_BKF.shape[1:] == (8, -(-wav_BT.shape[1] // 1920))
    found = float(mel_distance(made_BT, wav_BT))
    assert found < most
    assert float(mel_distance(made_BT.roll(24_000, dims=1), wav_BT)) > 1.3 * found
    assert float(made_BT.abs().max()) < 1.5


@torch.no_grad()
def test_fewer_codes_are_speech_too_and_more_are_nearer(codec: Mimi) -> None:
    wav_BT = torch.from_numpy(trusted.read(ASSETS / "kathleen_2.flac", "flac"))[None, : 1920 * 60]
    state = codec.open(1, ring=200)
    codes_BKF = codec.encode(state, wav_BT)
    found = [
        float(mel_distance(codec.decode(codec.open(1, ring=200), codes_BKF[:, :num]), wav_BT))
        for num in (2, 4, 8)
    ]
    assert found == sorted(found, reverse=True)
    assert np.isfinite(found).all()
