"""Held-out figures of a network: how often a damaged window finds its own place, and how far apart strangers
are.

    top1   share of damaged 1 s windows whose nearest registered window, among all held-out ones, is the right
           one
    rare   share of them that are closer to their own window than 1 in 10,000 pairs of different recordings
    d_eff  1 / Var(cos) between windows of different recordings; 128 would be a perfectly spread 128-d sphere

Dimension key: B queries, N registered windows, F frames, D embedding width.
"""

import numpy as np
import torch

from audio.bfloat16 import multiplies_bfloat16
from registry.fingerprint import features
from registry.fingerprint.network import FingerprintNetwork
from registry.fingerprint.train.augment import Augmenter
from registry.fingerprint.train.cache import FrameStore
from registry.fingerprint.train.sampler import HOP_FRAMES, Sampler

_NUM_QUERIES = 400


class HeldOut:
    """Validation windows and fixed damaged queries, as pictures; the same in every evaluation of a run."""

    def __init__(self, clips: FrameStore, files: set[str], augmenter: Augmenter) -> None:
        registered: list[torch.Tensor] = []
        owners: list[int] = []
        for owner, recording in enumerate(r for r in clips.recordings if r.file in files):
            starts = range(0, clips.num_frames(recording) - features.NUM_FRAMES + 1, HOP_FRAMES)
            windows = [clips.frames(recording, first, features.NUM_FRAMES)[0] for first in starts]
            if windows:
                registered.append(augmenter.anchors(np.stack(windows)))
                owners += [owner] * len(windows)
        if len(registered) < 2:
            raise ValueError("the validation part holds fewer than two recordings of a second and more")
        self.registered = torch.cat(registered)
        self.owner_N = np.array(owners)
        rng = np.random.default_rng(0)
        pairs = Sampler(clips, [], files, windows_per_group=1).draw(_NUM_QUERIES, rng)
        self.anchors = augmenter.anchors(pairs.anchor_BFM)
        self.queries = augmenter.copies(pairs.span_BFM, pairs.missing_BF, rng)


@torch.no_grad()
def measure(network: FingerprintNetwork, held_out: HeldOut) -> dict[str, float]:
    """Top-1 of damaged 1 s queries against all held-out windows, mean cosine of true pairs, and d_eff."""
    registered_ND = _embed(network, held_out.registered)
    anchor_BD, query_BD = _embed(network, held_out.anchors), _embed(network, held_out.queries)
    own_B = (anchor_BD * query_BD).sum(dim=1)
    cos_BN = query_BD @ registered_ND.T
    # The anchor's phase is arbitrary, so registered windows that overlap it by more than half of a hop are
    # nearly the same answer: those above 0.7 to the anchor are not counted against it.
    near_BN = (anchor_BD @ registered_ND.T) > 0.7
    rival_B = cos_BN.masked_fill(near_BN, -1.0).amax(dim=1)
    owner_N = torch.from_numpy(held_out.owner_N)
    rows = torch.randperm(len(registered_ND), generator=torch.Generator().manual_seed(0))[:3000]
    null = registered_ND[rows] @ registered_ND[rows].T
    strangers = null[owner_N[rows][:, None] != owner_N[rows][None, :]]
    return {
        "top1": float((own_B > rival_B).float().mean()),
        "rare": float((own_B > torch.quantile(strangers, 1.0 - 1e-4)).float().mean()),
        "cos_true": float(own_B.mean()),
        "cos_rival": float(rival_B.mean()),
        "cos_stranger_mean": float(strangers.mean()),
        "d_eff": float(1.0 / strangers.var()),
    }


def _embed(network: FingerprintNetwork, pictures: torch.Tensor) -> torch.Tensor:
    kind = pictures.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=multiplies_bfloat16(kind)):
        return torch.cat([network(part) for part in torch.split(pictures, 256)]).float().cpu()
