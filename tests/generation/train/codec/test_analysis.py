"""Encoder and codebooks as they are worked out: what they keep of real speech."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from audio import trusted
from generation.mimi import Mimi
from generation.mimi.features import PITCH_HZ, PITCH_SCALE, VOICING_SCALE
from generation.mimi.vocoder import Vocoder
from generation.train.codec.analysis import fit
from generation.train.codec.clips import Batch
from generation.train.codec.config import MINI
from generation.train.codec.losses import mel_distance

ASSETS = Path(__file__).parents[3] / "assets"
CONFIG = replace(MINI, codebook_size=64)
FRAMES = 10


def speech(name: str) -> Tensor:
    wav_T = torch.from_numpy(trusted.read(ASSETS / f"{name}.flac", "flac"))
    return wav_T[: len(wav_T) // (1920 * FRAMES) * 1920 * FRAMES].view(-1, 1920 * FRAMES)


def batches(num_phones: int) -> Iterator[Batch]:
    """Frames that are loud hold phone 0, the others phone 1, where phones are known at all."""
    for name in ("kathleen_1", "kathleen_2", "kerstin_1", "kerstin_2"):
        wav_BT = speech(name)
        loud_BF = wav_BT.view(len(wav_BT), FRAMES, -1).square().mean(-1) > 1e-3
        phones_BFP = torch.stack([loud_BF, ~loud_BF], dim=-1).float()[..., :num_phones]
        hops = FRAMES * 8
        nothing = torch.zeros(len(wav_BT), hops)
        known_B = torch.full((len(wav_BT),), num_phones > 0)
        yield Batch(wav_BT, phones_BFP, known_B, nothing, nothing.bool())


@pytest.fixture(scope="module", params=[2, 0], ids=["phones", "no phones"])
def codec(request: pytest.FixtureRequest) -> Mimi:
    torch.manual_seed(1)
    codec = Mimi(CONFIG)
    fit(codec, batches(request.param))
    return codec.prepare()


@torch.no_grad()
def test_latents_are_uncorrelated_and_hold_nearly_all_of_the_features(codec: Mimi) -> None:
    wav_BT = torch.cat([speech(name) for name in ("kathleen_1", "kerstin_1")])
    steps = codec.encoder.push(codec.encoder.open(len(wav_BT)), wav_BT[:, :, None])
    latents = codec.latents(codec.open(len(wav_BT)), wav_BT)[:, 1:, : CONFIG.codebook_dim].flatten(0, 1)
    own = steps.reshape(len(wav_BT), FRAMES, -1)[:, 1:].flatten(0, 1)
    assert float(latents.square().sum() / own.square().sum()) > 0.95
    covariance = torch.cov(latents.t())
    off = covariance - torch.diag(covariance.diagonal())
    assert float(off.abs().max()) < 0.2 * float(covariance.diagonal().max())


@torch.no_grad()
def test_each_codebook_takes_more_of_what_is_left(codec: Mimi) -> None:
    """Of speech of a voice that was fitted, another sentence."""
    wav_BT = speech("kathleen_2")
    latents = codec.latents(codec.open(len(wav_BT)), wav_BT)
    rest = codec.quantizer.rvq_rest
    x = torch.nn.functional.linear(latents, rest.input_proj.weight[:, :, 0])
    left, spent = [], x
    for book in rest.codebooks(7):
        spent = spent - book.decode(book.encode(spent))
        left.append(float(spent.square().mean() / x.square().mean()))
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.15


@torch.no_grad()
def test_the_decoder_begins_by_saying_what_the_codes_say(codec: Mimi) -> None:
    """Before its first step: the spectrum is that of the speech, and so is the pitch."""
    wav_BT = speech("kathleen_1")
    _, made_BT = codec.run(wav_BT)
    assert float(mel_distance(made_BT, wav_BT)) < 1.5
    other = torch.randperm(len(wav_BT), generator=torch.Generator().manual_seed(1))
    assert float(mel_distance(made_BT, wav_BT)) < 0.7 * float(mel_distance(made_BT[other], wav_BT))
    assert isinstance(codec.decoder, Vocoder)
    state = codec.open(len(wav_BT), ring=200)
    heard_BFE = codec.quantizer.decode(codec.encode(state, wav_BT))
    said = codec.decoder.controls(state.decoder.convolutions, codec.steps(state, heard_BFE))
    features_BNM = codec.encoder.push(codec.encoder.open(len(wav_BT)), wav_BT[:, :, None])
    told_BNM = features_BNM.view(len(wav_BT), FRAMES * 8, -1) - codec.encoder.model.at(0).bias.view(
        4, -1
    ).mean(0)
    voiced = told_BNM[:, 4:, -1] > 0.9 * VOICING_SCALE
    asked = told_BNM[:, 4:, -2] / PITCH_SCALE + math.log(PITCH_HZ)
    off = (said.log_pitch_BN[:, 2:-2] - asked).abs()[voiced]  # a window is heard two hops late
    assert float(off.median()) < 0.08


@torch.no_grad()
def test_the_first_code_tells_phones_where_they_are_known(codec: Mimi) -> None:
    wav_BT = speech("kerstin_2")
    codes = codec.encode(codec.open(len(wav_BT)), wav_BT)[:, 0, 1:].flatten().numpy()
    loud = (wav_BT.view(len(wav_BT), FRAMES, -1).square().mean(-1) > 1e-3)[:, 1:].flatten().numpy()
    told = np.array([loud[codes == code].mean() > 0.5 for code in codes])
    assert (told == loud).mean() > 0.8
