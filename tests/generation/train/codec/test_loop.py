"""A tiny codec trained for a few steps on real speech: what a loss printed on a screen would not show."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from audio import corpus
from audio.store import Recording, Wav
from generation.checkpoints import published_state
from generation.errors import TrainingDataError
from generation.mimi import Mimi, MimiConfig
from generation.train.codec.config import MINI, CodecRun
from generation.train.codec.loop import CodecTraining
from generation.train.codec.losses import mel_distance, spectral_distance
from generation.train.codec.pitch import PitchLabels, num_values
from generation.train.codec.quantize import draw_num_used, place_codebooks, quantize
from generation.train.codec.scale import scale_convolutions

ASSETS = Path(__file__).parents[3] / "assets"
assert MINI.transformer is not None
VOCODED = replace(
    MINI,
    num_filters=8,
    num_residual_layers=1,
    latent_dim=48,
    codebook_size=16,
    codebook_dim=8,
    num_codebooks=3,
    transformer=replace(MINI.transformer, dim=48, num_layers=1, num_heads=2, feed_forward=32),
)
MAKES_SOUND = ("decoder.", "decoder_transformer.", "upsample.")
TINY = replace(
    VOCODED,
    vocoder=False,
    ratios=(8, 6, 5, 4),
    num_filters=2,
    latent_dim=16,
    transformer=replace(MINI.transformer, dim=16, num_layers=1, num_heads=2, feed_forward=32),
)


@pytest.fixture(scope="module", params=[TINY, VOCODED], ids=["seanet", "vocoder"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CodecRun:
    """A corpus of two recordings of the voice, each with its sentence; of one the phones are known."""
    root = tmp_path_factory.mktemp("codec")
    data, cache = root / "data", root / "out" / "cache"
    (data / "voice" / "kathleen").mkdir(parents=True)
    cache.mkdir(parents=True)
    (data / "speech.csv").write_text("file,source,speaker,seconds,original_sample_rate_hz,licence\n")
    with (data / "voice" / "kathleen.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "text"])
        for number in (1, 2):
            shutil.copy(ASSETS / f"kathleen_{number}.flac", data / "voice" / "kathleen")
            rows.writerow([f"kathleen_{number}.flac", f"sentence number {number}"])
    labels = {"kathleen_1.flac": [["AA", 0.0, 1.0], ["T", 1.0, 0.5]]}
    (cache / "phones.json").write_text(json.dumps(labels))
    write_pitch_of(cache, [corpus.read(data / "voice" / "kathleen" / f"kathleen_{n}.flac") for n in (1, 2)])
    return CodecRun(
        data,
        root / "out",
        codec=request.param,
        steps=8,
        plain_steps=3,
        clips=2,
        clip_frames=6,
        fit_batches=30,
    )


def write_pitch_of(cache: Path, wavs: list[Wav]) -> None:
    """200 Hz throughout: pyworld is not part of the tests' environment."""
    lengths = [num_values(len(wav_T)) for wav_T in wavs]
    np.save(cache / "pitch.npy", np.full(sum(lengths), 200.0, np.float32))


@pytest.fixture
def training(run: CodecRun) -> CodecTraining:
    """A run at its beginning, which trains on the recordings that a larger corpus would hold out."""
    (run.out / "checkpoint.safetensors").unlink(missing_ok=True)
    return _on_what_there_is(run)


def _on_what_there_is(run: CodecRun, **changes: object) -> CodecTraining:
    from generation.train.codec import clips

    class Fewer(clips.Clips):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.voices = [self.held_out]

    from generation.train.codec import loop

    original, loop.Clips = loop.Clips, Fewer  # type: ignore[misc]
    try:
        return CodecTraining(replace(run, **changes))  # type: ignore[arg-type]
    finally:
        loop.Clips = original  # type: ignore[misc]


