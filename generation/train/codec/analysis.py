"""The vocoder codec's encoder and codebooks, worked out and not trained: a minute or two on one core.

    acoustic latents    principal components of a frame's features (mimi/features.py), NUM_COMPONENTS of them
    semantic latents    the phones that sound, as ridge regression sees them in this frame and the one before
    codebooks           k-means, level by level (quantize.py); both branches quantize the same latent

So a speech model may be trained on the codes at once, and only the decoder is learned by gradient. Why: after
2,500 steps through straight-through gradients a recogniser got 85 % of the words wrong; seven k-means
codebooks of principal components leave 48 % (docs/LOG.md, 2026-11-26).
Dimension key: N frames, E width of a step, S steps of a frame, K components, P phones.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from generation.mimi import Mimi
from generation.mimi.quantizer import ResidualQuantizer
from generation.train.codec.clips import Batch
from generation.train.codec.quantize import place_codebooks

NUM_COMPONENTS = 128
_RIDGE = 1e-2  # of the inputs' mean variance


@torch.no_grad()
def fit(codec: Mimi, batches: Iterable[Batch]) -> None:
    """Changes encoder, downsampling and quantizer of a codec with a vocoder. `batches`: speech in clips of
    whole frames, 50,000 frames or more; phones where they are known."""
    _hand_through(codec)
    now_NX, before_NX, phones_NP = _seen(codec, batches)
    S, X = codec.config.resample_stride, now_NX.shape[1]
    mean_E = now_NX.view(-1, S, X // S).mean(dim=(0, 1))
    now_NX, before_NX = now_NX - mean_E.repeat(S), before_NX - mean_E.repeat(S)
    variance_X, vectors_XX = torch.linalg.eigh(torch.cov(now_NX.t()))
    K = min(NUM_COMPONENTS, codec.config.codebook_dim)
    components_KX = vectors_XX.flip(1)[:, :K].t()
    phones_PY = _regression(torch.cat([before_NX, now_NX], dim=1), phones_NP)
    _write_encoder(codec, mean_E, components_KX, phones_PY)
    _write_quantizer(codec, variance_X.flip(0)[:K].clamp(min=1e-6).sqrt(), len(phones_PY))
    place_codebooks(codec.quantizer, _latents(codec, now_NX, before_NX))


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


def _write_quantizer(codec: Mimi, spread_K: Tensor, num_phones: int) -> None:
    """The branches read their latents as they are, and hand them on at a like scale."""
    K = len(spread_K)
    first, rest = codec.quantizer.rvq_first, codec.quantizer.rvq_rest
    _choose(rest, 0, K, (spread_K * spread_K.mean()).rsqrt())
    start, num = (K, num_phones) if num_phones else (0, K)
    _choose(first, start, num, torch.ones_like(spread_K[:num]))


def _choose(branch: ResidualQuantizer, start: int, num: int, scale_K: Tensor) -> None:
    """Latents from `start` on in, the same out times `scale_K`."""
    inner, outer = branch.input_proj.weight.zero_(), branch.output_proj.weight.zero_()
    for index in range(min(num, inner.shape[0])):
        inner[index, start + index, 0] = 1.0
        outer[start + index, index, 0] = scale_K[index]


def _latents(codec: Mimi, now_NX: Tensor, before_NX: Tensor) -> Tensor:
    """[N, latent] of centred frames, as the downsampling gives them."""
    weight = codec.downsample.weight
    steps_NES = torch.cat([before_NX, now_NX], dim=1).view(len(now_NX), weight.shape[2], -1).transpose(1, 2)
    return steps_NES.flatten(1) @ weight.flatten(1).t()
