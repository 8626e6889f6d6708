"""The open service: registry, embedder, detector and settings as one object, for REST and the command line alike.

    with Service.open(settings) as service:
        marked = service.mark_file(data)        # bytes of an audio file in, bytes of a marked one out
        detection = service.detect(data)        # the JSON object of POST /v1/detections, as a model

Safe to call from several threads. Everything here blocks; whoever has an event loop calls it from a worker
thread. Not here: HTTP, limits on concurrency (`api.workers`).
"""

from types import TracebackType
from typing import Self

from api.marking import MarkedFile, Origin
from api.schemas import Detection
from api.settings import Settings


class Service:
    """Raises as its parts do: AudioError for bytes that are no usable audio, RegistryError, WatermarkError."""

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Load or create the key, open the registry (starting its database) and load the weights: seconds."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the registry, and stop its database when this process is its last user. May be repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def mark_file(self, data: bytes, origin: Origin | None = None) -> MarkedFile:
        """Mark and register one audio file; see `api.marking`. `origin` says which engine spoke (None: unnamed)."""
        raise NotImplementedError

    def detect(self, data: bytes) -> Detection:
        """Judge one audio file; see `api.detection`. `.model_dump(mode="json")` is the object that REST answers."""
        raise NotImplementedError
