"""The split quantizer while it learns: straight-through gradients, codebooks as moving averages.

    q = x + (quantized(x) - x).detach()                     the gradient passes as if nothing were quantized
    commitment = mean |r_k - e_k|^2                         keeps the latents near the entries
    usage <- d usage + (1 - d) count,  sum likewise         an entry is the mean of what chose it

An entry that hardly anything chooses is put where a latent of the batch lies. Dropout: a fifth of the clips
are decoded from their first n codes, n drawn evenly, so that fewer codes are speech too.
Dimension key: B clips, F frames, K codebooks, N latents, V entries, Q width of a codebook, E latent width.
Source: van den Oord et al., 2017, appendix A.1; Zeghidour et al., 2021, sec. III-C (dropout, restarts).
"""

import torch
from torch import Tensor
from torch.nn import functional

from generation.mimi.quantizer import Codebook, ResidualQuantizer, SplitQuantizer

DECAY = 0.99
DEAD_SHARE = 0.1  # of the mean usage
WHOLE_SHARE = 0.8  # what speaks says all codes
_AT_ONCE = 4096


def quantize(
    quantizer: SplitQuantizer, x_BFE: Tensor, num_used_B: Tensor, learn: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """What the decoder gets [B, F, E], the semantic part of it, and the commitment loss.

    `num_used_B`: codes that each clip is decoded from, from 1. `learn`: move the codebooks too.
    """
    everything_B = torch.full_like(num_used_B, quantizer.num_semantic)
    semantic_BFE, loss = _branch(quantizer.rvq_first, x_BFE, everything_B, learn)
    acoustic_BFE, more = _branch(quantizer.rvq_rest, x_BFE, num_used_B - quantizer.num_semantic, learn)
    heard_B = (num_used_B > quantizer.num_semantic).to(x_BFE.dtype)[:, None, None]
    return semantic_BFE + acoustic_BFE * heard_B, semantic_BFE, loss + more


def draw_num_used(num_clips: int, num_codebooks: int, generator: torch.Generator) -> Tensor:
    """int64 [B], for WHOLE_SHARE of the clips all codes."""
    drawn_B = torch.randint(1, num_codebooks + 1, (num_clips,), generator=generator)
    whole_B = torch.rand(num_clips, generator=generator) < WHOLE_SHARE
    return torch.where(whole_B, num_codebooks, drawn_B)


def _branch(
    branch: ResidualQuantizer, x_BFE: Tensor, num_used_B: Tensor, learn: bool
) -> tuple[Tensor, Tensor]:
    projected_BFQ = functional.linear(x_BFE, branch.input_proj.weight[:, :, 0])
    rest_BFQ, total_BFQ = projected_BFQ, torch.zeros_like(projected_BFQ)
    loss = projected_BFQ.new_zeros(())
    books = branch.codebooks(len(branch.vq.layers))
    for index, book in enumerate(books):
        codes_BF = book.encode(rest_BFQ.detach())
        entry_BFQ = book.decode(codes_BF)
        loss = loss + functional.mse_loss(rest_BFQ, entry_BFQ)
        if learn:
            _move(book, rest_BFQ.detach().flatten(0, 1), codes_BF.flatten())
        used_B = (index < num_used_B).to(x_BFE.dtype)[:, None, None]
        total_BFQ = total_BFQ + entry_BFQ * used_B
        rest_BFQ = rest_BFQ - entry_BFQ
    straight_BFQ = projected_BFQ + (total_BFQ - projected_BFQ).detach()
    return functional.linear(straight_BFQ, branch.output_proj.weight[:, :, 0]), loss / len(books)


@torch.no_grad()
def _move(book: Codebook, x_NQ: Tensor, codes_N: Tensor) -> None:
    count_V = torch.bincount(codes_N, minlength=len(book.cluster_usage)).to(x_NQ)
    sum_VQ = torch.zeros_like(book.embedding_sum).index_add_(0, codes_N, x_NQ)
    book.cluster_usage.lerp_(count_V, 1 - DECAY)
    book.embedding_sum.lerp_(sum_VQ, 1 - DECAY)
    mean = book.cluster_usage.mean()
    dead_D = (book.cluster_usage < DEAD_SHARE * mean).nonzero()[:, 0]
    dead_D = dead_D[torch.randperm(len(dead_D), device=dead_D.device)[: max(1, len(x_NQ) // 8)]]
    if len(dead_D):
        chosen_D = torch.randint(len(x_NQ), (len(dead_D),), device=x_NQ.device)
        book.embedding_sum[dead_D] = x_NQ[chosen_D] * mean
        book.cluster_usage[dead_D] = mean
    book.forget()


@torch.no_grad()
def place_codebooks(quantizer: SplitQuantizer, x_NE: Tensor, rounds: int = 10) -> None:
    """Put all entries where the latents are: k-means on each level's residual, 20 s a level for 500,000."""
    for branch in (quantizer.rvq_first, quantizer.rvq_rest):
        rest_NQ = functional.linear(x_NE, branch.input_proj.weight[:, :, 0])
        for book in branch.codebooks(len(branch.vq.layers)):
            _k_means(book, rest_NQ, rounds)
            rest_NQ = rest_NQ - book.decode(nearest(book, rest_NQ))
            book._initialized.fill_(1.0)


def nearest(book: Codebook, x_NQ: Tensor) -> Tensor:
    """Entries [N], a few latents at a time: all distances at once do not fit a cache, or the memory."""
    return torch.cat([book.encode(part_NQ[None])[0] for part_NQ in torch.split(x_NQ, _AT_ONCE)])


def _k_means(book: Codebook, x_NQ: Tensor, rounds: int) -> None:
    """An entry that nothing chooses begins again at a latent."""
    V = len(book.cluster_usage)
    book.embedding_sum.copy_(_any_of(x_NQ, V))
    book.cluster_usage.fill_(1.0)
    book.forget()
    for _ in range(rounds):
        codes_N = nearest(book, x_NQ)
        count_V = torch.bincount(codes_N, minlength=V).to(x_NQ)
        sum_VQ = torch.zeros_like(book.embedding_sum).index_add_(0, codes_N, x_NQ)
        mean_VQ = sum_VQ / count_V.clamp(min=1)[:, None]
        book.embedding_sum.copy_(torch.where(count_V[:, None] > 0, mean_VQ, _any_of(x_NQ, V)))
        book.forget()


def _any_of(x_NQ: Tensor, num: int) -> Tensor:
    N = len(x_NQ)
    return x_NQ[torch.randperm(max(num, N), device=x_NQ.device)[:num] % N]
