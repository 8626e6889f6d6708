"""Training end to end on a few seconds of real speech, and pieces whose errors a loss would not show."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from audio import corpus, trusted
from registry.fingerprint import features
from registry.fingerprint.train import TrainConfig, cache, loop
from registry.fingerprint.train.augment import CONTEXT_SAMPLES, Augmenter, Chances
from registry.fingerprint.train.loop import nt_xent
from registry.fingerprint.train.publish import write_weights
from registry.fingerprint.train.sampler import Sampler
from registry.fingerprint.windows import Fingerprinter

ASSETS = Path(__file__).parents[2] / "assets"
CLIPS = ("amelia", "krisgesling", "eltocino", "adocampo", "kathleen_1")
UNTOUCHED = Chances(p_room=0, p_equaliser=0, p_noise=0, p_clip=0, p_telephone=0, p_band_limit=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus folder of five clips: three speakers that train, two that validate."""
    root = tmp_path_factory.mktemp("corpus")
    for name in ("speech", "noise", "rir"):
        (root / name).mkdir()
    train: list[str] = []
    validation: list[str] = []
    for number in range(200):
        clip = corpus.Clip(Path(), corpus.Kind.SPEECH, "made", str(number), None, None)
        parts = corpus.split([clip])
        train += [str(number)] * len(parts.train)
        validation += [str(number)] * len(parts.validation)
    chosen = [*train[:3], *validation[:2]]
    with (root / "speech.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "source", "speaker", "seconds", "original_sample_rate_hz", "licence"])
        for speaker, name in zip(chosen, CLIPS, strict=True):
            shutil.copy(ASSETS / f"{name}.flac", root / "speech" / f"{name}.flac")
            rows.writerow([f"{name}.flac", "made", speaker, "5.5", "16000", "CC0"])
    return root


@pytest.fixture(scope="module")
def config(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("run")
    return TrainConfig(
        data, folder / "out", folder / "cache", minutes=0.02, pairs=8, num_copies=1, checkpoint_steps=5
    )


def test_the_loss_is_the_one_computed_by_hand() -> None:
    """Two pairs on the axes, temperature 1: each row sees its partner (cos 1) and two strangers (cos 0)."""
    axes = torch.eye(2)
    assert float(nt_xent(axes, axes, 1.0)) == pytest.approx(-np.log(np.e / (np.e + 2)), abs=1e-6)


def test_the_cache_holds_what_the_files_hold(config: TrainConfig) -> None:
    """Positions in the flat file, to one step of 16 bits; and lossy copies are in time with their clips."""
    cache.build(config.data, config.cache, 1, seed=1)
    clips, copies = cache.Store(config.cache, "clips"), cache.finished_copies(config.cache)
    for clip in clips.recordings:
        wav_T = trusted.read(config.data / "speech" / clip.file, "flac")
        stored_T = clips.read(clip.start, clip.length)
        assert stored_T.shape == wav_T.shape
        assert np.abs(stored_T - wav_T).max() < 1e-4
    for copy in copies[0].recordings:
        original = next(clip for clip in clips.recordings if clip.file == copy.file)
        lossy_T, clean_T = (
            copies[0].read(copy.start, copy.length),
            clips.read(original.start, original.length),
        )
        spectrum = np.fft.rfft(lossy_T, 1 << 19) * np.conj(np.fft.rfft(clean_T, 1 << 19))
        lag = int(np.argmax(np.fft.irfft(spectrum)))
        assert min(lag, (1 << 19) - lag) <= 240  # 10 ms


def test_an_untouched_copy_has_nearly_the_picture_of_its_anchor(config: TrainConfig) -> None:
    """Anchor and copy must be the same second: a slip of the context would make wrong pairs."""
    cache.build(config.data, config.cache, 1, seed=1)
    clips = cache.Store(config.cache, "clips")
    sampler = Sampler(clips, [], {clip.file for clip in clips.recordings})
    pairs = sampler.draw(16, np.random.default_rng(3))
    spans_BT = pairs.span_BT.copy()
    augmenter = Augmenter([], [], UNTOUCHED, "cpu")
    anchors = augmenter.anchors(pairs.anchor_BT)
    copies = augmenter.copies(spans_BT, np.random.default_rng(4))
    own = (anchors - copies).abs().mean(dim=(1, 2, 3))
    other = (anchors - copies.roll(1, dims=0)).abs().mean(dim=(1, 2, 3))
    assert anchors.shape == (16, 2, features.NUM_BANDS, features.NUM_FRAMES)
    assert float(own.mean()) < 0.75 * float(other.mean())


def test_the_window_follows_its_context_exactly() -> None:
    """A click at the first sample of the window must be there after the spectral product."""
    span_BT = np.zeros((1, CONTEXT_SAMPLES + features.WINDOW_SAMPLES), np.float32)
    span_BT[0, CONTEXT_SAMPLES + 512] = 1.0
    anchor_BT = span_BT[:, CONTEXT_SAMPLES:]
    augmenter = Augmenter([], [], UNTOUCHED, "cpu")
    copy = augmenter.copies(span_BT, np.random.default_rng(0))
    assert torch.allclose(copy, augmenter.anchors(anchor_BT), atol=0.05)


def test_training_runs_stops_and_goes_on_from_its_checkpoint(config: TrainConfig) -> None:
    """A run that was stopped must neither start over nor lose its clock."""
    lines: list[str] = []
    network, figures = loop.run(config, lines.append)
    first_step = max(int(line.split()[1]) for line in lines)
    assert set(figures) == {"top1", "cos_true", "cos_rival", "cos_stranger_mean", "d_eff"}
    again: list[str] = []
    resumed, _ = loop.run(replace(config, minutes=2 * config.minutes), again.append)
    assert min(int(line.split()[1]) for line in again) > first_step
    before, after = network.state_dict()["head.weight"], resumed.state_dict()["head.weight"]
    assert 0.0 < float((before - after).abs().max()) < 0.1


def test_what_training_writes_is_what_the_service_loads(config: TrainConfig) -> None:
    """The card pins the file beside it and holds no path of the machine that trained."""
    network, figures = loop.run(config, lambda _line: None)
    folder = config.out / "weights"
    write_weights(folder, network, config, figures)
    fingerprinter = Fingerprinter.load(folder)
    card = json.loads((folder / "fingerprint.json").read_text())
    assert card["sha256"] == fingerprinter.weights_sha256
    assert str(config.data) not in (folder / "fingerprint.json").read_text()
    assert fingerprinter.run(trusted.read(ASSETS / "amelia.flac", "flac")).codes_ND.any(axis=1).all()
