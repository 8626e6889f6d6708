"""Teacher forcing for training: the network over whole utterances, all codebooks of a frame side by side.

    inputs_BRF, spoken_BRF = delayed(config, tokens_BRF)
    z_BFE, text_logits_BFV = hear(model, inputs_BRF, condition_B1E)
    audio_logits_KNV = speak(model, z_NE, spoken_NR)          # of any N frames

Gives what `Moshi.forward` gives, which a test compares; that one takes codebook by codebook as generation
does, and its gradients cost twice the time: measured 2026-11, 1,000 frames of the mini voice on one core.
Dimension key: B utterances, F frames, N frames of any utterance, R rows of a frame's tokens, K spoken
codebooks, V vocabulary, E width, D width of the depth transformer, H heads.
Not here: losses; depth transformers with shared heads, low-rank embeddings or output norms.
"""

import torch
from torch import Tensor
from torch.nn import functional

from generation.moshi.config import MoshiConfig
from generation.moshi.model import Moshi
from generation.streaming.attention import Attention
from generation.streaming.positions import rotation_at
from generation.streaming.transformer import GatedFeedForward, Layer
from generation.streaming.typed import Stack


def delayed(config: MoshiConfig, tokens_BRF: Tensor) -> tuple[Tensor, Tensor]:
    """What the network reads at each step [B, R, F], and what it then says: text and spoken rows
    [B, 1 + K, F]. Initial tokens stand where a row has not begun."""
    initial = [config.text_initial] + [config.audio_initial] * config.num_audio
    rows = list(zip(tokens_BRF.unbind(1), config.delays, initial, strict=True))
    inputs = [_later(row_BF, delay + 1, first) for row_BF, delay, first in rows]
    spoken = [_later(row_BF, delay, first) for row_BF, delay, first in rows[: 1 + config.num_spoken]]
    return torch.stack(inputs, 1), torch.stack(spoken, 1)


def hear(model: Moshi, inputs_BRF: Tensor, condition_B1E: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """z [B, F, E] and text logits [B, F, V] of utterances from their first step, no longer than the context.

    Raises ValueError for longer ones.
    """
    F = inputs_BRF.shape[2]
    config = model.config.temporal
    if config.context < F:
        raise ValueError(f"{F} frames do not fit the context of {config.context}: cut the utterance")
    x_BFE = model.embed(inputs_BRF, condition_B1E)
    steps_1F = torch.arange(F, device=x_BFE.device)[None]
    rotation = None
    if config.max_period is not None:
        rotation = rotation_at(steps_1F, config.dim // config.num_heads, config.max_period)
    for layer in model.transformer.layers:
        x_BFE = layer.over(x_BFE, rotation)
    return model.heard(x_BFE)


def speak(model: Moshi, z_NE: Tensor, spoken_NR: Tensor) -> Tensor:
    """Audio logits [K, N, V] of frames, given what is said in them."""
    sets = list(model.config.schedule)
    N, K = len(z_NE), len(sets)
    maps = [model.depformer_in.at(index if len(model.depformer_in) > 1 else 0) for index in sets]
    project_OE: Tensor = torch.cat([one.weight for one in maps])
    x_KND = (z_NE @ project_OE.t()).view(N, K, -1).transpose(0, 1)
    before = [model.depformer_text_emb, *model.depformer_emb]
    x_KND = x_KND + torch.stack([embed(spoken_NR[:, k]) for k, embed in enumerate(before)])
    for layer in model.depformer.layers:
        x_KND = x_KND + _attend(layer.self_attn, layer.norm1(x_KND), sets)
        x_KND = x_KND + _feed_forward(layer, layer.norm2(x_KND), sets)
    weight_KVD = torch.stack([linear.weight for linear in model.linears])
    return torch.bmm(x_KND, weight_KVD.transpose(1, 2))


def _attend(attention: Attention, x_KND: Tensor, sets: list[int]) -> Tensor:
    K, N, D = x_KND.shape
    parts = _sets(attention.in_proj.weight, attention.num_weights, sets)
    heads = torch.bmm(x_KND, parts.transpose(1, 2)).view(K, N, 3, attention.num_heads, -1)
    q_NHKD, k_NHKD, v_NHKD = heads.permute(2, 1, 3, 0, 4).unbind(0)
    mixed_NHKD = functional.scaled_dot_product_attention(q_NHKD, k_NHKD, v_NHKD, is_causal=True)
    mixed_KND = mixed_NHKD.permute(2, 0, 1, 3).reshape(K, N, D)
    return torch.bmm(mixed_KND, _sets(attention.out_proj.weight, attention.num_weights, sets).transpose(1, 2))


def _feed_forward(layer: Layer, x_KND: Tensor, sets: list[int]) -> Tensor:
    gating = layer.gating
    one = [gating.at(index) for index in sets] if isinstance(gating, Stack) else [gating] * len(sets)
    gate, value = torch.bmm(x_KND, _stacked(one, "linear_in")).chunk(2, dim=-1)
    return torch.bmm(functional.silu(gate) * value, _stacked(one, "linear_out"))


def _stacked(layers: list[GatedFeedForward], name: str) -> Tensor:
    return torch.stack([getattr(layer, name).weight for layer in layers]).transpose(1, 2)


def _sets(weight: Tensor, num: int, sets: list[int]) -> Tensor:
    """[K, outputs, inputs] of weights that are stacked on the outputs."""
    parts = weight.view(num, -1, weight.shape[-1])
    return parts if sets == list(range(num)) else parts[sets]


def _later(row_BF: Tensor, steps: int, first: int) -> Tensor:
    """By `steps` frames, of the same length."""
    return functional.pad(row_BF, (steps, 0), value=first)[:, : row_BF.shape[1]]
