"""Token embeddings in which one token means nothing.

Source: kyutai-labs/moshi, models/lm_utils.py: -1 embeds as exactly 0; a low-rank table is followed by a map.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from generation.moshi.config import ZERO_TOKEN
from generation.streaming.linear import Linear
from generation.streaming.typed import Map


class Embedding(Map):
    """A table of `num` vectors; ZERO_TOKEN gives zeros."""

    def __init__(self, num: int, dim: int, low_rank: int | None = None) -> None:
        super().__init__()
        width = low_rank or dim
        deviation = width**-0.5
        self.weight = nn.Parameter(torch.empty(num, width))
        nn.init.trunc_normal_(self.weight, std=deviation, a=-3 * deviation, b=3 * deviation)
        self.low_rank = Linear(width, dim) if low_rank else None

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [...] to [..., dim]; tokens from -1 to num - 1, which is not checked."""
        vectors = functional.embedding(tokens.clamp(min=0), self.weight)
        vectors = vectors.masked_fill((tokens == ZERO_TOKEN)[..., None], 0)
        return vectors if self.low_rank is None else self.low_rank(vectors)
