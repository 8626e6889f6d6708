"""The reader: what it computes is what was trained, whatever the length; no gain and no key is in it."""

import hashlib

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file

from audio import corpus, edits
from tests.watermark.conftest import ASSETS
from watermark import Detector, Outcome
from watermark.keyed import features, reader
from watermark.keyed.depth import Depth
from watermark.train.reader import ATTACKS, Example, Mark, Network, balanced, example, marked, train, z

Floats = npt.NDArray[np.float32]


@pytest.mark.parametrize("num_samples", [30 * 120 + 360, 24_000, 24_000 * 11])
def test_the_shipped_reader_is_the_trained_network(voices: dict[str, Floats], num_samples: int) -> None:
    """Blocks, edges and the four phases of the tile grid: all as one convolution over each phase."""
    wav_T = voices["kathleen_1"][:num_samples]
    power, residual, peak_F, _ = features.tiles(wav_T)
    ours = reader.shipped().evidence(power, residual, peak_F)
    network = Network()
    network.load_state_dict(load_file(reader.WEIGHTS))
    seen = reader.inputs(power, residual, peak_F)
    for phase in range(4):
        with torch.no_grad():
            theirs = network(
                torch.from_numpy(seen[phase::4].copy()), torch.from_numpy(residual[phase::4].copy())
            ).numpy()
        assert np.abs(ours[phase::4] - theirs).max() < 1e-3


def test_results_name_the_weights_that_judged(detector: Detector) -> None:
    assert detector.weights_sha256 == hashlib.sha256(reader.WEIGHTS.read_bytes()).hexdigest()


def test_evidence_is_bounded_and_no_tile_outweighs_the_others(voices: dict[str, Floats]) -> None:
    """A sum with random signs is close to normal when no term has much of its energy."""
    for wav_T in voices.values():
        evidence = features.tile_features(wav_T)[::4]
        assert np.abs(evidence).max() <= np.exp(reader.MAX_LOG_WEIGHT)
        assert np.square(evidence).max() < 0.01 * np.square(evidence).sum()


def test_marks_made_before_the_reader_and_the_masking_are_read(detector: Detector) -> None:
    """8 s of kathleen_1 marked by the version of 2026-11-25, as Opus 24 kbit/s; what that version read of it,
    and the telephone band, where it read nothing."""
    wav_T = corpus.read(ASSETS / "marked_by_version_2.opus")
    for edit in ("identity", "telephone_band", "speed_1.1", "pitch_+1"):
        answer = detector.detect(edits.apply(wav_T, edit), 24_000)
        assert answer.outcome is Outcome.FOUND
        assert answer.payload == 0x0123456789AB


def test_training_balances_the_bands_as_detection_does() -> None:
    evidence = np.random.default_rng(3).standard_normal((200, 39), np.float32) + 0.3
    ours = balanced(torch.from_numpy(evidence)).numpy()
    assert np.allclose(ours, features._balanced(evidence), atol=1e-6)
    assert np.abs(ours.sum(axis=0)).max() < 1e-3


def test_training_finds_more_than_the_plain_weights(voices: dict[str, Floats]) -> None:
    attacks = [attack for attack in ATTACKS if attack.name in ("room_0.6", "band")]
    data: list[Example] = [
        example(
            marked(voices[name], Mark.of_speaker(speaker), Depth()), attack, Mark.of_speaker(speaker), speaker
        )
        for speaker, name in enumerate(("amelia", "kerstin_1", "kathleen_1", "krisgesling", "eltocino"))
        for attack in attacks
    ]
    network = train(data[:8], steps=60, batch=4)
    for unseen in data[8:]:
        with torch.no_grad():
            learned = float(z(network(unseen.seen_NK8.float(), unseen.residual_NK), unseen.signs_NK))
        assert unseen.plain_z > 5  # the tiles are cut where the mark is
        assert learned > 1.3 * unseen.plain_z
