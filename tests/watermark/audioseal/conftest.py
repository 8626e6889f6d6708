"""Networks of the public mark with random weights, small enough to run in milliseconds."""

from dataclasses import replace
from pathlib import Path

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


@pytest.fixture(scope="session", params=[TINY, TINY_PUBLISHED], ids=["ours", "published"])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PublicWeights:
    return made_weights(tmp_path_factory.mktemp("weights"), request.param)
