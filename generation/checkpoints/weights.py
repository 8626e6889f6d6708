"""Weights from a safetensors file into a model that has no memory yet.

The file is mapped, not read: on a CPU, a tensor that keeps its dtype *is* the mapping, and its pages come in
when they are first used. Anything else is converted and moved tensor by tensor. So a model is in memory once,
and loading takes no longer than reading the file.

Keys and shapes are compared in full before the first tensor is touched; a file that does not fit leaves
nothing behind. A mapped file must not be cut short while the model lives: replace it, as downloads do.
Pickles are never opened.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from generation.checkpoints.names import Source
from generation.errors import CheckpointError

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".th", ".pkl")
_PICKLE = "a pickle, which can run any code when it is read: convert it to safetensors"
_BEGINNINGS = {
    b"PK\x03\x04": _PICKLE,
    b"\x80": _PICKLE,
    b"GGUF": "for the Rust backend (GGUF): take the -pytorch- repository",
    b"version https://git-lfs": "a Git LFS pointer and not weights: run `git lfs pull`",
    b"<": "a web page and not weights: download it again",
}
_OTHER_LAYOUTS = {
    "audio_embs.": "for MLX: take the -pytorch- repository",
    "depformer.slices.": "for MLX: take the -pytorch- repository",
    "depformer.0.": "for the Rust backend: take the -pytorch- repository",
    "encoder.layers.": "in the layout of transformers: take the file of a -pytorch- repository",
}
SHOWN = 3  # keys in a message
READ_AHEAD_BYTES = 2**24


class WeightFile:
    """A mapped safetensors file. Raises CheckpointError when it is missing, cut short or something else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._check_beginning()
            opener: Any = safe_open
            self._file = opener(path, framework="pt", device="cpu")
            self.keys: tuple[str, ...] = tuple(self._file.keys())
        except OSError as exc:
            raise CheckpointError(f"{path} cannot be read: {exc.strerror or exc}") from exc
        except SafetensorError as exc:
            raise CheckpointError(
                f"{path} is cut short or no safetensors file ({exc}): download it again"
            ) from exc

    def _check_beginning(self) -> None:
        if self.path.suffix in PICKLES:
            raise CheckpointError(f"{self.path} is {_PICKLE}")
        with self.path.open("rb") as file:
            beginning = file.read(32)
        if not beginning:
            raise CheckpointError(f"{self.path} is empty: download it again")
        for magic, what in _BEGINNINGS.items():
            if beginning.startswith(magic) and beginning[8:9] != b"{":
                raise CheckpointError(f"{self.path} is {what}")

    def read(self, key: str) -> Tensor:
        """The tensor, as a view of the mapping."""
        tensor: Tensor = self._file.get_tensor(key)
        return tensor

    def read_ahead(self) -> None:
        """Read the whole file once, in order, in a thread, while the model is built.

        The system keeps what was read, and the mapping finds it there: page by page, as they are first used,
        a cold file comes slower (docs/LOG.md). The thread ends with the file's last byte or the process.
        """
        Thread(target=self._read_through, name="read-ahead", daemon=True).start()

    def _read_through(self) -> None:
        buffer = bytearray(READ_AHEAD_BYTES)
        with self.path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self._file.get_slice(key).get_shape())

    @property
    def dtype(self) -> torch.dtype:
        """Of what is not rounded: the text embedding's; float32 where there is none."""
        name = "text_emb.weight"
        return self.read(name).dtype if name in self.keys else torch.float32

    def refuse(self, reason: str) -> CheckpointError:
        """The error for a file whose content does not fit."""
        for prefix, what in _OTHER_LAYOUTS.items():
            if any(key.startswith(prefix) for key in self.keys):
                return CheckpointError(f"{self.path} is {what}")
        return CheckpointError(f"{self.path} is not of the model that its configuration describes: {reason}")


Convert = Callable[[str, Tensor], Tensor]


def check(file: WeightFile, sources: Mapping[str, Source], model: nn.Module) -> None:
    """Raises CheckpointError when the file has a key too few, too many or of another shape than `model`."""
    expected = model.state_dict()
    check_names(file, missing=expected.keys() - sources.keys(), unexpected=sources.keys() - expected.keys())
    for name, source in sources.items():
        check_shape(file, name, source.shape(file), tuple(expected[name].shape))


def check_names(file: WeightFile, *, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Raises CheckpointError when either is not empty, with the first of them."""
    said = []
    for what, names in (("lacks", sorted(missing)), ("has unknown", sorted(unexpected))):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            said.append(f"it {what} {', '.join(names[:SHOWN])}{more}")
    if said:
        raise file.refuse("; ".join(said))


def check_shape(file: WeightFile, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raises CheckpointError when they differ."""
    if found != expected:
        raise file.refuse(f"{name} is {list(found)} and not {list(expected)}")


def to(device: torch.device, dtype: torch.dtype | None) -> Convert:
    """Move, and cast what is floating point; None keeps the file's dtype. Nothing is copied in vain."""

    def convert(name: str, tensor: Tensor) -> Tensor:
        keep = dtype is None or not tensor.is_floating_point() or name.endswith("weight_scb")
        return tensor.to(device) if keep else tensor.to(device, dtype)

    return convert
