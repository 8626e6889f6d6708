"""The codec at a small size: streams, rows, codebooks, and what is refused."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from generation import FrameError
from generation.mimi import Mimi, MimiConfig, MimiState
from generation.streaming import TransformerConfig
from tests.generation.oracle import randomize
from tests.generation.streams import (
    assert_chunking_changes_nothing,
    assert_reset_begins_again,
    assert_rows_do_not_leak,
)

CONFIG = MimiConfig(
    ratios=(4, 3),
    num_filters=4,
    latent_dim=16,
    transformer=TransformerConfig(
        16, 1, 2, 32, context=8, norm="layer_norm", gated=False, layer_scale=True, frame_steps=2
    ),
    num_codebooks=5,
    codebook_size=32,
    codebook_dim=8,
)
VOCODED = replace(CONFIG, vocoder=True, spectrum_window=512, filter_bins=9)
FRAME = CONFIG.frame_samples
NUM_FRAMES = 12  # 24 steps: the ring of 8 turns over


@pytest.fixture(params=[CONFIG, VOCODED], ids=["seanet", "vocoder"])
def mimi(request: pytest.FixtureRequest) -> Mimi:
    mimi = Mimi(request.param, num_codebooks=4)
    randomize(mimi, 0.0, seed=11)
    return mimi.prepare()


def test_the_published_size_is_the_default() -> None:
    config = MimiConfig()
    assert (config.frame_samples, config.frame_rate_hz, config.sample_rate_hz) == (1920, 12.5, 24_000)


def _latents(mimi: Mimi) -> tuple[object, object]:
    def push(state: MimiState, wav_BT1: Tensor, live_B: Tensor | None = None) -> Tensor:
        return mimi.latents(state, wav_BT1[:, :, 0], live_B)

    return mimi.open, push


def _speech(mimi: Mimi) -> tuple[object, object]:
    def push(state: MimiState, codes_BFK: Tensor, live_B: Tensor | None = None) -> Tensor:
        return mimi.decode(state, codes_BFK.long().transpose(1, 2), live_B)[:, :, None]

    return mimi.open, push


def _tolerance(mimi: Mimi) -> float:
    """A vocoder's phase at 200 harmonics makes 1e-3 of a rounding of the pitch."""
    return 1e-3 if mimi.config.vocoder else 1e-5


def test_the_encoder_streams(mimi: Mimi) -> None:
    open_, push = _latents(mimi)
    wav_BT1 = torch.randn(2, NUM_FRAMES * FRAME, 1)
    assert_chunking_changes_nothing(open_, push, wav_BT1, [[FRAME], [3 * FRAME], [FRAME, 4 * FRAME]])
    assert_rows_do_not_leak(open_, push, wav_BT1, FRAME)
    assert_reset_begins_again(open_, push, wav_BT1)


def test_the_decoder_streams(mimi: Mimi) -> None:
    open_, push = _speech(mimi)
    codes_BFK = torch.randint(0, 32, (2, NUM_FRAMES, 4)).float()
    atol = _tolerance(mimi)
    assert_chunking_changes_nothing(open_, push, codes_BFK, [[1], [5], [1, 3]], atol)
    assert_rows_do_not_leak(open_, push, codes_BFK.clamp(min=4), 1, atol)
    assert_reset_begins_again(open_, push, codes_BFK, atol)


@torch.no_grad()
def test_a_whole_signal_gives_what_its_stream_gives(mimi: Mimi) -> None:
    wav_BT = torch.randn(2, NUM_FRAMES * FRAME)
    codes_BKF, speech_BT = mimi.run(wav_BT)
    state = mimi.open(2)
    frames = wav_BT.split(FRAME, dim=1)
    streamed = torch.cat([mimi.encode(state, frame) for frame in frames], dim=2)
    assert torch.equal(codes_BKF, streamed)
    torch.testing.assert_close(mimi.decode(state, streamed), speech_BT, atol=_tolerance(mimi), rtol=0)


