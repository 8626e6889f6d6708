"""Networks of the public mark with random weights, small enough to run in milliseconds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from watermark.audioseal.config import PUBLISHED, SealConfig
from watermark.audioseal.network import build_detector, build_generator
from watermark.audioseal.null import Null
from watermark.audioseal.weights import PublicWeights, write

TINY = SealConfig(16, 2, 8, (2, 4, 5, 8), 0, film=True, snr_db=20.0)
TINY_PUBLISHED = replace(PUBLISHED, filters=2, dimension=8)
"""The published layout, LSTM and all, with fewer channels."""
ANY_NULL = Null(1000, tuple(-0.1 * i for i in range(19)), 0.1)


def made_weights(folder: Path, config: SealConfig, null: Null = ANY_NULL) -> PublicWeights:
    """A weights file of random networks, written and read back."""
    torch.manual_seed(1)
    networks = {"generator": build_generator(config), "detector": build_detector(config)}
    write(folder / "public_mark.safetensors", config, networks, null, "random numbers")
    return PublicWeights.load(folder / "public_mark.safetensors")


CONSTANT_MESSAGE = 0xA5C3


def constant_mark(folder: Path) -> Path:
    """A public mark made by hand, that can be found: the mark is a constant, the detector takes means.

    Ten decibels below the speech; the message is always the same. Log-odds are 200 times the mean sample of
    speech at an RMS of 0.1: 0.5 to 1.2 without the mark in the shipped recordings, about 6 with it.
    """
    config = replace(TINY, film=False, snr_db=10.0)
    generator: Any = build_generator(config)
    detector: Any = build_detector(config)
    for parameter in [*generator.parameters(), *detector.parameters()]:
        parameter.data.zero_()
    generator.decoder.model[-1].conv.conv.inner_conv.bias.data.fill_(1.0)
    encoder, reader = detector.detector
    for layer in encoder.model:
        if hasattr(layer, "pad_mode"):  # a convolution of the chain, not of a residual block
            weight = layer.conv.conv.inner_conv.weight.data
            weight[0, 0] = 1.0 / weight.shape[2]
    encoder.reverse_convolution.weight.data[0, 0] = 1.0
    reader.weight.data[1, 0] = 200.0
    for i in range(config.bits):
        reader.weight.data[2 + i, 0] = 200.0 if CONSTANT_MESSAGE >> (15 - i) & 1 else -200.0
    null = Null(1000, tuple(1.5 - 0.05 * i for i in range(19)), 0.2)
    path = folder / "constant.safetensors"
    write(path, config, {"generator": generator, "detector": detector}, null, "made by hand")
    return path


@pytest.fixture(scope="session", params=[TINY, TINY_PUBLISHED], ids=["ours", "published"])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PublicWeights:
    return made_weights(tmp_path_factory.mktemp("weights"), request.param)
