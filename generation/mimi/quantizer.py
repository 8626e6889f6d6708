"""Split residual vector quantization: one semantic codebook beside a residual chain of acoustic ones.

    codes_0 = nearest(semantic, project(x))
    codes_k = nearest(acoustic_k, r_k),  r_1 = project'(x),  r_{k+1} = r_k - acoustic_k[codes_k]

Both branches quantize the same latent: the acoustic one is *not* the residual of the semantic one. Decoding
adds the two branches' outputs. A codebook is stored as the running sums of its training, `embedding_sum`
over `cluster_usage`, as published.
Dimension key: B rows, F frames, K codebooks, V entries of a codebook, Q width of a codebook, E latent width.
Source: Moshi (Defossez et al., 2024, sec. 3.3.3); nearest as in kyutai-labs/moshi, Euclidean, the first of
equals.
"""

from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from generation.mimi.config import MimiConfig
from generation.streaming.linear import linear
from generation.streaming.typed import Stack

LEAST_USAGE = 1e-5


class Codebook(nn.Module):
    """V vectors. `vectors` is worked out once; whoever changes the sums calls `forget`."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self._initialized = nn.Buffer(torch.zeros(1))
        self.cluster_usage = nn.Buffer(torch.ones(size))
        self.embedding_sum = nn.Buffer(nn.init.trunc_normal_(torch.empty(size, dim)))
        self._cached: tuple[Tensor, Tensor] | None = None

    def forget(self) -> None:
        """Work the vectors out again at the next use."""
        self._cached = None

    @property
    def vectors(self) -> tuple[Tensor, Tensor]:
        """The codebook [V, Q], and half the squared length of each entry [V]."""
        if self._cached is None or self._cached[0].device != self.embedding_sum.device:
            vectors_VQ = self.embedding_sum / self.cluster_usage.clamp(min=LEAST_USAGE)[:, None]
            self._cached = vectors_VQ, vectors_VQ.square().sum(dim=1) / 2
        return self._cached

    def encode(self, x_BFQ: Tensor) -> Tensor:
        """The number of the nearest entry: int64 [B, F]. argmin |x - e|^2 = argmax x e - |e|^2 / 2."""
        vectors_VQ, half_square_V = self.vectors
        return (linear(x_BFQ, vectors_VQ) - half_square_V).argmax(dim=-1)

    def decode(self, codes_BF: Tensor) -> Tensor:
        return functional.embedding(codes_BF, self.vectors[0])


class _Layer(nn.Module):
    """Only here because the published keys say `layers.{k}._codebook`."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self._codebook = Codebook(size, dim)


class _Chain(nn.Module):
    def __init__(self, num: int, size: int, dim: int) -> None:
        super().__init__()
        self.layers = Stack(_Layer(size, dim) for _ in range(num))


class ResidualQuantizer(nn.Module):
    """A chain of codebooks between two maps without bias (published as 1x1 convolutions)."""

    def __init__(self, num: int, size: int, dim: int, latent_dim: int) -> None:
        super().__init__()
        self.input_proj = nn.Conv1d(latent_dim, dim, 1, bias=False)
        self.output_proj = nn.Conv1d(dim, latent_dim, 1, bias=False)
        self.vq = _Chain(num, size, dim)

    def codebooks(self, num: int) -> list[Codebook]:
        return [layer._codebook for layer in islice(self.vq.layers, num)]

    def encode(self, x_BFE: Tensor, num: int) -> Tensor:
        """The first `num` codes: int64 [B, num, F]."""
        rest_BFQ = linear(x_BFE, self.input_proj.weight[:, :, 0])
        codes = []
        for codebook in self.codebooks(num):
            codes.append(codebook.encode(rest_BFQ))
            rest_BFQ = rest_BFQ - codebook.decode(codes[-1])
        return torch.stack(codes, dim=1)

    def decode(self, codes_BKF: Tensor) -> Tensor:
        """[B, F, E] from as many codes as are given, at least one."""
        books = self.codebooks(codes_BKF.shape[1])
        pairs = zip(books, codes_BKF.unbind(dim=1), strict=True)
        total_BFQ = torch.stack([book.decode(codes_BF) for book, codes_BF in pairs]).sum(dim=0)
        return linear(total_BFQ, self.output_proj.weight[:, :, 0])


class SplitQuantizer(nn.Module):
    """The semantic branch and the acoustic branch over the same latent."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        size, dim, latent = config.codebook_size, config.codebook_dim, config.latent_dim
        self.num_semantic = config.num_semantic
        self.rvq_first = ResidualQuantizer(config.num_semantic, size, dim, latent)
        self.rvq_rest = ResidualQuantizer(config.num_codebooks - config.num_semantic, size, dim, latent)

    def encode(self, x_BFE: Tensor, num_codebooks: int) -> Tensor:
        """int64 [B, K, F], semantic codes first."""
        codes = [self.rvq_first.encode(x_BFE, min(num_codebooks, self.num_semantic))]
        if num_codebooks > self.num_semantic:
            codes.append(self.rvq_rest.encode(x_BFE, num_codebooks - self.num_semantic))
        return torch.cat(codes, dim=1)

    def decode(self, codes_BKF: Tensor) -> Tensor:
        """[B, F, E] from K codes a frame, 1 <= K <= all."""
        semantic_BKF, acoustic_BKF = codes_BKF.tensor_split([self.num_semantic], dim=1)
        x_BFE = self.rvq_first.decode(semantic_BKF)
        return x_BFE + self.rvq_rest.decode(acoustic_BKF) if acoustic_BKF.shape[1] else x_BFE