def test_a_signal_that_is_no_whole_number_of_frames_keeps_its_length(mimi: Mimi) -> None:
    codes_BKF, speech_BT = mimi.run(torch.randn(1, 2 * FRAME + 1))
    assert codes_BKF.shape == (1, 4, 3) and speech_BT.shape == (1, 2 * FRAME + 1)


@torch.no_grad()
def test_fewer_codebooks_are_the_first_of_more(mimi: Mimi) -> None:
    wav_BT = torch.randn(1, FRAME)
    all_codes = mimi.encode(mimi.open(1), wav_BT)
    for num in range(1, 5):
        mimi.num_codebooks = num
        assert torch.equal(mimi.encode(mimi.open(1), wav_BT), all_codes[:, :num])
        assert mimi.decode(mimi.open(1), all_codes[:, :num]).shape == (1, FRAME)


@torch.no_grad()
def test_the_quantizers_choose_the_nearest_entry(mimi: Mimi) -> None:
    """Brute force over the distances, for both branches on the same latent."""
    x_BFE = mimi.latents(mimi.open(1), torch.randn(1, 3 * FRAME))
    codes_BKF = mimi.quantizer.encode(x_BFE, 3)
    for branch, codes in (
        (mimi.quantizer.rvq_first, codes_BKF[:, :1]),
        (mimi.quantizer.rvq_rest, codes_BKF[:, 1:]),
    ):
        rest_FQ = x_BFE[0] @ branch.input_proj.weight[:, :, 0].t()
        for book, codes_F in zip(branch.codebooks(codes.shape[1]), codes[0], strict=True):
            vectors_VQ = book.embedding_sum / book.cluster_usage.clamp(min=1e-5)[:, None]
            distance_FV = (rest_FQ[:, None] - vectors_VQ).square().sum(-1)
            assert torch.equal(codes_F, distance_FV.argmin(-1))
            rest_FQ = rest_FQ - vectors_VQ[codes_F]


@pytest.mark.parametrize("shape", [(1, 0), (1, FRAME - 1), (FRAME,), (1, 1, FRAME)])
def test_audio_that_is_no_whole_frames_is_refused_and_changes_nothing(
    mimi: Mimi, shape: tuple[int, ...]
) -> None:
    state, wav_BT = mimi.open(1), torch.randn(1, FRAME)
    expected = mimi.encode(mimi.open(1), wav_BT)
    with pytest.raises(FrameError, match="whole frames"):
        mimi.encode(state, torch.zeros(shape))
    assert torch.equal(mimi.encode(state, wav_BT), expected)


@pytest.mark.parametrize("shape", [(1, 6, 1), (1, 0, 1), (4, 1)])
def test_codes_of_the_wrong_shape_are_refused(mimi: Mimi, shape: tuple[int, ...]) -> None:
    with pytest.raises(FrameError, match="codebooks"):
        mimi.decode(mimi.open(1), torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("num", [0, 6])
def test_a_number_of_codebooks_that_the_weights_lack_is_refused(mimi: Mimi, num: int) -> None:
    with pytest.raises(ValueError, match="1 to 5"):
        mimi.num_codebooks = num


def test_the_codec_trains() -> None:
    """Gradients reach the first convolution through both transformers and the transposed convolutions."""
    mimi = Mimi(CONFIG, num_codebooks=4)
    state = mimi.open(2, ring=64)
    latents_BFE = mimi.latents(state, torch.randn(2, 4 * FRAME))
    x_BTE = mimi.upsample.push(state.decoder.upsample, latents_BFE)
    x_BTE = mimi.decoder_transformer.transformer.push(state.decoder.transformer, x_BTE)  # type: ignore[arg-type]
    mimi.decoder.push(state.decoder.convolutions, x_BTE).square().mean().backward()
    assert mimi.encoder.model.at(0).weight.grad is not None  # type: ignore[union-attr]
