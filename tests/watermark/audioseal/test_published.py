"""The published layout, written by us with random weights, becomes networks that give the same mark."""

from pathlib import Path
from typing import Any

import pytest
import torch
from audioseal.libs.moshi.utils.compile import no_compile
from audioseal.loader import convert_state_dict_for_scriptable_model, load_state_dict
from omegaconf import OmegaConf
from torch import Tensor

from tests.watermark.audioseal.conftest import TINY, TINY_PUBLISHED
from watermark import WeightsError
from watermark.audioseal.config import SealConfig
from watermark.audioseal.network import build_detector, build_generator
from watermark.audioseal.published import DETECTOR_FILE, GENERATOR_FILE, read_networks


def _published_state(network: torch.nn.Module) -> dict[str, Tensor]:
    """As training wrote it: no `inner_conv` in the names, convolutions under weight normalisation."""
    state: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        if ".inner_conv." not in key:
            state[key] = value
            continue
        name = key.replace(".inner_conv.", ".")
        if name.endswith(".bias"):
            state[name] = value
        else:
            norm = value.flatten(1).norm(dim=1).reshape(-1, 1, 1)
            state[f"{name}_g"], state[f"{name}_v"] = norm, value * 3.0  # the direction's length means nothing
    return state


def publish(folder: Path, config: SealConfig, wrap: Any) -> dict[str, torch.nn.Module]:
    torch.manual_seed(2)
    networks: dict[str, torch.nn.Module] = {
        "generator": build_generator(config),
        "detector": build_detector(config),
    }
    for name, network in zip((GENERATOR_FILE, DETECTOR_FILE), networks.values(), strict=True):
        torch.save(wrap(_published_state(network)), folder / name)
    return networks


WRAPPINGS = {
    "best_state": lambda state: {"best_state": {"model": state}, "xp.cfg": OmegaConf.create({"nbits": 16})},
    "model": lambda state: {"model": state, "epoch": 7},
    "flat": lambda state: state,
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_published_files_become_the_networks_that_were_saved(tmp_path: Path, wrapping: str) -> None:
    saved = publish(tmp_path, TINY_PUBLISHED, WRAPPINGS[wrapping])
    read = read_networks(tmp_path / GENERATOR_FILE, tmp_path / DETECTOR_FILE, TINY_PUBLISHED)
    for name, network in saved.items():
        for key, value in network.state_dict().items():
            assert torch.allclose(read[name].state_dict()[key], value, atol=1e-6), key


def test_the_packages_own_loader_reads_the_same_numbers(tmp_path: Path) -> None:
    """The oracle: its renaming and its folding of weight normalisation, on the same file's weights."""
    saved = publish(tmp_path, TINY_PUBLISHED, WRAPPINGS["flat"])
    state = _published_state(saved["generator"])
    theirs = build_generator(TINY_PUBLISHED)
    with pytest.warns(FutureWarning, match="weight_norm"):
        load_state_dict(theirs, convert_state_dict_for_scriptable_model(state))
    read = read_networks(tmp_path / GENERATOR_FILE, tmp_path / DETECTOR_FILE, TINY_PUBLISHED)
    ours: Any = read["generator"]
    wav, bits = torch.randn(1, 1, 3200) * 0.1, torch.ones(1, 16)
    with torch.inference_mode(), no_compile():
        assert torch.allclose(
            ours.get_watermark(wav, message=bits), theirs.get_watermark(wav, message=bits), atol=1e-6
        )


def test_networks_of_another_shape_are_refused(tmp_path: Path) -> None:
    publish(tmp_path, TINY, WRAPPINGS["flat"])
    with pytest.raises(WeightsError, match=r"generator_streaming\.pth holds other networks"):
        read_networks(tmp_path / GENERATOR_FILE, tmp_path / DETECTOR_FILE, TINY_PUBLISHED)


@pytest.mark.parametrize(
    "content", [{}, {"model": {}}, [1, 2], {"best_state": {"model": {"weight": 3}}}, "text"]
)
def test_a_file_without_weights_is_refused(tmp_path: Path, content: Any) -> None:
    for name in (GENERATOR_FILE, DETECTOR_FILE):
        torch.save(content, tmp_path / name)
    with pytest.raises(WeightsError, match="holds no weights"):
        read_networks(tmp_path / GENERATOR_FILE, tmp_path / DETECTOR_FILE)
