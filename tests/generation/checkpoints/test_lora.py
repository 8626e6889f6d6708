"""LoRA files: fused and not, against the published code; what does not fit is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from generation.checkpoints import Checkpoint, load_moshi
from generation.errors import CheckpointError
from generation.moshi import Moshi, Sampling, Stepper
from generation.streaming.lora import LoraLinear
from tests.generation.checkpoints import oracle

RANK, SCALING = 2, 2.0
FIELDS: dict[str, Any] = oracle.LM | {"lora": True, "lora_rank": RANK, "lora_scaling": SCALING}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint and a LoRA file, in the names that the package gives them."""
    theirs = oracle.new_lm(oracle.LM)
    oracle.write(tmp_path, FIELDS | {"lora_name": "lora.safetensors"}, theirs, oracle.new_mimi())
    oracle.lora.replace_all_linear_with_lora(theirs, RANK, SCALING)
    torch.manual_seed(5)
    halves = {k: torch.randn_like(v) / 4 for k, v in theirs.state_dict().items() if ".lora_" in k}
    save_file(halves, tmp_path / "lora.safetensors")
    return tmp_path


def change(folder: Path, **tensors: Tensor | None) -> None:
    """Add tensors to the LoRA file, or take them away."""
    state: dict[str, Tensor | None] = load_file(folder / "lora.safetensors") | tensors
    save_file({k: v for k, v in state.items() if v is not None}, folder / "lora.safetensors")


def text_logits(model: Moshi) -> Tensor:
    """Of two frames, and all audio logits: every linear map has a part in them."""
    torch.manual_seed(6)
    codes_BRF = torch.randint(0, 5, (1, model.config.num_rows, 6))
    with torch.no_grad():
        text_BFV, audio_BKFV = model(codes_BRF)
    return torch.cat([text_BFV.flatten(), audio_BKFV.flatten()])


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_logits_are_those_of_the_published_code(folder: Path, fuse: bool) -> None:
    """Every linear map of the model has its change, the sets of the depth transformer one each."""
    theirs = oracle.loaders.get_moshi_lm(
        folder / "model.safetensors",
        lm_kwargs=FIELDS,
        dtype=torch.float32,
        lora_weights=folder / "lora.safetensors",
        fuse_lora=fuse,
    )
    torch.manual_seed(6)
    codes_BRF = torch.randint(0, 5, (1, 17, 6))
    with torch.no_grad():
        out = theirs(codes_BRF)
    expected = torch.cat([out.text_logits[:, 0].flatten(), out.logits.flatten()])
    ours = load_moshi(Checkpoint.open(folder), fuse_lora=fuse)
    assert fuse == (not any(isinstance(module, LoraLinear) for module in ours.modules()))
    torch.testing.assert_close(text_logits(ours), expected, atol=1e-4, rtol=0, equal_nan=True)


def test_a_change_that_is_kept_apart_streams_as_one_that_is_fused(folder: Path) -> None:
    """Stacked sets take another path in a step than in a whole pass."""
    tokens = []
    for fuse in (True, False):
        stepper = Stepper(load_moshi(Checkpoint.open(folder), fuse_lora=fuse), 1)
        state = stepper.open()
        stepper.begin_row(state, 0, Sampling.greedy(), None)
        heard_BK = torch.zeros(1, 8, dtype=torch.long)
        tokens.append([stepper.push(state, heard_BK).tokens_BR.tolist() for _ in range(6)])
    assert tokens[0] == tokens[1]


def test_older_files_have_the_sets_stacked(folder: Path) -> None:
    """`in_proj.lora_A.weight` in place of `in_projs.{i}.lora_A.weight`."""
    expected = text_logits(load_moshi(Checkpoint.open(folder)))
    state = load_file(folder / "lora.safetensors")
    stacked: dict[str, list[Tensor]] = {}
    for key in sorted(state):  # fewer than ten sets: the order of their numbers
        parts = key.split("projs.")
        name = f"{parts[0]}proj.{parts[1].split('.', 1)[1]}" if len(parts) == 2 else key
        stacked.setdefault(name, []).append(state[key])
    save_file({name: torch.cat(tensors) for name, tensors in stacked.items()}, folder / "lora.safetensors")
    torch.testing.assert_close(text_logits(load_moshi(Checkpoint.open(folder))), expected, equal_nan=True)


@pytest.mark.parametrize("fuse", [True, False])
def test_a_whole_tensor_takes_the_place_of_the_models(folder: Path, fuse: bool) -> None:
    """Fine-tuning may train embeddings as a whole."""
    change(folder, **{"text_emb.weight": torch.ones(313, 32)})
    assert load_moshi(Checkpoint.open(folder), fuse_lora=fuse).text_emb.weight.eq(1).all()


def test_a_file_may_change_some_maps_only(folder: Path) -> None:
    """The others stay as they are, with no change beside them."""
    state = load_file(folder / "lora.safetensors")
    save_file({k: v for k, v in state.items() if k.startswith("linears.0.")}, folder / "lora.safetensors")
    ours = load_moshi(Checkpoint.open(folder), fuse_lora=False)
    assert [name for name, module in ours.named_modules() if isinstance(module, LoraLinear)] == ["linears.0"]


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"linears.0.lora_A.weight": None}, r"lacks linears\.0\.lora_A\.weight"),
        ({"linears.0.lora_A.weight": torch.zeros(3, 16)}, r"is \[3, 16\] and not \[2, 16\]"),
        ({"linears.9.lora_A.weight": torch.zeros(2, 16)}, r"unknown linears\.9"),
        ({"surprise": torch.zeros(1)}, "unknown surprise"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(folder: Path, tensors: dict[str, Any], said: str) -> None:
    """As weights are; a change of another model would only sound strange."""
    change(folder, **tensors)
    with pytest.raises(CheckpointError, match=said):
        load_moshi(Checkpoint.open(folder))


def test_int8_weights_take_the_change_in(folder: Path) -> None:
    """Rounding comes last; beside them it cannot stay."""
    checkpoint = Checkpoint.open(folder)
    fused, rounded = load_moshi(checkpoint), load_moshi(checkpoint, int8=True)
    scb_O = rounded.text_linear.weight_scb
    torch.testing.assert_close(scb_O, fused.text_linear.weight.abs().amax(dim=1))
    with pytest.raises(ValueError, match="take a LoRA change in"):
        load_moshi(checkpoint, int8=True, fuse_lora=False)
    (folder / "model.safetensors").rename(folder / "model.q8.safetensors")
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | {"quantize": True}))
    with pytest.raises(CheckpointError, match="LoRA on int8"):
        Checkpoint.open(folder)
