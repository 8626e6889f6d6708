"""Save and load the index: data files named by position, and a manifest that says which of them count.

    (1) write <name>-<position>.npy beside the old ones: temporary name, fsync, rename
    (2) write manifest.json the same way; from its rename on the new snapshot is the one that loads
    (3) remove the data files of older snapshots

A crash in (1) or before the rename of (2) leaves the old snapshot; one in (3) leaves files that nobody reads
and the next save removes. Every file is checked against the SHA-256 in the manifest before a byte of it is
interpreted. PostgreSQL holds the truth, so a snapshot that does not check is refused, never repaired.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from audio.durable import write_durably
from registry.errors import IndexUnavailable

_FORMAT = 1
_NAMES = ("starts", "ordinals", "windows", "faiss")


@dataclass(frozen=True)
class Header:
    """What the manifest says about the index itself."""

    position: int
    num_windows: int
    num_foreign: int
    weights_sha256: str | None
    exact_windows: int


def write(folder: Path, header: Header, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Replace the snapshot in `folder`. Raises IndexUnavailable when the disk does not take it."""
    digests: dict[str, str] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _NAMES:  # (1)
            buffer = io.BytesIO()
            np.save(buffer, arrays[name], allow_pickle=False)
            digests[_file(name, header)] = hashlib.sha256(buffer.getbuffer()).hexdigest()
            _put(folder / _file(name, header), buffer.getvalue())
        manifest = {"format": _FORMAT, "faiss": faiss.__version__, **asdict(header), "sha256": digests}
        _put(folder / "manifest.json", json.dumps(manifest, indent=1).encode())  # (2)
        for path in folder.glob("*.npy*"):  # (3)
            if path.name not in digests:
                path.unlink(missing_ok=True)
    except OSError as exc:
        raise IndexUnavailable(f"the index snapshot cannot be written to {folder}: {exc}") from exc


def read(folder: Path, weights_sha256: str | None) -> tuple[Header, dict[str, NDArray[Any]]]:
    """The snapshot's header and arrays. Raises FileNotFoundError (none there) or IndexUnavailable
    (unusable)."""
    manifest_bytes = (folder / "manifest.json").read_bytes()
    try:
        manifest = json.loads(manifest_bytes)
        header = Header(**{name: manifest[name] for name in Header.__dataclass_fields__})
        if manifest["format"] != _FORMAT:
            raise IndexUnavailable(
                f"the snapshot has format {manifest['format']}, this version reads {_FORMAT}"
            )
        if weights_sha256 is not None and header.weights_sha256 not in (None, weights_sha256):
            raise IndexUnavailable("the snapshot was made with other fingerprint weights")
        return header, {name: _array(folder, name, header, manifest["sha256"]) for name in _NAMES}
    except (OSError, ValueError, KeyError, TypeError, EOFError) as exc:
        raise IndexUnavailable(f"the index snapshot in {folder} is damaged: {exc!r}") from exc


def faiss_index(serialised: NDArray[np.uint8], num_windows: int) -> faiss.Index:
    """The Faiss index of a snapshot whose hash was checked. Raises IndexUnavailable."""
    try:
        index = faiss.deserialize_index(serialised)
    except RuntimeError as exc:
        raise IndexUnavailable(f"this version of Faiss does not read the snapshot: {exc}") from exc
    if index.ntotal != num_windows:
        raise IndexUnavailable(f"the snapshot holds {index.ntotal} windows, its manifest says {num_windows}")
    return index


def _array(folder: Path, name: str, header: Header, digests: Mapping[str, str]) -> NDArray[Any]:
    content = (folder / _file(name, header)).read_bytes()
    if hashlib.sha256(content).hexdigest() != digests[_file(name, header)]:
        raise IndexUnavailable(f"{_file(name, header)} is not the file that was saved")
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def _file(name: str, header: Header) -> str:
    return f"{name}-{header.position}.npy"


def _put(path: Path, content: bytes) -> None:
    write_durably(path, lambda file: file.write(content))
