"""The fingerprint network: one second of speech -> a point on the unit sphere in 128 dimensions.

    picture [B, 2, 64, 64] -> patches (4 bands x 2 frames) -> three stages of residual blocks
    -> 1x1 narrowing -> one linear map of the flattened grid -> L2 norm

Two windows that start within 0.1 s of each other in the same recording land close together, whatever codec,
room, noise or telephone lies between; any other two windows do not, also when voice and sentence are the
same.

Blocks are of whole 3 x 3 convolutions, which matrix units do faster than depthwise ones: with five times the
parameters a step of training takes 0.7 of the time.

Dimension key: B windows, D embedding width, F frames.
Source: contrastive fingerprint after Chang et al. 2021 (arXiv 2010.11910), sec. 2; differs: 24 kHz speech,
1.9 M parameters, LayerNorm over channels only, flattened grid instead of pooling, so that where a sound lies
inside the second stays in the code.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from registry.fingerprint import features

EMBEDDING_WIDTH = 128
_WIDTHS, _DEPTHS = (32, 96, 192), (1, 2, 2)


class ChannelNorm(nn.Module):
    """LayerNorm over channels at each place of a [B, C, bands, F] map; no statistics are kept between
    calls."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.norm(x.permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)


class Block(nn.Module):
    """x + conv 3x3(ReLU(conv 3x3(norm x))). Source: He et al. 2016 (arXiv 1603.05027), fig. 1; differs:
    LayerNorm in place of batch norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.second(functional.relu(self.first(self.norm(x))))
        return x + changed


class FingerprintNetwork(nn.Module):
    """Maps the picture of a window to its unit embedding. Holds no state between calls; safe to share by
    threads."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = _WIDTHS
        self.patches = nn.Conv2d(2, first, (4, 2), stride=(4, 2))
        self.stage1 = nn.Sequential(ChannelNorm(first), *(Block(first) for _ in range(_DEPTHS[0])))
        self.down1 = nn.Sequential(ChannelNorm(first), nn.Conv2d(first, second, 2, stride=2))
        self.stage2 = nn.Sequential(*(Block(second) for _ in range(_DEPTHS[1])))
        self.down2 = nn.Sequential(ChannelNorm(second), nn.Conv2d(second, third, 2, stride=2))
        self.stage3 = nn.Sequential(*(Block(third) for _ in range(_DEPTHS[2])))
        self.squeeze = nn.Sequential(ChannelNorm(third), nn.Conv2d(third, 32, 1))
        grid = (features.NUM_BANDS // 16) * (features.NUM_FRAMES // 8)
        self.head = nn.Linear(32 * grid, EMBEDDING_WIDTH)

    def forward(self, picture_B2MF: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 2, 64, 64] -> unit embeddings [B, 128]."""
        B, planes, num_bands, num_frames = picture_B2MF.shape
        if (planes, num_bands, num_frames) != (2, features.NUM_BANDS, features.NUM_FRAMES):
            raise ValueError(f"a window's picture is 2 x 64 x 64, not {planes} x {num_bands} x {num_frames}")
        x = picture_B2MF.to(self.patches.weight.dtype, memory_format=torch.channels_last)
        x = self.stage1(self.patches(x))
        x = self.stage2(self.down1(x))
        x = self.stage3(self.down2(x))
        x = functional.gelu(self.squeeze(x)).to(self.head.weight.dtype)
        return functional.normalize(self.head(x.reshape(B, -1)), dim=1)

    def narrowed(self) -> FingerprintNetwork:
        """The same network in bfloat16, for inference; sums, the head and the norm stay in float32.

        Its embeddings have a cosine of 0.9998 and more with those of float32 (docs/LOG.md, 2026-11-26).
        """
        narrow = copy.deepcopy(self)
        for part in narrow.children():
            if part is not narrow.head:
                part.bfloat16()
        return narrow
