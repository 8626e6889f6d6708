"""int8 weights: what the rounded weights say, and how far that is from the model itself."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from generation.checkpoints import Checkpoint, load_moshi
from generation.checkpoints.checkpoint import MOSHI_INT8_NAME, MOSHI_NAME
from generation.checkpoints.maps import linear_maps
from generation.moshi import Moshi, Sampling, Stepper
from generation.streaming import int8
from generation.streaming.int8 import Int8Linear, int8_linear, quantize
from tests.generation.tiny import write_tiny_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path)


def dequantized(folder: Path) -> Moshi:
    """The model with weights `W scb / 127` in float32."""
    moshi = load_moshi(Checkpoint.open(folder))
    for place in linear_maps(moshi):
        weight_OI, scb_O = quantize(place.linear.weight)
        place.linear.weight.data = weight_OI * scb_O[:, None] / 127
    return moshi


def tokens(moshi: Moshi, num: int = 12) -> list[list[list[int]]]:
    stepper = Stepper(moshi, 2)
    state = stepper.open()
    for row in range(2):
        stepper.begin_row(state, row, Sampling.greedy(), None)
    heard_BK = torch.arange(16).view(2, 8)
    return [stepper.push(state, heard_BK).tokens_BR.tolist() for _ in range(num)]


def test_rounded_on_loading_it_says_what_the_rounded_weights_say(folder: Path) -> None:
    """Stacked sets, gates, heads and embeddings' projections: each map takes its own factors."""
    rounded = load_moshi(Checkpoint.open(folder), int8=True)
    assert not list(linear_maps(rounded))
    assert rounded.open(1).rings[0].keys_BGRD.dtype == torch.float32
    assert tokens(rounded) == tokens(dequantized(folder))


@pytest.mark.parametrize("spelling", ["in_proj_weight", "in_projs"])
def test_an_int8_checkpoint_is_read_as_it_was_written(folder: Path, spelling: str) -> None:
    """`quantize: true`, weights int8 and `weight_scb` beside them, in both spellings."""
    expected = load_moshi(Checkpoint.open(folder), int8=True)
    _write_q8(folder, load_file(folder / MOSHI_NAME), stacked=spelling == "in_proj_weight")
    checkpoint = Checkpoint.open(folder)
    read = load_moshi(checkpoint)
    assert checkpoint.int8 and checkpoint.moshi_path.name == MOSHI_INT8_NAME
    state = read.state_dict()
    assert all(tensor.equal(state[name]) for name, tensor in expected.state_dict().items())
    assert tokens(read, 4) == tokens(expected, 4)
    cast = load_moshi(checkpoint, dtype=torch.bfloat16)
    assert cast.text_linear.weight_scb.dtype == torch.float32, "published code refuses a cast factor"


def _write_q8(folder: Path, state: dict[str, Tensor], *, stacked: bool) -> None:
    """What the published code saves: every linear map rounded, embeddings and norms not."""
    q8: dict[str, Tensor] = {}
    for key, tensor in state.items():
        linear = tensor.dim() == 2 and "emb" not in key
        name = key
        if "in_proj_weight" in key and not stacked:
            sets = tensor.chunk(8) if key.startswith("depformer") else [tensor]
            for index, part in enumerate(sets):
                name = key.replace("in_proj_weight", f"in_projs.{index}.weight")
                q8[name], q8[name + "_scb"] = quantize(part)
        elif linear:
            q8[name], q8[name + "_scb"] = quantize(tensor)
        else:
            q8[name] = tensor
    save_file(q8, folder / MOSHI_INT8_NAME)
    (folder / MOSHI_NAME).unlink()
    fields = json.loads((folder / "config.json").read_text())
    del fields["moshi_name"]
    (folder / "config.json").write_text(json.dumps(fields | {"quantize": True}))


def test_a_weight_is_rounded_to_a_127th_of_its_rows_largest() -> None:
    """By hand: half away from even is not at stake, the largest is 127, a row of zeros stays one."""
    weight_OI, scb_O = quantize(torch.tensor([[1.0, -2.0, 0.5, 0.008], [0.0, 0.0, 0.0, 0.0]]))
    assert weight_OI.tolist() == [[64, -127, 32, 1], [0, 0, 0, 0]]  # 63.5, 31.75, 0.508
    assert scb_O.tolist() == [2.0, 0.0]


@pytest.mark.parametrize("num_rows", [1, 2, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_in_blocks_is_the_product(
    num_rows: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a last block that is not full, and inputs of more than two dimensions."""
    monkeypatch.setattr(int8, "BLOCK", 64)
    torch.manual_seed(0)
    weight_OI, scb_O = quantize(torch.randn(37, 16))
    x = torch.randn(num_rows, 1, 16).to(dtype)
    expected = x.float() @ (weight_OI * scb_O[:, None] / 127).t()
    y = int8_linear(x, weight_OI, scb_O)
    assert y.dtype == dtype and y.shape == (num_rows, 1, 37)
    torch.testing.assert_close(y.float(), expected, atol=1e-4 if dtype == torch.float32 else 0.1, rtol=0)


def test_a_rounded_map_is_a_small_error_away() -> None:
    """At most half a step in each weight; on random weights below 1 % of what the map gives."""
    torch.manual_seed(0)
    weight_OI, x = torch.randn(64, 512), torch.randn(32, 512)
    y = int8_linear(x, *quantize(weight_OI))
    expected = x @ weight_OI.t()
    assert (y - expected).norm() < 0.01 * expected.norm()


def test_a_map_takes_a_quarter_of_the_memory_of_float32() -> None:
    """And four bytes for each output."""
    assert sum(buffer.nbytes for buffer in Int8Linear(64, 128, torch.float32).buffers()) == 128 * (64 + 4)
