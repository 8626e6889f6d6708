"""Signs and values of real speech: the same for any chunking, alike for a copy, unlike for another voice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from audio import edits, trusted
from registry.fingerprint import features, subprints
from registry.fingerprint.subprints import BYTES, FIRST_FRAME, HOP_FRAMES, NUM_SIGNS, STEP_FRAMES
from registry.fingerprint.windows import HOP_SAMPLES, Fingerprinter
from registry.tables import SIGN_BYTES

ASSETS = Path(__file__).parents[2] / "assets"
Wav = NDArray[np.float32]


@pytest.fixture(scope="module")
def fingerprinter() -> Fingerprinter:
    return Fingerprinter.load()


@pytest.fixture(scope="module")
def speech() -> Wav:
    return trusted.read(ASSETS / "kerstin_1.flac", "flac")[: 6 * 24_000]


def agree(signs_NB: NDArray[np.uint8], values_QK: NDArray[np.float32]) -> float:
    """Correlation of the signs of consecutive windows with the values at their places."""
    sign_PK = np.unpackbits(signs_NB, axis=1).reshape(-1, NUM_SIGNS) * 2.0 - 1.0
    frames = HOP_FRAMES * np.arange(len(signs_NB))[:, None] + FIRST_FRAME + STEP_FRAMES * np.arange(8)
    value_PK = values_QK[2 * frames.ravel()]
    return float((sign_PK * value_PK).sum() / np.abs(value_PK).sum())


def test_what_is_stored_is_as_wide_as_the_table_says() -> None:
    assert BYTES == SIGN_BYTES
    assert HOP_FRAMES * features.FRAME_HOP_SAMPLES == HOP_SAMPLES
    assert 0 <= FIRST_FRAME < FIRST_FRAME + HOP_FRAMES + 4 <= features.NUM_FRAMES


def test_signs_do_not_depend_on_how_audio_is_cut(fingerprinter: Fingerprinter, speech: Wav) -> None:
    whole = fingerprinter.run(speech)
    stream = fingerprinter.open()
    parts = [fingerprinter.push(stream, piece_T) for piece_T in np.array_split(speech, 37)]
    signs_NB = np.concatenate([part.signs_NB for part in parts])
    assert signs_NB.shape == whole.signs_NB.shape == (len(whole.codes_ND), BYTES)
    assert np.unpackbits(signs_NB ^ whole.signs_NB).mean() < 1e-3  # where a value is as good as zero


@pytest.mark.parametrize(("edit", "least"), [("identity", 0.7), ("opus_24k", 0.65), ("telephone_band", 0.5)])
def test_a_copy_agrees(fingerprinter: Fingerprinter, speech: Wav, edit: str, least: float) -> None:
    signs_NB = fingerprinter.run(speech).signs_NB
    assert agree(signs_NB, fingerprinter.values(edits.apply(speech, edit, seed=0))[0]) > least


def test_another_place_of_the_same_voice_does_not(fingerprinter: Fingerprinter, speech: Wav) -> None:
    signs_NB = fingerprinter.run(speech).signs_NB[:6]
    assert agree(signs_NB, fingerprinter.values(speech[36_000:])[0]) < 0.15


def test_level_and_polarity_change_no_value(fingerprinter: Fingerprinter, speech: Wav) -> None:
    plain, quiet = fingerprinter.values(speech), fingerprinter.values(-0.1 * speech)
    assert np.abs(plain - quiet).max() < 0.05 * np.abs(plain).max()


def test_pitches_together_are_what_they_are_alone(fingerprinter: Fingerprinter, speech: Wav) -> None:
    both = fingerprinter.values(speech, (0.9, 1.1))
    assert np.array_equal(both[0], fingerprinter.values(speech, (0.9,))[0])
    assert np.array_equal(both[1], fingerprinter.values(speech, (1.1,))[0])
    assert not np.allclose(both[0], both[1])


@pytest.mark.parametrize("length", [0, 500, 1_024, 3_543])
def test_audio_shorter_than_a_patch_has_values_of_nothing(fingerprinter: Fingerprinter, length: int) -> None:
    values_PQK = fingerprinter.values(np.full(length, 0.1, np.float32), (1.0, 1.1))
    assert (len(values_PQK), values_PQK.shape[2]) == (2, NUM_SIGNS)
    assert not values_PQK.any()


def test_the_mean_around_a_frame_is_that_of_its_window() -> None:
    """In the middle of 64 frames; and at the ends of what there is, without any from outside."""
    mel_MF = torch.rand(features.NUM_BANDS, features.NUM_FRAMES) + 0.5
    moving_MF = subprints.moving(mel_MF)
    picture = features.picture(mel_MF[None])[0, 1]
    assert float((moving_MF[:, 32] - picture[:, 32]).abs().max()) < 1e-3
    assert torch.isfinite(moving_MF).all()
