"""Sub-fingerprints: 64 signs every 60 ms, which tell one utterance from the same words said again.

    patch   = 8 frames of the moving log-mel picture (features.picture), every 4 frames: eight to a window
    sign_k  = sign(u_k (patch - mean))       registered: 64 bytes for each window of 0.48 s
    value_k = w_k v_k (patch - mean)         of a query, at every half frame: 7.5 ms

An embedding is one point for a whole second, and a phrase that a voice says again lies as near as a damaged
copy. The signs are many, each of 0.12 s, and agree only where the very same sound lies under them. Directions
u and v and weights w are learned from damage, and from what is said twice (train/directions.py); they are
part of the network's weights. How signs and values are compared: registry/detail.py.

Dimension key: B windows, M bands, F frames, P frames of a patch, K = 64 signs, H phases of half a frame.
Source: Haitsma and Kalker 2002 (signs of a spectrogram's differences, every few ms). Differs: the directions
are learned, and the query's values are not cut to signs. Latency: that of a window.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from registry.fingerprint import features

PATCH_FRAMES = 8
STEP_FRAMES = 4
NUM_PATCHES = 8  # of a window: as many as fill its hop
NUM_SIGNS = 64
BYTES = NUM_PATCHES * NUM_SIGNS // 8  # of a window; twin: registry/tables.py
HOP_FRAMES = NUM_PATCHES * STEP_FRAMES  # of windows
# The patches lie in the middle of their window, whose mean is taken from them.
FIRST_FRAME = (features.NUM_FRAMES - (NUM_PATCHES - 1) * STEP_FRAMES - PATCH_FRAMES) // 2
PHASES = 2  # of a query's values for each frame
_HALF_WINDOW = features.NUM_FRAMES // 2


class Directions(nn.Module):
    """u of registered patches and w v of a query's, [K, M, P] each, and what the mean patch gives: [K]."""

    def __init__(self, num_signs: int = NUM_SIGNS) -> None:
        super().__init__()
        shape = (num_signs, features.NUM_BANDS, PATCH_FRAMES)
        self.num_signs = num_signs
        for name in ("registered", "heard"):
            self.register_buffer(name, torch.zeros(shape))
            self.register_buffer(f"{name}_mean", torch.zeros(num_signs))

    def signs(self, picture_B2MF: torch.Tensor) -> NDArray[np.uint8]:
        """What is stored of windows [B, 64 bytes], from their pictures; the first sign in the highest bit."""
        last = FIRST_FRAME + HOP_FRAMES - STEP_FRAMES + PATCH_FRAMES
        value_BKP = self._along(picture_B2MF[:, 1, :, FIRST_FRAME:last], "registered", STEP_FRAMES)
        return np.packbits((value_BKP > 0).transpose(1, 2).flatten(1).numpy(), axis=1)

    def values(self, wav_T: NDArray[np.float32], pitches: Sequence[float] = (1.0,)) -> NDArray[np.float32]:
        """Values [pitches, H F, K] of the patches that begin at each half frame of a query (float32 at 24
        kHz), heard at each pitch as in features.mel_filters; a patch that reaches beyond the audio has zeros.
        About 1 ms a second on one core, half of it shared by the pitches."""
        F = max(0, 1 + (len(wav_T) - features.FRAME_SAMPLES) // features.FRAME_HOP_SAMPLES)
        out_PFHK = np.zeros((len(pitches), F, PHASES, self.num_signs), np.float32)
        for phase in range(PHASES):
            part_T = wav_T[phase * features.FRAME_HOP_SAMPLES // PHASES :]
            if len(part_T) < features.FRAME_SAMPLES + (PATCH_FRAMES - 1) * features.FRAME_HOP_SAMPLES:
                continue
            power = features.power_spectrogram(
                torch.from_numpy(np.ascontiguousarray(part_T, np.float32))[None]
            )
            for number, pitch in enumerate(pitches):
                mel_MF = features.mel_filters(pitch) @ power[0]
                value_KF = self._along(moving(mel_MF)[None], "heard", 1)[0]
                out_PFHK[number, : value_KF.shape[1], phase] = value_KF.T.numpy()
        return out_PFHK.reshape(len(pitches), F * PHASES, self.num_signs)

    def _along(self, moving_BMF: torch.Tensor, which: str, stride: int) -> torch.Tensor:
        directions = cast(torch.Tensor, getattr(self, which))
        mean_K = cast(torch.Tensor, getattr(self, f"{which}_mean"))
        return functional.conv1d(moving_BMF, directions, -mean_K, stride=stride)


def moving(mel_MF: torch.Tensor) -> torch.Tensor:
    """Each frame's log power relative to the 64 frames around it, floored as a window's picture is."""
    level_1F = torch.log(_around(mel_MF.mean(dim=0, keepdim=True)) + features.SILENCE_POWER)
    shape_MF = (torch.log(mel_MF + features.SILENCE_POWER) - level_1F).clamp_min(features.FLOOR_NATS)
    return (shape_MF - _around(shape_MF)) / 2.0


def _around(value_MF: torch.Tensor) -> torch.Tensor:
    """The mean of the 64 frames around each frame, fewer at the ends."""
    F = value_MF.shape[1]
    sums = functional.pad(value_MF.double().cumsum(dim=1), (1, 0))
    frames = torch.arange(F)
    first, last = (frames - _HALF_WINDOW).clamp_min(0), (frames + _HALF_WINDOW).clamp_max(F)
    return ((sums[:, last] - sums[:, first]) / (last - first)).float()
