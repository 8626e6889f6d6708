"""Training end to end on a few seconds of real speech, and pieces whose errors a loss would not show."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from audio import corpus, edits, trusted
from registry.fingerprint import features
from registry.fingerprint.subprints import Directions
from registry.fingerprint.train import TrainConfig, cache, loop
from registry.fingerprint.train.augment import Augmenter, Chances
from registry.fingerprint.train.cache import FrameStore
from registry.fingerprint.train.journeys import random_journey
from registry.fingerprint.train.losses import Remembered, nt_xent, triplet
from registry.fingerprint.train.publish import write_weights
from registry.fingerprint.train.sampler import MARGIN_FRAMES, SPAN_FRAMES, Sampler
from registry.fingerprint.windows import WEIGHTS, Fingerprinter

ASSETS = Path(__file__).parents[2] / "assets"
CLIPS = ("amelia", "krisgesling", "eltocino", "adocampo", "kathleen_1")
UNTOUCHED = Chances(
    p_tempo=0, p_pitch=0, p_speed=0, shift_frames=0, p_equaliser=0, p_noise=0, p_band_limit=0, p_cut=0
)


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
        data, folder / "out", folder / "cache", minutes=0.05, pairs=8, num_copies=1, checkpoint_steps=2
    )


def test_the_loss_is_the_one_computed_by_hand() -> None:
    """Two pairs on the axes, temperature 1: each row sees its partner (cos 1) and two strangers (cos 0)."""
    axes = torch.eye(2)
    assert float(nt_xent(axes, axes, 1.0)) == pytest.approx(-np.log(np.e / (np.e + 2)), abs=1e-6)


def remembered(*emb: tuple[float, float, float]) -> Remembered:
    """Windows that are of another recording than the first copy's alone."""
    wrong_BN = torch.zeros(2, len(emb), dtype=torch.bool)
    wrong_BN[0] = True
    return Remembered(torch.tensor(emb), wrong_BN)


def test_remembered_windows_count_as_wrong_for_copies_and_own_recordings_do_not() -> None:
    """By hand: one copy's denominator grows by e^0.5; the anchors' and that of the recording's own do not."""
    axes = torch.eye(3)[:2]
    expected = -np.log(np.e / (np.e + 2)) * 3 / 4 - np.log(np.e / (np.e + 2 + np.exp(0.5))) / 4
    assert float(nt_xent(axes, axes, 1.0, remembered((0.5, 0.0, 0.0)))) == pytest.approx(expected, abs=1e-6)


def test_a_triplet_takes_the_nearest_wrong_window_beyond_the_partner() -> None:
    """By hand, margin 0.5: the partner at cos 0.8; 0.9 is no semi-hard negative, 0.7 is, 0.1 is easy.

    0.5 - 2 * 0.8 + 2 * 0.7 = 0.3 for the first copy, nothing for what is farther than the margin.
    """
    first, axis = torch.eye(3)[:2], torch.eye(3)
    second = torch.stack([0.8 * axis[0] + 0.6 * axis[2], axis[1]])
    more = remembered((0.9, 0.0, 0.3), (0.8, 0.0, 0.1), (0.2, 0.0, -0.1))
    assert (second[0] @ more.emb_ND.T).tolist() == pytest.approx([0.9, 0.7, 0.1])
    assert float(triplet(first, second, 0.5, more)) == pytest.approx(0.3 / 4, abs=1e-6)


def test_the_cache_holds_the_spectrograms_of_the_files(config: TrainConfig) -> None:
    """Positions in the flat file, to float16; and altered copies are in time with their clips."""
    cache.build(config.data, config.cache, 1, seed=1)
    clips, copies = FrameStore(config.cache, "clips"), cache.finished_copies(config.cache)
    for clip in clips.recordings:
        wav_T = trusted.read(config.data / "speech" / clip.file, "flac")
        stored_FM, missing_F = clips.frames(clip, 0, clips.num_frames(clip))
        assert np.abs(stored_FM - cache.log_frames(wav_T)).max() < 0.01
        assert not missing_F.any()
    for copy in copies[0].recordings:
        original = next(clip for clip in clips.recordings if clip.file == copy.file)
        heard_FM, _ = copies[0].frames(copy, 0, 300)
        clean_FM, _ = clips.frames(original, 0, 300)
        lags = range(-4, 5)
        likeness = [
            np.corrcoef(heard_FM[10:290].mean(1), np.roll(clean_FM, k, 0)[10:290].mean(1))[0, 1] for k in lags
        ]
        assert abs(lags[int(np.argmax(likeness))]) <= 1  # 15 ms


def test_copies_go_through_the_codecs_that_are_given(config: TrainConfig, tmp_path: Path) -> None:
    """One that halves the samples leaves a quarter of the power, in training recordings alone."""
    cache.build(config.data, tmp_path, 1, 1, [lambda wav_T: (0.5 * wav_T).astype(np.float32)])
    clips = FrameStore(tmp_path, "clips")
    coded = {path.stem for path in tmp_path.glob("copy_codec_*.json")}
    assert coded == {"copy_codec_0"}
    halved = FrameStore(tmp_path, "copy_codec_0")
    training = {clip.path.name for clip in corpus.split(corpus.load(config.data)).train}
    human = [one for one in halved.recordings if one.source == "made"]
    assert {one.file for one in human} == training
    for one in human:
        original = next(clip for clip in clips.recordings if clip.file == one.file)
        quieter = clips.frames(original, 0, 100)[0] - halved.frames(one, 0, 100)[0]
        assert np.median(quieter) == pytest.approx(np.log(4.0), abs=0.02)
    assert len(cache.finished_copies(tmp_path)) == 2


