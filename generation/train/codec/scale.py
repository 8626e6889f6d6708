"""Start every convolution with outputs of unit variance, measured on a batch.

PyTorch's usual bounds shrink a signal by about 1.7 a layer, and what leaves the encoder then says nothing for
hundreds of steps: after 200 the distance stood at 2.8, and at 2.4 so (docs/LOG.md).
Source: Mishkin, Matas, 2016, "All you need is a good init"; differs: no orthogonal step.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from generation.mimi import Mimi
from generation.streaming import CausalConv, CausalConvTranspose

LAST_SCALE = 0.1  # of the samples: speech is quiet; of what a vocoder's convolutions change


@torch.no_grad()
def scale_convolutions(codec: Mimi, wav_BT: Tensor) -> None:
    """Changes the weights and sets biases to zero. `wav_BT` is a batch of speech in whole frames."""
    part = codec.decoder if codec.config.vocoder else codec
    convs = [module for module in part.modules() if isinstance(module, (CausalConv, CausalConvTranspose))]
    for conv in convs:
        if conv.bias is not None:
            conv.bias.zero_()
        vars(conv)["push"] = _scaling(conv)
    state = codec.open(len(wav_BT))
    latents_BFE = codec.latents(state, wav_BT)
    if codec.config.vocoder:  # whose encoder and codebooks are there already
        latents_BFE = codec.quantizer.decode(codec.quantizer.encode(latents_BFE, codec.num_codebooks))
    codec.sound(state, latents_BFE)
    for conv in convs:
        del vars(conv)["push"]
    *_, last = (module for module in codec.decoder.modules() if isinstance(module, CausalConv))
    last.weight.mul_(LAST_SCALE)


def _scaling(conv: CausalConv | CausalConvTranspose) -> Callable[..., Tensor]:
    """`push` that brings the weight to scale by what it just gave; without a bias both are in proportion."""
    push = conv.push

    def scaled(*args: Any) -> Tensor:
        y_BTC = push(*args)
        scale = y_BTC.std().clamp(min=1e-6)
        conv.weight.div_(scale)
        return y_BTC / scale

    return scaled
