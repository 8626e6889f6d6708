"""Segments on disk: files named by their SHA-256, and a manifest that says which of them count.

    (1) write <sha256>.segment for each segment that is not there yet and whole: hidden name, fsync, rename
    (2) write manifest.json the same way; from its rename on the new list is the one that loads
    (3) remove every other file: segments that were merged, leftovers of crashes

A crash in (1) or before the rename of (2) leaves the old list and files that the next (3) removes; one in (3)
leaves such files. Any number of processes may share a folder: they read under a shared lock and write under
an exclusive one, and a file that is removed stays readable for who has it mapped. Every byte is checked
before it is interpreted. PostgreSQL holds the truth: what does not check is refused, never repaired.
"""

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audio.durable import sync_folder, write_durably
from registry.errors import IndexUnavailable
from registry.index.segment import Segment

_FORMAT = 2  # 1: whole snapshots, written at close
_MANIFEST, _LOCK, _ENDING = "manifest.json", "lock", ".segment"


@dataclass(frozen=True)
class Manifest:
    """Which segments hold every change up to a position."""

    position: int  # of the changelog
    num_foreign: int  # windows of other weights up to there
    weights_sha256: str | None
    segments: tuple[str, ...]  # SHA-256 of each file, oldest windows first


class SegmentStore:
    """One folder of one registry, for any number of processes. Methods are called with its lock held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the folder's lock, which ends with the process that holds it. Raises `IndexUnavailable`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def manifest(self) -> Manifest | None:
        """None when nothing was ever published here. Raises `IndexUnavailable` when it is not whole."""
        try:
            content = (self.folder / _MANIFEST).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise IndexUnavailable(f"the manifest in {self.folder} cannot be read: {exc}") from exc
        try:
            stored = json.loads(content)
            if stored["format"] != _FORMAT:
                raise IndexUnavailable(
                    f"the index in {self.folder} has format {stored['format']}, this version reads {_FORMAT}"
                )
            body = stored["index"]
            if stored["sha256"] != _digest(body):
                raise IndexUnavailable(f"the manifest in {self.folder} is not the one that was saved")
            return Manifest(**{**body, "segments": tuple(body["segments"])})
        except (ValueError, KeyError, TypeError) as exc:
            raise IndexUnavailable(f"the manifest in {self.folder} is damaged: {exc!r}") from exc

    def segment(self, sha256: str) -> Segment:
        """Map a segment and check its hash: 0.1 s for 20 MB. Raises `IndexUnavailable`."""
        path = self.folder / f"{sha256}{_ENDING}"
        try:
            with path.open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise IndexUnavailable(f"{path} is not the file that was saved")
            return Segment.map(content, sha256)
        except (OSError, ValueError) as exc:
            raise IndexUnavailable(f"the segment {path} is damaged: {exc}") from exc

    def holds(self, segment: Segment) -> bool:
        """Whether the segment has a file and it is there."""
        return segment.sha256 is not None and (self.folder / f"{segment.sha256}{_ENDING}").exists()

    def put(self, segment: Segment) -> Segment:
        """Write a segment (1); returns what was written, mapped. Raises `IndexUnavailable`."""
        content = segment.dump()
        sha256 = hashlib.sha256(content).hexdigest()
        with contextlib.suppress(IndexUnavailable):  # not there, or damaged, which is written again
            return self.segment(sha256)
        try:
            write_durably(self.folder / f"{sha256}{_ENDING}", lambda file: file.write(content))
        except OSError as exc:
            raise self._unwritable(exc) from exc
        return self.segment(sha256)

    def publish(self, manifest: Manifest) -> None:
        """Make this list the one that loads (2) (3). Raises `IndexUnavailable`; then the old one stays."""
        body = asdict(manifest)
        stored = {"format": _FORMAT, "index": body, "sha256": _digest(body)}
        content = json.dumps(stored, indent=1).encode()
        try:
            write_durably(self.folder / _MANIFEST, lambda file: file.write(content))
            kept = {_MANIFEST, _LOCK, *(f"{sha256}{_ENDING}" for sha256 in manifest.segments)}
            for path in self.folder.iterdir():
                if path.name not in kept and path.is_file():
                    path.unlink(missing_ok=True)
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def unpublish(self) -> None:
        """Nothing loads from here on; the next `publish` removes the segments. Raises `IndexUnavailable`."""
        try:
            (self.folder / _MANIFEST).unlink(missing_ok=True)
            sync_folder(self.folder)
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def _unwritable(self, exc: OSError) -> IndexUnavailable:
        return IndexUnavailable(f"the index cannot be written to {self.folder}: {exc}")


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
