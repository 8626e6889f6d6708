"""The published AudioSeal networks, from their two `.pth` files to one calibrated file of ours.

    generator_streaming.pth, detector_streaming.pth -> read_pth -> names of today -> plain weights -> networks

The files were written by an older layout: convolutions had no `inner_conv`, and most were weight-normalised,
w = g * v / |v|, which is folded. Only the streaming (causal) variant is taken: the other cannot stream.
Source: audioseal/loader.py of audioseal 0.2.0; differs: no pickle is loaded, and every tensor must fit.
"""

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from watermark.audioseal.config import PUBLISHED, SealConfig
from watermark.audioseal.network import build_detector, build_generator
from watermark.audioseal.pth import read_pth
from watermark.errors import WeightsError

REPOSITORY = "facebook/audioseal"
GENERATOR_FILE, DETECTOR_FILE = "generator_streaming.pth", "detector_streaming.pth"

_WITHOUT_INNER = re.compile(r"\.(conv\.conv|convtr\.convtr)\.(?!inner_conv\.)")
_NORMALISED = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


def read_networks(
    generator_file: Path, detector_file: Path, config: SealConfig = PUBLISHED
) -> dict[str, nn.Module]:
    """`generator` and `detector` with the weights of the two files. Raises WeightsError."""
    states = [_plain(_todays_names(_state_of(path))) for path in (generator_file, detector_file)]
    networks: dict[str, nn.Module] = {
        "generator": build_generator(config),
        "detector": build_detector(config),
    }
    files = (generator_file, detector_file)
    for path, state, network in zip(files, states, networks.values(), strict=True):
        try:
            network.load_state_dict(state)
        except RuntimeError as exc:
            raise WeightsError(
                f"{path.name} holds other networks than AudioSeal's streaming ones: give "
                f"{GENERATOR_FILE} and {DETECTOR_FILE} as they were published"
            ) from exc
        network.eval().requires_grad_(False)
    return networks


def _state_of(path: Path) -> dict[str, Tensor]:
    """The weights, wherever the file keeps them: `best_state.model`, `model`, or at the top."""
    content = read_pth(path)
    for key in ("best_state", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = content if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsError(f"{path.name} holds no weights under any name that AudioSeal uses")
    return tensors


def _todays_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {_WITHOUT_INNER.sub(r".\1.inner_conv.", key): value.float() for key, value in state.items()}


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weight normalisation folded into the weights; its norm is over all but the first dimension."""
    plain = dict(state)
    for length_name, direction_name in _NORMALISED:
        for key in [key for key in plain if key.endswith(f".{length_name}")]:
            prefix = key.removesuffix(length_name)
            length, direction = plain.pop(key), plain.pop(f"{prefix}{direction_name}")
            norm = torch.linalg.vector_norm(direction.flatten(1), dim=1).reshape(length.shape)
            plain[f"{prefix}weight"] = direction * (length / norm)
    return plain
