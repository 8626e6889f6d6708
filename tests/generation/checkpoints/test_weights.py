"""Weight files: what is refused, and how much memory loading takes."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from generation.checkpoints import Checkpoint, load_mimi, load_moshi
from generation.checkpoints.weights import WeightFile
from generation.errors import CheckpointError
from tests.generation.tiny import write_tiny_checkpoint


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


FOREIGN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "is empty"),
    "cut short": (cut, "cut short"),
    "cut in its header": (lambda data: data[:100], "cut short"),
    "a web page": (lambda data: b"<!DOCTYPE html><html>Entry not found</html>", "a web page"),
    "a zip pickle": (lambda data: b"PK\x03\x04" + bytes(100), "a pickle"),
    "a pickle": (lambda data: b"\x80\x02}q\x00." + bytes(100), "a pickle"),
    "GGUF": (lambda data: b"GGUF\x03\x00\x00\x00" + bytes(100), "Rust"),
    "a pointer": (lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "noise": (lambda data: bytes(range(256)), "no safetensors"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_holds_no_weights_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    """Each of these has been downloaded by somebody under the right name."""
    change, said = FOREIGN[name]
    checkpoint = Checkpoint.open(write_tiny_checkpoint(tmp_path))
    checkpoint.moshi_path.write_bytes(change(checkpoint.moshi_path.read_bytes()))
    with pytest.raises(CheckpointError, match=said) as caught:
        load_moshi(checkpoint)
    assert "\n" not in str(caught.value) and str(checkpoint.moshi_path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".ckpt"])
def test_a_pickle_is_refused_by_its_name(tmp_path: Path, suffix: str) -> None:
    """Before a byte of it is read."""
    with pytest.raises(CheckpointError, match="a pickle"):
        WeightFile(tmp_path / f"model{suffix}")


def test_a_missing_or_unreadable_file_is_refused(tmp_path: Path) -> None:
    """The operating system's words, with the path."""
    with pytest.raises(CheckpointError, match="No such file"):
        WeightFile(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="directory"):
        WeightFile(tmp_path)


def test_weights_of_another_size_are_refused_before_any_is_read(tmp_path: Path) -> None:
    """The first key that differs is named, with both shapes."""
    checkpoint = Checkpoint.open(write_tiny_checkpoint(tmp_path))
    state = load_file(checkpoint.mimi_path)
    state["downsample.conv.conv.conv.weight"] = torch.zeros(3, 3, 4)
    save_file(state, checkpoint.mimi_path)
    with pytest.raises(CheckpointError, match=r"downsample\.weight is \[3, 3, 4\] and not \[16, 16, 4\]"):
        load_mimi(checkpoint)


def test_missing_and_unknown_keys_are_named(tmp_path: Path) -> None:
    """A few of them: a file of another model has hundreds."""
    checkpoint = Checkpoint.open(write_tiny_checkpoint(tmp_path))
    state = load_file(checkpoint.moshi_path)
    del state["out_norm.alpha"]
    save_file({**state, **{f"more.{index}": torch.zeros(1) for index in range(5)}}, checkpoint.moshi_path)
    with pytest.raises(CheckpointError, match=r"lacks out_norm\.alpha; it has unknown more\.0.* and 2 more"):
        load_moshi(checkpoint)


def test_the_layouts_of_other_backends_are_recognised(tmp_path: Path) -> None:
    """The hub has three repositories for each model; two of them are for other programs."""
    checkpoint = Checkpoint.open(write_tiny_checkpoint(tmp_path))
    save_file({"depformer.slices.0.emb.weight": torch.zeros(1)}, checkpoint.moshi_path)
    with pytest.raises(CheckpointError, match="for MLX: take the -pytorch- repository"):
        load_moshi(checkpoint)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's mappings from /proc")
def test_on_a_cpu_the_weights_are_the_mapped_file(tmp_path: Path) -> None:
    """A second copy of a 7B model does not fit where one does."""
    checkpoint = Checkpoint.open(write_tiny_checkpoint(tmp_path))
    moshi = load_moshi(checkpoint)
    begin, end = _mapping(checkpoint.moshi_path)
    assert all(begin <= tensor.data_ptr() < end for tensor in moshi.state_dict().values())


def _mapping(path: Path) -> tuple[int, int]:
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line]
    ends = [int(address, 16) for line in lines for address in line[0].split("-")]
    return min(ends), max(ends)


def test_weights_are_cast_to_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    """The default is the file's own."""
    checkpoint = Checkpoint.open(write_tiny_checkpoint(tmp_path))
    assert {tensor.dtype for tensor in load_moshi(checkpoint).parameters()} == {torch.float32}
    cast = load_moshi(checkpoint, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in cast.parameters()} == {torch.bfloat16}
    assert load_moshi(checkpoint, dtype=torch.bfloat16, int8=True).text_emb.weight.dtype == torch.bfloat16


CHILD = """
import resource, sys, torch
from generation.checkpoints import Checkpoint, load_moshi
torch.set_num_threads(1)
checkpoint = Checkpoint.open(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
moshi = load_moshi(checkpoint)
sum(float(tensor.sum()) for tensor in moshi.parameters())  # every page is read once
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux's")
def test_loading_takes_the_memory_of_one_copy(tmp_path: Path) -> None:
    """Peak of a child process that loads 130 MB and reads every weight: a second copy would double it."""
    from generation.streaming import TransformerConfig

    temporal = TransformerConfig(dim=512, num_layers=10, num_heads=8, feed_forward=2112, context=64)
    folder = write_tiny_checkpoint(tmp_path, temporal=temporal)
    size = (folder / "model.safetensors").stat().st_size
    assert size > 100e6
    answer = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)], capture_output=True, text=True, check=True
    )
    assert float(answer.stdout) < 1.2 * size


def test_tensors_that_the_file_does_not_align_are_read_and_unknown_dtypes_are_refused(tmp_path: Path) -> None:
    """Only some writers pad the header; a view of a float cannot begin anywhere."""
    header = {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "U64", "shape": [1], "data_offsets": [8, 16]},
    }
    encoded = json.dumps(header).encode()
    encoded += b" " * ((1 - len(encoded)) % 4)  # the data begin one byte past a multiple of four
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + struct.pack("<ffQ", 1.5, -2.0, 7))
    file = WeightFile(path)
    assert file.read("a").tolist() == [1.5, -2.0]
    with pytest.raises(CheckpointError, match="b is U64"):
        file.read("b")


@pytest.mark.parametrize("populates", [True, False])
def test_reading_ahead_ends_whether_or_not_the_system_can_fill_a_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, populates: bool
) -> None:
    """Kernels before 5.14 refuse the advice; then the file is read."""
    file = WeightFile(Checkpoint.open(write_tiny_checkpoint(tmp_path)).moshi_path)
    read: list[bool] = []
    monkeypatch.setattr(file, "_read_through", lambda: read.append(True))
    if not populates:
        monkeypatch.setattr("generation.checkpoints.weights.MADV_POPULATE_READ", 12345)
    file._bring_in()
    assert bool(read) is not populates
