"""Keep the mark a fixed number of decibels below the speech, with what has come so far and no look-ahead.

    gain[f]  = 10 ** (-snr_db / 20) * sqrt(speech power / mark power),   powers over the last 200 ms, decaying
    out[t]   = mark[t] * gain, which runs in a straight line from gain[f - 1] to gain[f] within frame f

A training that sees its mark at this loudness needs no perceptual loss to keep it quiet, and cannot trade
loudness for detection. In a pause the mark dies away with the speech.
Source: fixed SDR as in SilentCipher (Singh et al., 2024); differs: causal, frame by frame.
Dimension key: B streams, T samples, F frames, K frames of memory.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from watermark.audioseal.config import HOP_SAMPLES

MEMORY_FRAMES = 15  # 200 ms
_DECAY = 0.8  # a frame; 60 ms
_FLOOR = 1e-9  # of power: below it a mark is numerical noise and is not amplified


@dataclass
class LoudnessState:
    """Powers of the frames before this one, and the gain where it left off."""

    speech_BK: Tensor
    mark_BK: Tensor
    gain_B1: Tensor

    @classmethod
    def fresh(cls, num_streams: int, device: torch.device | str = "cpu") -> "LoudnessState":
        """Before the first sample: silence."""
        silence_BK = torch.zeros(num_streams, MEMORY_FRAMES - 1, device=device)
        return cls(silence_BK, silence_BK, torch.zeros(num_streams, 1, device=device))


def follow(state: LoudnessState, speech_BT: Tensor, mark_BT: Tensor, snr_db: float) -> Tensor:
    """The mark at its loudness [B, T]; `state` moves on. T is in whole frames."""
    B, T = mark_BT.shape
    speech_BF, state.speech_BK = _recent_power(state.speech_BK, speech_BT)
    mark_BF, state.mark_BK = _recent_power(state.mark_BK, mark_BT)
    gain_BF = 10.0 ** (-snr_db / 20.0) * torch.sqrt((speech_BF + 1e-12) / (mark_BF + _FLOOR))
    edges_BF = torch.cat([state.gain_B1, gain_BF], dim=1)
    state.gain_B1 = gain_BF[:, -1:]
    ramp_S = torch.arange(1, HOP_SAMPLES + 1, device=mark_BT.device) / HOP_SAMPLES
    steps_BF1 = (edges_BF[:, 1:] - edges_BF[:, :-1])[:, :, None]
    gain_BFS = edges_BF[:, :-1, None] + steps_BF1 * ramp_S
    return mark_BT * gain_BFS.reshape(B, T)


def _recent_power(before_BK: Tensor, wav_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Decaying mean of the power at each frame [B, F], and the memory for the next call."""
    B, T = wav_BT.shape
    power_BF = wav_BT.reshape(B, T // HOP_SAMPLES, HOP_SAMPLES).square().mean(dim=2)
    longer_BF = torch.cat([before_BK, power_BF], dim=1)
    weights_K = _DECAY ** torch.arange(MEMORY_FRAMES - 1, -1, -1, device=wav_BT.device)
    kernel = (weights_K / weights_K.sum())[None, None]
    mean_BF = functional.conv1d(longer_BF[:, None], kernel)[:, 0]
    return mean_BF, longer_BF[:, longer_BF.shape[1] - MEMORY_FRAMES + 1 :]
