"""The vocoder codec's encoder and codebooks, worked out and not trained: a minute or two on one core.

    acoustic latents    principal components of a frame's features (mimi/features.py), NUM_COMPONENTS of them
    semantic latents    the phones that sound, as ridge regression sees them in this frame and the one before
    codebooks           k-means, level by level (quantize.py); both branches quantize the same latent

So a speech model may be trained on the codes at once, and only the decoder is learned by gradient. Why: after
2,500 steps through straight-through gradients a recogniser got 85 % of the words wrong; seven k-means
codebooks of principal components leave 48 % (docs/LOG.md, 2026-11-26).
Dimension key: N frames, E width of a step, S steps of a frame, K components, P phones.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from generation.mimi import Mimi
from generation.mimi.features import HIGHEST_HZ, LOWEST_HZ, PITCH_HZ, PITCH_SCALE, VOICING_SCALE, tables
from generation.mimi.vocoder import Vocoder
from generation.train.codec.clips import Batch
from generation.train.codec.quantize import place_codebooks

NUM_COMPONENTS = 128
SCALE = 0.05  # of the components on their way to the decoder: the first has a spread of 50
HUSHED = (3.0, 2.0)  # nepers: voiced sound where nothing is voiced, noise where all is
_RIDGE = 1e-2  # of the inputs' mean variance


@torch.no_grad()
def fit(codec: Mimi, batches: Iterable[Batch]) -> None:
    """Changes encoder, downsampling and quantizer of a codec with a vocoder, and where its decoder begins.

    `batches`: speech in clips of whole frames, 50,000 frames or more; phones where they are known.
    """
    _hand_through(codec)
    now_NX, before_NX, phones_NP = _seen(codec, batches)
    S, X = codec.config.resample_stride, now_NX.shape[1]
    mean_E = now_NX.view(-1, S, X // S).mean(dim=(0, 1))
    now_NX, before_NX = now_NX - mean_E.repeat(S), before_NX - mean_E.repeat(S)
    _, vectors_XX = torch.linalg.eigh(torch.cov(now_NX.t()))
    K = min(NUM_COMPONENTS, codec.config.codebook_dim)
    components_KX = vectors_XX.flip(1)[:, :K].t()
    phones_PY = _regression(torch.cat([before_NX, now_NX], dim=1), phones_NP)
    _write_encoder(codec, mean_E, components_KX, phones_PY)
    _write_quantizer(codec, len(phones_PY))
    place_codebooks(codec.quantizer, _latents(codec, now_NX, before_NX))
    begin_decoder(codec)


def _hand_through(codec: Mimi) -> None:
    """Each step's latent is its hops' features side by side."""
    conv = codec.encoder.model.at(0)
    E, num_features, hops = conv.weight.shape
    eye = torch.eye(E, device=conv.weight.device).view(E, hops, num_features)
    conv.weight.copy_(eye.transpose(1, 2))
    conv.bias.zero_()


def _seen(codec: Mimi, batches: Iterable[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    """Features of each frame and of the one before it [N, S E], and the phones in it [N, P]."""
    now, before, phones = [], [], []
    for batch in batches:
        state = codec.encoder.open(len(batch.wav_BT))
        steps_BTE = codec.encoder.push(state, batch.wav_BT[:, :, None])
        B, F = len(batch.wav_BT), batch.phones_BFP.shape[1]
        frames_BFX = steps_BTE.reshape(B, F, -1)
        now.append(frames_BFX[:, 1:].flatten(0, 1))
        before.append(frames_BFX[:, :-1].flatten(0, 1))
        known_BFP = batch.phones_BFP * batch.labelled_B[:, None, None]
        phones.append(known_BFP[:, 1:].flatten(0, 1))
    return torch.cat(now), torch.cat(before), torch.cat(phones)


def _regression(x_NY: Tensor, phones_NP: Tensor) -> Tensor:
    """[P, Y], from the frames whose phones are known; no rows where there are none."""
    known_N = phones_NP.sum(dim=1) > 0
    x_NY, phones_NP = x_NY[known_N], phones_NP[known_N]
    if not len(x_NY):
        return x_NY.new_zeros(0, x_NY.shape[1])
    gram_YY = x_NY.t() @ x_NY
    gram_YY += _RIDGE * gram_YY.diagonal().mean() * torch.eye(len(gram_YY), device=x_NY.device)
    weights_YP: Tensor = torch.linalg.solve(gram_YY, x_NY.t() @ (phones_NP - phones_NP.mean(dim=0)))
    return weights_YP.t()


def _write_encoder(codec: Mimi, mean_E: Tensor, components_KX: Tensor, phones_PY: Tensor) -> None:
    codec.encoder.model.at(0).bias.copy_(-mean_E)
    weight = codec.downsample.weight.zero_()  # [latent, E, 2 S]: the frame before, then its own steps
    _, E, taps = weight.shape
    K, P = len(components_KX), len(phones_PY)
    weight[:K, :, taps // 2 :] = components_KX.view(K, taps // 2, E).transpose(1, 2)
    weight[K : K + P] = phones_PY.view(P, taps, E).transpose(1, 2)


def _write_quantizer(codec: Mimi, num_phones: int) -> None:
    """The branches read their latents as they are."""
    K = min(NUM_COMPONENTS, codec.config.codebook_dim)
    for branch, start, num in (
        (codec.quantizer.rvq_first, K if num_phones else 0, num_phones or K),
        (codec.quantizer.rvq_rest, 0, K),
    ):
        inner = branch.input_proj.weight.zero_()
        for index in range(min(num, inner.shape[0])):
            inner[index, start + index, 0] = 1.0


@torch.no_grad()
def begin_decoder(codec: Mimi) -> None:
    """Let the decoder say what the codes say by themselves, from encoder and quantizer as they are.

    The acoustic branch hands its components on twice; the upsampling gives the first half of a frame the one
    copy and the second half the other, so that a linear map of a step knows which hops it speaks of.
    """
    decoder, E = codec.decoder, codec.config.latent_dim
    assert isinstance(decoder, Vocoder)
    S = codec.config.resample_stride
    K = min(NUM_COMPONENTS, codec.config.codebook_dim, E // S)
    hops, num_features = codec.config.ratios[0], E // codec.config.ratios[0]
    components_KNM = codec.downsample.weight[:K, :, S:].transpose(1, 2).reshape(K, S * hops, num_features)
    late = (codec.config.spectrum_window / codec.config.ratios[1] - 1) / 2  # hops, from middle to middle
    shift_NN = _earlier(S * hops, late).to(components_KNM)
    components_KNM = torch.einsum("nl,klm->knm", shift_NN, components_KNM)
    components_KSE = components_KNM.reshape(K, S, E)
    codec.quantizer.rvq_first.output_proj.weight.zero_()
    outer, up = codec.quantizer.rvq_rest.output_proj.weight.zero_(), codec.upsample.weight.zero_()
    heard_SEE = torch.zeros(S, E, E, device=outer.device)  # of a step's latents: the features of its hops
    for half in range(S):
        own = slice(half * K, (half + 1) * K)
        outer[own, :K, 0] = SCALE * torch.eye(K, device=outer.device)
        up[own, 0, half] = 1.0
        heard_SEE[half, :, own] = components_KSE[:, half].t() / SCALE
    window = codec.config.spectrum_window
    spoken_CM, constant_C = (part.to(outer) for part in _spoken(decoder.bins, window, num_features))
    features_HME = heard_SEE.sum(dim=0).view(hops, num_features, E)
    mean_HM = -codec.encoder.model.at(0).bias.view(hops, num_features)
    decoder.base.weight.copy_((spoken_CM @ features_HME).flatten(0, 1))
    decoder.base.bias.copy_((mean_HM @ spoken_CM.t() + constant_C).flatten())


def _earlier(num: int, by: float) -> Tensor:
    """[num, num]: what stands `by` places later, between two in proportion; at the end the last one."""
    places = (torch.arange(num) + by).clamp(max=num - 1)
    return (1 - (places[:, None] - torch.arange(num)).abs()).clamp(min=0)


def _spoken(bins: int, window: int, num_features: int) -> tuple[Tensor, Tensor]:
    """The vocoder's controls [C] as an affine function of a hop's features [M]: [C, M] and [C].

    log |H| = (log band - log its width - log of the window's power) / 2, between bands in a straight line,
    and less by up to HUSHED nepers of voiced sound where nothing is voiced, of noise where all is.
    """
    bands_KM, window_W, _ = tables(window, num_features - 2)
    width_M = bands_KM.sum(dim=0)
    centre_M = (bands_KM * torch.arange(len(bands_KM))[:, None]).sum(dim=0) / width_M / (len(bands_KM) - 1)
    between = torch.linspace(0, 1, bins)
    eye = np.eye(num_features - 2)
    shape_KM = np.stack([np.interp(between, centre_M, row) for row in eye], axis=1)
    envelope_KM = torch.from_numpy(shape_KM).float() / 2
    level_K = -envelope_KM @ torch.log(width_M) - torch.log(window_W.square().sum()) / 2
    spoken_CM, constant_C = torch.zeros(2 * bins + 1, num_features), torch.zeros(2 * bins + 1)
    for index, hush in enumerate(HUSHED):
        rows = slice(index * bins, (index + 1) * bins)
        spoken_CM[rows, : num_features - 2] = envelope_KM
        spoken_CM[rows, -1] = (hush if index == 0 else -hush) / VOICING_SCALE
        constant_C[rows] = level_K - (hush if index == 0 else 0.0)
    # The pitch passes a sigmoid between its lowest and its highest: its tangent at PITCH_HZ.
    span = math.log(HIGHEST_HZ / LOWEST_HZ)
    place = math.log(PITCH_HZ / LOWEST_HZ) / span
    constant_C[-1] = math.log(place / (1 - place))
    spoken_CM[-1, -2] = 1 / (PITCH_SCALE * span * place * (1 - place))
    return spoken_CM, constant_C


def _latents(codec: Mimi, now_NX: Tensor, before_NX: Tensor) -> Tensor:
    """[N, latent] of centred frames, as the downsampling gives them."""
    weight = codec.downsample.weight
    steps_NES = torch.cat([before_NX, now_NX], dim=1).view(len(now_NX), weight.shape[2], -1).transpose(1, 2)
    return steps_NES.flatten(1) @ weight.flatten(1).t()