def test_a_stopped_run_takes_the_step_it_would_have_taken(training: CodecTraining, run: CodecRun) -> None:
    """A checkpoint that forgot a moment of the optimiser or a codebook would change the next step."""
    for _ in range(5):
        training.update()
    training.save()
    expected = training.update()
    again = _on_what_there_is(run)
    assert again.step == 5
    found = again.update()
    assert found["mel"] == pytest.approx(expected["mel"], rel=1e-4)


def test_frozen_codes_stay_the_same(training: CodecTraining, run: CodecRun) -> None:
    """A speech model is trained on them meanwhile. Equal codes alone would hide a slow drift."""
    for _ in range(4):
        training.update()
    training.save()
    frozen = _on_what_there_is(run, frozen_from=4)
    wav_BT = frozen._batch(77, 0).wav_BT
    before = _codes(frozen, wav_BT)
    weights = {name: tensor.clone() for name, tensor in frozen.codec.state_dict().items()}
    for _ in range(2):
        frozen.update()
    assert torch.equal(before, _codes(frozen, wav_BT))
    moved = {
        name for name, tensor in frozen.codec.state_dict().items() if not torch.equal(tensor, weights[name])
    }
    assert "decoder.model.0.weight" in moved
    kept = [name for name in moved if not name.startswith(MAKES_SOUND) and "output_proj" not in name]
    assert kept == []


@torch.no_grad()
def _codes(training: CodecTraining, wav_BT: torch.Tensor) -> torch.Tensor:
    return training.codec.encode(training.codec.open(len(wav_BT)), wav_BT)


def test_a_discriminator_joins_a_run_that_began_without_one(training: CodecTraining, run: CodecRun) -> None:
    training.update()
    training.save()
    joined = _on_what_there_is(run, adversarial_from=1, disc_filters=2)
    seen = joined.update()
    assert {"discriminator", "generator", "features"} <= seen.keys()


def test_what_is_published_is_what_was_trained(training: CodecTraining) -> None:
    """In half precision and under the published names."""
    written = load_file(training.publish())
    for name, tensor in published_state(training.codec).items():
        assert torch.equal(written[name], tensor.half()), name


def test_a_run_begins_with_the_weights_of_another(training: CodecTraining, run: CodecRun) -> None:
    """Its codebooks stay where they are: they are not placed a second time."""
    for _ in range(5):
        training.update()
    path = training.publish()
    wav_BT = training._batch(9, 0).wav_BT
    expected = _codes(training, wav_BT)
    (run.out / "checkpoint.safetensors").unlink(missing_ok=True)
    begun = _on_what_there_is(run, start=path, plain_steps=0)
    assert begun.step == 0
    assert float((_codes(begun, wav_BT) == expected).float().mean()) > 0.9  # the file holds half precision
    before = begun.codec.quantizer.rvq_first.codebooks(1)[0].embedding_sum.clone()
    begun.update()
    moved = (begun.codec.quantizer.rvq_first.codebooks(1)[0].embedding_sum - before).norm() / before.norm()
    assert (float(moved) == 0.0) == run.codec.vocoder  # by gradient and average, or not at all
    assert float(moved) < 0.5


def test_a_new_codec_hands_on_what_it_is_given() -> None:
    """With PyTorch's own bounds the latents of speech are so small that nothing is learned from them."""
    torch.manual_seed(1)
    codec = Mimi(MimiConfig(num_filters=4, latent_dim=32, transformer=None, codebook_dim=8))
    wav_BT = torch.randn(2, 1920 * 5) * 0.1
    scale_convolutions(codec, wav_BT)
    state = codec.open(2)
    latents_BFE = codec.latents(state, wav_BT)
    assert float(latents_BFE.detach().std()) == pytest.approx(1.0, rel=0.05)
    assert 0.05 < float(codec.sound(state, latents_BFE).detach().std()) < 0.2


