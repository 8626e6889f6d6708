"""A tiny public mark trained for a few steps on real speech: what a loss on a screen would not show."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from audio import corpus, edits
from tests.watermark.audioseal.conftest import TINY, TINY_PUBLISHED
from tests.watermark.audioseal.test_published import WRAPPINGS, publish
from watermark import Detector, Key, Outcome, WeightsError
from watermark.audioseal.null import Null
from watermark.audioseal.published import DETECTOR_FILE, GENERATOR_FILE
from watermark.audioseal.weights import PublicWeights
from watermark.train.public import calibrate as calibration
from watermark.train.public.attacks import ATTACKS, Difficulty
from watermark.train.public.config import SealRun
from watermark.train.public.convert import convert
from watermark.train.public.loop import SealTraining, run_public
from watermark.train.public.report import si_snr_db, wilson

ASSETS = Path(__file__).parents[2] / "assets"
CLIPS = ("amelia", "kathleen_1", "kerstin_1", "kathleen_2", "kerstin_2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of five clips: one speaker that trains, two that validate, two for the report."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "speech").mkdir()
    numbers = [str(number) for number in range(200)]
    made = [corpus.Clip(Path(n), corpus.Kind.SPEECH, "made", n, None, None) for n in numbers]
    parts = corpus.split(made)
    chosen = [parts.train[0], *parts.validation[:2], *parts.test[:2]]
    with (root / "speech.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "source", "speaker", "seconds", "original_sample_rate_hz", "licence"])
        for clip, name in zip(chosen, CLIPS, strict=True):
            shutil.copy(ASSETS / f"{name}.flac", root / "speech")
            rows.writerow([f"{name}.flac", "made", clip.speaker, "11", "24000", "CC0"])
    return root


@pytest.fixture
def run(data: Path, tmp_path: Path) -> SealRun:
    return SealRun(data, tmp_path, TINY, steps=6, clips=2, clip_samples=6_400, checkpoint_steps=3)


def _weights(training: SealTraining) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value.clone()
        for name, module in training.modules.items()
        for key, value in module.state_dict().items()
    }


def test_a_stopped_run_ends_where_an_uninterrupted_one_does(run: SealRun, tmp_path: Path) -> None:
    """Attacks, difficulty and the sinking mark included: a forgotten counter would change the next draw."""
    run = replace(run, loudest_snr_db=16.0, quieter_db=0.5)
    whole, stopped = SealTraining(replace(run, out=tmp_path / "whole")), SealTraining(run)
    for training, num in ((whole, 6), (stopped, 3)):
        training.clean_error, training.difficulty.errors = 0.0, dict.fromkeys(ATTACKS, 0.9)
        for _ in range(num):
            training.update()
    stopped.save()
    resumed = SealTraining(run)
    assert resumed.step == 3
    for _ in range(3):
        resumed.update()
    assert resumed.snr_db == whole.snr_db > 16.0
    assert resumed.difficulty.errors == whole.difficulty.errors
    assert set(whole.difficulty.errors.values()) != {0.9}
    for key, value in _weights(whole).items():
        assert torch.equal(_weights(resumed)[key], value), key


def test_every_weight_of_both_networks_gets_a_gradient(run: SealRun) -> None:
    """A generator that gets none through the loudness or the frames' short way never learns."""
    training = SealTraining(run)
    training.update()
    for name, module in training.modules.items():
        for key, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, f"{name}.{key}"


def test_the_mark_sinks_only_while_it_is_found(run: SealRun) -> None:
    training = SealTraining(run)
    training._learn(1.0)
    assert training.snr_db == run.loudest_snr_db
    for _ in range(200):
        training._learn(0.0)
    assert run.loudest_snr_db < training.snr_db <= run.snr_db
    for _ in range(1000):
        training._learn(0.0)
    assert training.snr_db == run.snr_db


@pytest.mark.slow
def test_a_tiny_mark_is_learned(run: SealRun) -> None:
    """150 steps at 3 dB above the speech: the detector must tell marked clips from unmarked ones."""
    training = SealTraining(replace(run, steps=150, loudest_snr_db=-3.0, clips=4, learning_rate=5e-3))
    wrong = [training.update()["wrong"] for _ in range(150)]
    assert np.mean(wrong[:20]) > 0.3
    assert np.mean(wrong[-30:]) < 0.15


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_keeps_the_shape_and_lets_the_gradient_through(name: str) -> None:
    speech = torch.from_numpy(corpus.read(ASSETS / "kathleen_1.flac")[24_000:40_000])
    wav = torch.stack([speech, -0.5 * speech]).requires_grad_(True)
    heard = ATTACKS[name](wav, np.random.default_rng(3))
    assert heard.shape == wav.shape
    assert torch.isfinite(heard).all() and not torch.equal(heard, wav)
    torch.autograd.backward(heard.square().sum())
    assert wav.grad is not None and torch.isfinite(wav.grad).all() and wav.grad.abs().max() > 0
    again = ATTACKS[name](wav.detach(), np.random.default_rng(3))
    assert torch.equal(again, heard.detach())


