"""What pulls a window and its copy together and pushes all other windows apart.

    nt_xent   cross-entropy of cos / 0.05: the partner against every other window at once
    triplet   max(0, 0.5 + |a - p|^2 - |a - n|^2), n the nearest wrong window that is farther than the partner

Dimension key: B pairs, N remembered windows, D embedding width.
Source: Chen et al. 2020 (SimCLR, arXiv 2002.05709), eq. 1, and Schroff et al. 2015 (FaceNet, arXiv
1503.03832), sec. 3.2, with the margin of Araz et al. 2025 (NMFP). Which is better here: docs/LOG.md,
2026-11-27.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch.nn import functional

LossName = Literal["nt_xent", "triplet"]
TEMPERATURE = 0.05
MARGIN = 0.5


class Remembered(NamedTuple):
    """Windows of earlier batches, and which of them are wrong answers for which copy."""

    emb_ND: torch.Tensor
    wrong_BN: torch.Tensor  # bool


def loss_of(
    name: LossName, first_BD: torch.Tensor, second_BD: torch.Tensor, more: Remembered | None
) -> torch.Tensor:
    """The loss of unit embeddings of anchors and copies; the partner of row i is row i of the other."""
    if name == "triplet":
        return triplet(first_BD, second_BD, MARGIN, more)
    return nt_xent(first_BD, second_BD, TEMPERATURE, more)


def nt_xent(
    first_BD: torch.Tensor, second_BD: torch.Tensor, temperature: float, more: Remembered | None = None
) -> torch.Tensor:
    """Mean over both directions; remembered windows are wrong answers for the copies alone."""
    B, _ = first_BD.shape
    both = torch.cat([first_BD, second_BD])
    similarity = both @ both.T
    similarity.fill_diagonal_(-math.inf)
    if more is not None:
        wrong_BN = (second_BD @ more.emb_ND.T).masked_fill(~more.wrong_BN, -math.inf)
        nothing = torch.full_like(wrong_BN, -math.inf)
        similarity = torch.cat([similarity, torch.cat([nothing, wrong_BN])], dim=1)
    partner = torch.arange(2 * B, device=both.device).roll(B)
    return functional.cross_entropy(similarity / temperature, partner)


def triplet(
    first_BD: torch.Tensor, second_BD: torch.Tensor, margin: float, more: Remembered | None = None
) -> torch.Tensor:
    """Mean over both directions; a window without a semi-hard wrong one takes the farthest wrong one.

    On the unit sphere |a - b|^2 = 2 - 2 cos.
    """
    B, _ = first_BD.shape
    own_B = (first_BD * second_BD).sum(dim=1)
    another_BB = ~torch.eye(B, dtype=torch.bool, device=first_BD.device)
    losses = []
    for asking_BD, asked_WD, wrong_BW in (
        (first_BD, second_BD, another_BB),
        (second_BD, first_BD, another_BB),
    ):
        if asking_BD is second_BD and more is not None:
            asked_WD = torch.cat([asked_WD, more.emb_ND])
            wrong_BW = torch.cat([wrong_BW, more.wrong_BN], dim=1)
        wrong_BD = asked_WD[_semi_hard(asking_BD, asked_WD, wrong_BW, own_B)]
        losses.append(functional.relu(margin - 2.0 * own_B + 2.0 * (asking_BD * wrong_BD).sum(dim=1)))
    return torch.cat(losses).mean()


@torch.no_grad()
def _semi_hard(
    asking_BD: torch.Tensor, asked_WD: torch.Tensor, wrong_BW: torch.Tensor, own_B: torch.Tensor
) -> torch.Tensor:
    """For each window the number of the wrong one that teaches it. Chosen without gradients: of 33,000
    cosines a window learns from one (half of a step's time, measured)."""
    cos_BW = asking_BD @ asked_WD.T
    farther_BW = cos_BW.masked_fill(~wrong_BW | (cos_BW >= own_B[:, None]), -math.inf)
    nearest_B, chosen_B = farther_BW.max(dim=1)
    farthest_B = cos_BW.masked_fill_(~wrong_BW, math.inf).argmin(dim=1)
    return torch.where(torch.isinf(nearest_B), farthest_B, chosen_B)