def test_codebooks_are_placed_where_latents_are_and_gradients_pass_them() -> None:
    torch.manual_seed(2)
    codec = Mimi(TINY, 3)
    latents_BFE = torch.randn(4, 25, 16)
    place_codebooks(codec.quantizer, latents_BFE.flatten(0, 1))
    latents_BFE.requires_grad_()
    whole_B, one_B = torch.full((4,), 3), torch.ones(4, dtype=torch.long)
    heard_BFE, semantic_BFE, _ = quantize(codec.quantizer, latents_BFE, whole_B, learn=False)
    codes_BKF = codec.quantizer.encode(latents_BFE, 3)
    assert torch.allclose(heard_BFE, codec.quantizer.decode(codes_BKF), atol=1e-5)
    assert len(codes_BKF[:, 0].unique()) > 8
    first_BFE, _, _ = quantize(codec.quantizer, latents_BFE, one_B, learn=False)
    assert torch.allclose(first_BFE, semantic_BFE, atol=1e-6)
    torch.autograd.backward(heard_BFE.sum())
    assert latents_BFE.grad is not None
    assert bool(latents_BFE.grad.abs().sum() > 0)


def test_an_entry_that_nobody_chooses_is_moved_to_where_latents_are() -> None:
    torch.manual_seed(3)
    codec = Mimi(TINY, 3)
    latents_BFE = torch.randn(4, 25, 16)
    place_codebooks(codec.quantizer, latents_BFE.flatten(0, 1))
    book = codec.quantizer.rvq_first.codebooks(1)[0]
    book.embedding_sum[5] = 1000.0
    book.cluster_usage[5] = 1e-4
    book.forget()
    quantize(codec.quantizer, latents_BFE, torch.full((4,), 3), learn=True)
    assert float(book.vectors[0][5].abs().max()) < 10.0


def test_most_clips_keep_all_their_codes() -> None:
    drawn_B = draw_num_used(4_000, 8, torch.Generator().manual_seed(4))
    assert (int(drawn_B.min()), int(drawn_B.max())) == (1, 8)
    assert float((drawn_B == 8).float().mean()) == pytest.approx(0.8 + 0.2 / 8, abs=0.03)


@pytest.mark.parametrize("distance", [mel_distance, spectral_distance])
def test_the_distance_is_nothing_for_the_same_and_grows_with_noise(
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    torch.manual_seed(5)
    wav_BT = torch.randn(1, 24_000) * 0.1
    assert float(distance(wav_BT, wav_BT)) == 0.0
    little, much = (float(distance(wav_BT + g * torch.randn_like(wav_BT), wav_BT)) for g in (0.01, 0.2))
    assert 0.0 < little < much


def test_a_vocoders_pitch_is_taught(training: CodecTraining, run: CodecRun) -> None:
    """A spectrum says nothing of it, so it has a loss of its own; SEANet has no pitch."""
    last = training.codec.decoder.model.at(-1)
    before = last.bias[-1].item()
    seen = [training.update()["pitch"] for _ in range(3)]
    assert (min(seen) > 0.0) == run.codec.vocoder
    assert last.bias[-1].item() != before


def test_pitch_glides_where_nothing_is_voiced(tmp_path: Path) -> None:
    hz = np.array([0, 0, 100, 100, 0, 0, 0, 200, 0, 0, 0], np.float32)
    np.save(tmp_path / "pitch.npy", hz)
    row = Recording("a.flac", "kathleen", "kathleen", 0, 2400)
    labels = PitchLabels(tmp_path / "pitch.npy", [row], lambda _: np.zeros(2400, np.float32))
    log_hz, voiced = labels.targets("a.flac", 0, 12, 240)  # of 10 ms each, two more than there are
    assert voiced.tolist() == [False, True, True, False, False, False, True] + [False] * 5
    assert np.exp(log_hz[1]) == pytest.approx(100)
    assert np.exp(log_hz[4]) == pytest.approx(150, rel=0.06)
    with pytest.raises(TrainingDataError, match="another corpus"):
        PitchLabels(tmp_path / "pitch.npy", [row, replace(row, file="b.flac")], lambda _: hz)
