"""What torch wrote is read without its pickle being loaded; pickles that want more are refused."""

import io
import os
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from watermark import WeightsError
from watermark.audioseal.pth import read_pth


def _saved(folder: Path, content: Any) -> Path:
    torch.save(content, folder / "file.pth")
    return folder / "file.pth"


def _pickled(folder: Path, pickled: bytes, **entries: bytes) -> Path:
    """An archive as torch writes it, around a pickle of ours."""
    with zipfile.ZipFile(folder / "file.pth", "w") as archive:
        archive.writestr("file/data.pkl", pickled)
        for key, data in entries.items():
            archive.writestr(f"file/data/{key.removeprefix('_')}", data)
    return folder / "file.pth"


def test_tensors_come_out_as_torch_wrote_them(tmp_path: Path) -> None:
    """Each layout of a state dict: shared storage, strides, empty, scalar, parameter, four types."""
    base = torch.arange(24.0).reshape(4, 6)
    content = OrderedDict(
        whole=base,
        transposed=base.T,
        column=base[:, 3],
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(2.5),
        half=base.half(),
        brain=base.bfloat16(),
        counts=torch.tensor([1, 2]),
        parameter=torch.nn.Parameter(base + 1),
    )
    read = read_pth(_saved(tmp_path, content))
    assert list(read) == list(content)
    for name, value in content.items():
        assert read[name].dtype == value.dtype
        assert torch.equal(read[name], value.detach()), name


def test_a_state_dict_of_modules_is_read_with_its_version_attribute(tmp_path: Path) -> None:
    """`state_dict()` is a dict with an attribute, which a pickle sets by BUILD."""
    module = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 5), torch.nn.LSTM(3, 4))
    read = read_pth(_saved(tmp_path, {"model": module.state_dict(), "epoch": 3, "best": (0.5, None, True)}))
    assert read["epoch"] == 3 and read["best"] == (0.5, None, True)
    assert all(torch.equal(read["model"][key], value) for key, value in module.state_dict().items())


def test_settings_of_omegaconf_are_passed_over(tmp_path: Path) -> None:
    """What audiocraft stores beside its weights; torch's own restricted reader refuses the whole file."""
    settings = OmegaConf.create(
        {"seanet": {"ratios": [8, 5, 4, 2], "norm": "weight_norm", "lr": 1e-4, "a": None}}
    )
    read = read_pth(_saved(tmp_path, {"xp.cfg": settings, "model": {"weight": torch.ones(3)}}))
    assert torch.equal(read["model"]["weight"], torch.ones(3))


class _Runs:
    """What an attacker writes: unpickling this calls whatever it likes."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


def test_a_file_that_wants_to_run_something_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    """The file is a real attack: its pickle asks for os.system and for it to be called."""
    proof = tmp_path / "proof"
    path = _saved(tmp_path, {"weight": torch.ones(3), "extra": _Runs(os.system, f"touch {proof}")})
    with zipfile.ZipFile(path) as archive:
        steps = [(op.name, argument) for op, argument, _ in pickletools.genops(archive.read("file/data.pkl"))]
    asked = steps.index(("GLOBAL", "posix system"))
    assert "REDUCE" in [name for name, _ in steps[asked:]]
    with pytest.raises(WeightsError, match=r"names posix\.system, which no weights need"):
        read_pth(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "function", [eval, exec, getattr, __import__, open, np.load, torch.save, zipfile.ZipFile, io.open_code]
)
def test_no_function_is_let_through(tmp_path: Path, function: Any) -> None:
    with pytest.raises(WeightsError, match="is not read: it names"):
        read_pth(_saved(tmp_path, {"extra": _Runs(function, "x")}))


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02ctorch\nFloatStorage\n)R.",  # calls a name that is known, but is no function
        b"\x80\x02(itorch\nload\n.",  # INST, an old way to call
        b"\x80\x02(ctorch\nload\no.",  # OBJ, another
        b"\x80\x02\x82\x01.",  # an extension code: a global by number
        b"\x80\x02cbuiltins\ndict\n\x85R.",  # arguments that are not there
        b"\x80\x02X\x01\x00\x00\x00aQ.",  # a persistent id that is no storage
        b"\x80\x02}",  # no end
        b"\x80\x02h\x05.",  # from a memory that was never written
        b"\x80\x02s.",  # pops what is not there
        b"",
        b"not a pickle",
    ],
)
def test_crooked_pickles_are_refused_in_words(tmp_path: Path, pickled: bytes) -> None:
    with pytest.raises(WeightsError, match=r"file\.pth"):
        read_pth(_pickled(tmp_path, pickled))


def test_an_error_names_the_file_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(WeightsError, match=r"text\.pth is no \.pth file, or damaged: download it again"):
        read_pth(tmp_path / "text.pth")
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        read_pth(tmp_path / "absent.pth")


@pytest.mark.parametrize("cut", [0.3, 0.9, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, cut: float) -> None:
    path = _saved(tmp_path, {"weight": torch.randn(1000)})
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(WeightsError):
        read_pth(path)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (9,), (1,)),
        (1, (8,), (1,)),
        (0, (2, 5), (4, 1)),
        (0, (8,), (2,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
    ],
)
def test_a_tensor_that_leaves_its_storage_is_refused(
    tmp_path: Path, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    """Reading beyond the storage would show this process's memory in the weights."""

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x08tQ"
    arguments = b"(" + storage + number(offset) + numbers(size) + numbers(stride) + b"\x89Nt"
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R."
    pickletools.dis(pickled, out=io.StringIO())  # the test's own pickle is well formed
    with pytest.raises(WeightsError):
        read_pth(_pickled(tmp_path, pickled, _0=np.arange(8, dtype=np.float32).tobytes()))