def test_frames_outside_a_recording_are_missing_and_not_silent(config: TrainConfig) -> None:
    """A copy's span reaches beyond the ends of short recordings."""
    cache.build(config.data, config.cache, 1, seed=1)
    clips = FrameStore(config.cache, "clips")
    clip = clips.recordings[0]
    log_FM, missing_F = clips.frames(clip, -5, clips.num_frames(clip) + 12)
    assert missing_F.nonzero()[0].tolist() == [*range(5), *range(len(log_FM) - 7, len(log_FM))]


def test_an_untouched_copy_has_the_picture_of_its_anchor(config: TrainConfig) -> None:
    """Anchor and copy must be the same second: a slip of the margin would make wrong pairs."""
    cache.build(config.data, config.cache, 1, seed=1)
    clips = FrameStore(config.cache, "clips")
    sampler = Sampler(clips, [], {clip.file for clip in clips.recordings})
    pairs = sampler.draw(16, np.random.default_rng(3))
    augmenter = Augmenter([], UNTOUCHED, "cpu")
    anchors = augmenter.anchors(pairs.anchor_BFM)
    assert anchors.shape == (16, 2, features.NUM_BANDS, features.NUM_FRAMES)
    whole = ~pairs.missing_BF.any(axis=1)
    copies = augmenter.copies(pairs.span_BFM, np.zeros_like(pairs.missing_BF), np.random.default_rng(4))
    assert float((anchors - copies)[torch.from_numpy(whole)].abs().max()) < 1e-3


def test_a_faster_copy_reads_further_from_the_middle() -> None:
    """A click 20 frames after the middle lies up to 8 % nearer or further in a copy of another tempo."""
    span_BFM = np.full((1, SPAN_FRAMES, features.NUM_BANDS), -20.0, np.float32)
    middle = MARGIN_FRAMES + features.NUM_FRAMES // 2
    span_BFM[0, middle + 20] = 0.0
    chances = replace(UNTOUCHED, p_tempo=1.0, max_tempo_change=0.08)
    rng = np.random.default_rng(0)
    places = []
    for _ in range(40):
        picture = Augmenter([], chances, "cpu").copies(span_BFM, np.zeros((1, SPAN_FRAMES), np.bool_), rng)
        places.append(int(picture[0, 0].sum(dim=0).argmax()) - features.NUM_FRAMES // 2)
    assert set(places) <= {18, 19, 20, 21, 22}
    assert len(set(places)) >= 3


def test_cut_ends_are_missing_from_both_planes() -> None:
    """The network must learn that a query begins somewhere, and not that speech begins there."""
    span_BFM = (
        np.random.default_rng(1).normal(-5, 1, (64, SPAN_FRAMES, features.NUM_BANDS)).astype(np.float32)
    )
    cut = Augmenter([], replace(UNTOUCHED, p_cut=1.0), "cpu").copies(
        span_BFM, np.zeros((64, SPAN_FRAMES), np.bool_), np.random.default_rng(2)
    )
    silent_BF = (cut == 0.0).all(dim=2).all(dim=1)
    assert (silent_BF[:, 0] ^ silent_BF[:, -1]).all()
    assert 1 <= int(silent_BF.sum(dim=1).min()) <= int(silent_BF.sum(dim=1).max()) <= 32


@pytest.mark.parametrize("seed", range(6))
def test_a_journey_is_a_chain_that_any_speech_survives(seed: int) -> None:
    """Every codec it may draw exists in this build."""
    wav_T = trusted.read(ASSETS / "amelia.flac", "flac")[:48_000]
    rng = np.random.default_rng(seed)
    for _ in range(4):
        altered_T = edits.apply(wav_T, random_journey(rng, []), seed=seed)
        assert np.isfinite(altered_T).all()
        assert abs(len(altered_T) - len(wav_T)) <= 1_500


def test_training_runs_stops_and_goes_on_from_its_checkpoint(config: TrainConfig) -> None:
    """A run that was stopped must neither start over nor lose its clock."""
    lines: list[str] = []
    network, figures = loop.run(config, lines.append)
    first_step = max(int(line.split()[1]) for line in lines)
    assert set(figures) == {"top1", "rare", "cos_true", "cos_rival", "cos_stranger_mean", "d_eff"}
    again: list[str] = []
    resumed, _ = loop.run(replace(config, minutes=2 * config.minutes), again.append)
    assert min(int(line.split()[1]) for line in again) > first_step
    before, after = network.state_dict()["head.weight"], resumed.state_dict()["head.weight"]
    assert 0.0 < float((before - after).abs().max()) < 0.1


def test_a_run_may_begin_with_the_weights_of_another(config: TrainConfig, tmp_path: Path) -> None:
    """The network and its running average both."""
    start = WEIGHTS / "fingerprint.safetensors"
    begun = loop.Training(replace(config, out=tmp_path, start=start))
    stored = load_file(start)["network.head.weight"].float()
    assert torch.equal(begun.network.state_dict()["head.weight"], stored)
    assert torch.equal(begun.averaged.state_dict()["head.weight"], stored)


def test_what_training_writes_is_what_the_service_loads(config: TrainConfig) -> None:
    """The card pins the file beside it and holds no path of the machine that trained."""
    network, figures = loop.run(config, lambda _line: None)
    folder = config.out / "weights"
    write_weights(folder, network, Directions(), config, figures)
    fingerprinter = Fingerprinter.load(folder)
    card = json.loads((folder / "fingerprint.json").read_text())
    assert card["sha256"] == fingerprinter.weights_sha256
    assert str(config.data) not in (folder / "fingerprint.json").read_text()
    assert fingerprinter.run(trusted.read(ASSETS / "amelia.flac", "flac")).codes_ND.any(axis=1).all()