def test_a_codec_in_training_gives_the_samples_of_the_codec() -> None:
    """Straight through is about the gradient: what is heard is what a listener would get."""
    wav_T = corpus.read(ASSETS / "kathleen_1.flac")[24_000:40_000]
    heard = ATTACKS["mp3_48k"](torch.from_numpy(wav_T)[None], np.random.default_rng(0))
    expected = edits.apply(wav_T, edits.Edit("mp3", "mp3", {"bit_rate": 48_000}))[: len(wav_T)]
    assert np.allclose(heard[0].numpy()[: len(expected)], expected, atol=1e-6)


def test_what_the_detector_fails_under_is_drawn_more_often() -> None:
    difficulty, rng = Difficulty(), np.random.default_rng(0)
    for _ in range(200):
        for name in ATTACKS:
            difficulty.learn(name, 0.5 if name == "mp3_48k" else 0.0)
    drawn = [difficulty.draw(rng) for _ in range(500)]
    assert 0.4 < drawn.count("mp3_48k") / 500 < 0.7
    assert set(drawn) == set(ATTACKS)


@pytest.fixture
def few_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five clips give nine pieces; a null is fitted to them all the same, which `fit` refuses elsewhere."""

    def fit(scores_N: np.ndarray) -> Null:
        levels = tuple(float(score) for score in np.quantile(scores_N, 1.0 - np.arange(1, 20) / 20))
        return Null(len(scores_N), levels, max(float(np.std(scores_N)), 1e-3))

    monkeypatch.setattr(calibration, "fit", fit)


def test_a_run_ends_with_a_file_that_works_and_its_figures(run: SealRun, few_negatives: None) -> None:
    said: list[str] = []
    figures = run_public(run, said.append)
    weights = PublicWeights.load(run.out / "public_mark.safetensors")
    assert weights.origin == "trained by us, 6 steps"
    assert 0 <= figures["tpr_identity"] <= 1 and figures["tpr_mp3_64k_of"] == 2
    assert figures["si_snr_db"] == pytest.approx(TINY.snr_db, abs=1.5)
    line = json.loads((run.out / "held_out.jsonl").read_text())
    assert line["step"] == 6 and line["si_snr_db"] == figures["si_snr_db"]
    found = Detector.load(key=Key(bytes(16)), public_weights=run.out / "public_mark.safetensors")
    assert found.public is not None
    heard = found.public.detect(corpus.read(ASSETS / "kathleen_1.flac"), 24_000)
    assert heard.outcome in (Outcome.FOUND, Outcome.NOT_FOUND)


def test_a_corpus_too_small_to_calibrate_on_is_refused_in_words(run: SealRun) -> None:
    with pytest.raises(WeightsError, match="pieces of 5 s are too few to calibrate on: 100 are needed"):
        run_public(replace(run, steps=1), lambda _: None)
    assert not (run.out / "public_mark.safetensors").exists()


def test_published_files_become_one_calibrated_file(data: Path, tmp_path: Path, few_negatives: None) -> None:
    networks = publish(tmp_path, TINY_PUBLISHED, WRAPPINGS["best_state"])
    out = tmp_path / "public_mark.safetensors"
    files = tmp_path / GENERATOR_FILE, tmp_path / DETECTOR_FILE
    null = convert(*files, data, out, lambda _: None, TINY_PUBLISHED, "a test")
    weights = PublicWeights.load(out)
    assert weights.null == null and null.num_negatives == 4
    assert weights.origin == "a test"
    for key, value in networks["detector"].state_dict().items():
        assert torch.allclose(weights.detector.state_dict()[key], value, atol=1e-6)


def test_si_snr_does_not_count_a_gain_as_noise() -> None:
    rng = np.random.default_rng(0)
    speech_T, noise_T = rng.standard_normal((2, 100_000)).astype(np.float32)
    assert si_snr_db(0.5 * (speech_T + 0.1 * noise_T), speech_T) == pytest.approx(20.0, abs=0.2)


def test_the_interval_is_the_published_one() -> None:
    """Wilson, 1927: 98 of 100 lies within 0.930 and 0.994."""
    assert wilson(98, 100) == (pytest.approx(0.9300, abs=1e-3), pytest.approx(0.9945, abs=1e-3))


def test_a_run_refuses_a_mark_without_a_distance(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set snr_db"):
        SealRun(data, tmp_path, TINY_PUBLISHED)
