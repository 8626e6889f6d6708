"""A discriminator that looks at complex spectrograms at several scales.

Dimension key: B clips, T samples, F frames, K bins.
Source: EnCodec (Defossez et al., 2022, sec. 3.4, fig. 2): 2-D convolutions 3 x 9, dilated 1, 2, 4 in time,
stride 2 in frequency. Differs: widths are settings, leaky ReLU 0.2 as there, three scales by default.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

SCALES = (2048, 1024, 512)


class StftDiscriminator(nn.Module):
    """One scale: [B, T] to a map of scores and the features on the way."""

    def __init__(self, window: int, filters: int) -> None:
        super().__init__()
        self.window = window
        convs = [nn.Conv2d(2, filters, (3, 9), padding=(1, 4))]
        convs += [
            nn.Conv2d(filters, filters, (3, 9), stride=(1, 2), dilation=(time, 1), padding=(time, 4))
            for time in (1, 2, 4)
        ]
        convs += [nn.Conv2d(filters, filters, (3, 3), padding=1)]
        self.convs = nn.ModuleList(weight_norm(conv) for conv in convs)
        self.score = weight_norm(nn.Conv2d(filters, 1, (3, 3), padding=1))

    def forward(self, wav_BT: Tensor) -> tuple[Tensor, list[Tensor]]:
        taper = torch.hann_window(self.window, device=wav_BT.device)
        spectrum_BKF = torch.stft(
            wav_BT, self.window, self.window // 4, window=taper, normalized=True, return_complex=True
        )
        x = torch.view_as_real(spectrum_BKF).permute(0, 3, 2, 1)
        features = []
        for conv in self.convs:
            x = functional.leaky_relu(conv(x), 0.2)
            features.append(x)
        return self.score(x), features


class Discriminator(nn.Module):
    """All scales."""

    def __init__(self, filters: int, scales: tuple[int, ...] = SCALES) -> None:
        super().__init__()
        self.scales = nn.ModuleList(StftDiscriminator(window, filters) for window in scales)

    def forward(self, wav_BT: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Scores of each scale, and all features in one list."""
        scores, features = [], []
        for scale in self.scales:
            score, some = scale(wav_BT)
            scores.append(score)
            features += some
        return scores, features
