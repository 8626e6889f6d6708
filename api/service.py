"""The open service: registry, embedder, detector and settings as one object, for REST and the command line
alike.

    with Service.open(settings) as service:
        marked = service.mark_file(data)        # bytes of an audio file in, bytes of a marked one out
        detection = service.detect(data)        # the JSON object of POST /v1/detections, as a model

Safe to call from several threads. Everything here blocks; whoever has an event loop calls it from a worker
thread. Not here: HTTP, limits on concurrency (`api.workers`).
"""

import logging
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Self
from uuid import UUID

from api import detection, marking, releases, signing
from api.marked_stream import MarkedStream
from api.marking import MarkedFile, Origin
from api.schemas import Detection, GenerationRecord, Readiness
from api.settings import Settings
from audio import SAMPLE_RATE_HZ, DecodeLimits
from registry import NewGeneration, Registry, RegistryError
from registry.log import LogFiles
from watermark import Detector, Embedder, Key

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """Raises as its parts do: AudioError for bytes that are no usable audio, RegistryError,
    WatermarkError."""

    settings: Settings
    registry: Registry
    embedder: Embedder
    detector: Detector
    key_id: str  # public name of the watermark key
    release_index: int | None  # log entry of the detectors that judge; api/releases.py

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Load or create the key, open the registry (starting its database) and load the weights: seconds.

        A crash in here leaves at most a key file and an empty database, which the next start uses.
        """
        key = Key.load_or_create(settings.key_path)
        registry = open_registry(settings)
        detector = Detector.load(key=key)
        release_index = releases.log_release(registry, detector)
        return cls(settings, registry, Embedder.load(key=key), detector, key.key_id, release_index)

    def close(self) -> None:
        """Close the registry, and stop its database when this process is its last user. May be repeated."""
        self.registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def mark_file(
        self, data: bytes, origin: Origin | None = None, container: str | None = None
    ) -> MarkedFile:
        """Mark and register one audio file; see `api.marking`. `origin` says which engine spoke (None:
        unnamed), `container` what to write (None: as the file came)."""
        origin = origin or Origin()
        return marking.mark_file(data, origin, self.registry, self.embedder, self._limits, container)

    def open_stream(self, model: str) -> MarkedStream:
        """Begin a generation of our own speech by this model; see `api.marked_stream`."""
        new = NewGeneration("earmark", version("earmark"), model, SAMPLE_RATE_HZ)
        return MarkedStream.open(self.registry, self.embedder, new)

    def detect(self, data: bytes) -> Detection:
        """Judge one audio file and sign what was found; see `api.detection`. `.model_dump(mode="json")` is
        the object that REST answers."""
        found = detection.detect(data, self.registry, self.detector, self._limits)
        return signing.sign(releases.stamped(found, self.release_index), self.registry.log.key)

    def generation(self, generation_id: UUID) -> GenerationRecord:
        """The public facts of one generation. Raises UnknownGeneration."""
        return GenerationRecord.of(self.registry.generation(generation_id))

    def readiness(self, chat: str = "off") -> Readiness:
        """Whether each part works now: the database answers, the index is replayed, the disk has room.

        The key was loaded, or the service would not be open. `chat` is what whoever holds the model says of
        it: "ok", "off" when there is none, or what is wrong.
        """
        checks = {"key": "ok", "database": "ok", "index": "ok", "log": "ok", "disk": "ok", "chat": chat}
        try:
            self.registry.generations(limit=1)
        except RegistryError as exc:
            checks["database"] = str(exc)
        try:
            self.registry.index.catch_up()
        except RegistryError as exc:
            checks["index"] = str(exc)
        try:
            self.registry.log.checkpoint()
            self.registry.log.signer.last_signed()
        except RegistryError as exc:
            log.warning("the transparency log does not work: %s", exc)
            checks["log"] = "it takes no entries: the service's own log says why"
        folder = self.settings.data_dir if self.settings.data_dir.is_dir() else self.settings.key_path.parent
        if shutil.disk_usage(folder).free < self.settings.min_free_disk_bytes:
            checks["disk"] = f"less than {self.settings.min_free_disk_bytes / 1e6:.0f} MB are free"
        ready = all(value in ("ok", "off") for value in checks.values())
        return Readiness(status="ready" if ready else "not ready", checks=checks)

    @property
    def _limits(self) -> DecodeLimits:
        return DecodeLimits(
            max_duration_s=self.settings.max_duration_s,
            max_input_bytes=self.settings.max_body_bytes,
            max_decoded_bytes=self.settings.max_decoded_bytes,
        )


def open_registry(settings: Settings) -> Registry:
    """The registry of these settings, with its log in the data folder, wherever the database is."""
    url = settings.database_url
    location = url.get_secret_value() if url else settings.data_dir
    return Registry.open(location, log_files=LogFiles.in_folder(settings.data_dir, settings.log_signed_file))
