"""Weights from a safetensors file into a model that has no memory yet.

The file is mapped, not read: on a CPU, a tensor that keeps its dtype *is* the mapping, and its pages come in
when they are first used. Anything else is converted and moved tensor by tensor. So a model is in memory once,
and loading takes no longer than reading the file.

Keys and shapes are compared in full before the first tensor is touched; a file that does not fit leaves
nothing behind. A mapped file must not be cut short while the model lives: replace it, as downloads do.
Pickles are never opened.
"""

import ctypes
import json
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
READ_AHEAD_BYTES = 2**26
MADV_POPULATE_READ = 22  # linux/mman.h
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class WeightFile:
    """A mapped safetensors file. Raises CheckpointError when it is missing, cut short or something else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._check_beginning()
            opener: Any = safe_open
            with opener(path, framework="pt", device="cpu"):
                pass  # the library checks the header against the file's length
            self._entries, self._data_start = _header(path)
            self._bytes = torch.from_file(
                str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8
            )
        except OSError as exc:
            raise CheckpointError(f"{path} cannot be read: {exc.strerror or exc}") from exc
        except SafetensorError as exc:
            raise CheckpointError(
                f"{path} is cut short or no safetensors file ({exc}): download it again"
            ) from exc

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._entries)

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
        """The tensor, as a view of the mapping; a copy where the file did not align it.

        One mapping for all: the library makes a storage for each tensor, 2.2 ms apiece and most of the time
        of loading a cached file. Raises CheckpointError for a dtype that no checkpoint here uses.
        """
        entry = self._entries[key]
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise CheckpointError(f"{self.path}: {key} is {entry['dtype']}, which cannot be read here")
        first, last = (self._data_start + offset for offset in entry["data_offsets"])
        raw = self._bytes[first:last]
        return (raw.clone() if first % dtype.itemsize else raw).view(dtype).view(entry["shape"])

    def read_ahead(self) -> None:
        """Bring the whole file in, in order, in a thread, while the model is built.

        Left to the first uses, a cold file comes page by page and slower (docs/LOG.md). The thread ends with
        the file's last byte or the process.
        """
        Thread(target=self._bring_in, name="read-ahead", daemon=True).start()

    def _bring_in(self) -> None:
        """Fill the mapping's pages, which copies nothing; where the system cannot (before Linux 5.14), read
        the file, so that they come from its cache."""
        size, address = self._bytes.numel(), self._bytes.data_ptr()
        madvise = getattr(ctypes.CDLL(None), "madvise", None)
        for start in range(0, size, READ_AHEAD_BYTES):
            length = ctypes.c_size_t(min(READ_AHEAD_BYTES, size - start))
            if madvise is None or madvise(ctypes.c_void_p(address + start), length, MADV_POPULATE_READ):
                return self._read_through()
        return None

    def _read_through(self) -> None:
        buffer = bytearray(READ_AHEAD_BYTES)
        with self.path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self._entries[key]["shape"])

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


def _header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """{name: {dtype, shape, data_offsets}} in the order of the file, and where the data begin.

    The format: eight bytes, little endian, say how long the JSON is that follows them. The library has
    checked it.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    return entries, 8 + length


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
