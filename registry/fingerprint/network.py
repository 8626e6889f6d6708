"""The fingerprint network: one second of speech -> a point on the unit sphere in 128 dimensions.

    picture [B, 2, 64, 64] -> patches (4 bands x 2 frames) -> three stages of residual blocks
    -> 1x1 narrowing -> one linear map of the flattened grid -> L2 norm

Two windows that start within 0.1 s of each other in the same recording land close together, whatever codec,
room, noise or telephone lies between; any other two windows do not, also when voice and sentence are the
same.

Blocks are depthwise-separable (version 1) or of whole 3 x 3 convolutions, which matrix units do faster: with
five times the parameters a step of training takes 0.7 of the time.

Dimension key: B windows, D embedding width, F frames.
Source: contrastive fingerprint after Chang et al. 2021 (arXiv 2010.11910), sec. 2, and blocks after Liu et
al. 2022
(ConvNeXt, arXiv 2201.03545), sec. 2; differs: 24 kHz speech, 0.3 M parameters, LayerNorm over channels only,
flattened grid instead of pooling, so that where a sound lies inside the second stays in the code.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from registry.fingerprint import features

EMBEDDING_WIDTH = 128


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
    """x + pointwise(GELU(pointwise(norm(depthwise 5x5 x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(functional.gelu(self.widen(y)))
        changed: torch.Tensor = y.permute(0, 3, 1, 2)
        return x + changed


class WholeBlock(nn.Module):
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


@dataclass(frozen=True)
class Shape:
    """What a network is built of; the card beside its weights says it."""

    widths: tuple[int, int, int]
    depths: tuple[int, int, int]
    whole: bool  # blocks of whole convolutions


VERSION_1 = Shape((32, 64, 128), (1, 2, 2), whole=False)
"""0.36 M parameters."""
WHOLE = Shape((32, 96, 192), (1, 2, 2), whole=True)
"""1.9 M parameters."""


class FingerprintNetwork(nn.Module):
    """Maps the picture of a window to its unit embedding. Holds no state between calls; safe to share by
    threads."""

    def __init__(self, shape: Shape = VERSION_1) -> None:
        super().__init__()
        first, second, third = shape.widths
        depths, block = shape.depths, WholeBlock if shape.whole else Block
        self.patches = nn.Conv2d(2, first, (4, 2), stride=(4, 2))
        self.stage1 = nn.Sequential(ChannelNorm(first), *(block(first) for _ in range(depths[0])))
        self.down1 = nn.Sequential(ChannelNorm(first), nn.Conv2d(first, second, 2, stride=2))
        self.stage2 = nn.Sequential(*(block(second) for _ in range(depths[1])))
        self.down2 = nn.Sequential(ChannelNorm(second), nn.Conv2d(second, third, 2, stride=2))
        self.stage3 = nn.Sequential(*(block(third) for _ in range(depths[2])))
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
