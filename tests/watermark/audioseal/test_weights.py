"""The file of a public mark: written, read, and refused when it is not one."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.watermark.audioseal.conftest import ANY_NULL, TINY, TINY_PUBLISHED, made_weights
from watermark import WeightsError
from watermark.audioseal.config import SealConfig
from watermark.audioseal.weights import PublicWeights


@pytest.mark.parametrize("config", [TINY, TINY_PUBLISHED])
def test_what_is_written_is_what_is_read(tmp_path: Path, config: SealConfig) -> None:
    weights = made_weights(tmp_path, config)
    assert (weights.config, weights.null, weights.origin) == (config, ANY_NULL, "random numbers")
    stored = load_file(tmp_path / "public_mark.safetensors")
    for name, network in (("generator", weights.generator), ("detector", weights.detector)):
        for key, value in network.state_dict().items():
            assert torch.equal(stored.pop(f"{name}.{key}"), value)
    assert not stored


def _foreign(path: Path) -> None:
    save_file({"a": torch.ones(2)}, path, {"format": "pt"})


def _of_another_shape(path: Path) -> None:
    tensors = load_file(path)
    tensors["detector.detector.1.bias"] = torch.ones(3)
    header = path.read_bytes()
    metadata = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"]
    save_file(tensors, path, metadata)


DAMAGE = {
    "foreign": _foreign,
    "another shape": _of_another_shape,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "no header": lambda path: path.write_bytes(b"hello"),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_no_public_mark_is_refused_in_words(tmp_path: Path, damage: str) -> None:
    made_weights(tmp_path, TINY)
    DAMAGE[damage](tmp_path / "public_mark.safetensors")
    with pytest.raises(
        WeightsError, match="is not a file of a public mark; make one with `earmark watermark"
    ):
        PublicWeights.load(tmp_path / "public_mark.safetensors")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent cannot be read \(No such file"):
        PublicWeights.load(tmp_path / "absent")
