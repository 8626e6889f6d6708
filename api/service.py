"""The open service: registry, embedder, detector and settings as one object, for REST and the command line
alike.

    with Service.open(settings) as service:
        marked = service.mark_file(data)        # bytes of an audio file in, bytes of a marked one out
        detection = service.detect(data)        # the JSON object of POST /v1/detections, as a model

Safe to call from several threads. Everything here blocks; whoever has an event loop calls it from a worker
thread. Not here: HTTP, limits on concurrency (`api.workers`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from api import detection, listing, marking, readiness, releases, signing
from api.access.accounts import Accounts, Visitor
from api.access.budget import NearDuplicates
from api.access.certainty import present
from api.access.secret import ServerSecret
from api.compute import Children, Ear
from api.evidence import software_version
from api.marked_stream import MarkedStream
from api.marking import MarkedFile, Origin
from api.recognition import IssuedMarks
from api.schemas import Detection, GenerationPage, GenerationRecord, Readiness
from api.settings import Settings
from audio import SAMPLE_RATE_HZ, DecodeLimits
from registry import GenerationFilter, NewGeneration, Registry
from registry.log import LogFiles
from watermark import Detector, Embedder, Key, load_public


@dataclass(frozen=True)
class Service:
    """Raises as its parts do: AudioError for bytes that are no usable audio, RegistryError,
    WatermarkError."""

    settings: Settings
    registry: Registry
    embedder: Embedder
    detector: Detector
    issued: IssuedMarks  # what an unread mark is recognised among
    key_id: str  # public name of the watermark key
    release_index: int | None  # log entry of the detectors that judge; api/releases.py
    secret: ServerSecret
    accounts: Accounts
    near_duplicates: NearDuplicates
    on_detection: Callable[[Detection], None]  # told of each finding, with its numbers
    children: Children | None  # who compute; None: this process alone

    @classmethod
    def open(
        cls,
        settings: Settings,
        on_detection: Callable[[Detection], None] = lambda _: None,
        children: Children | None = None,
    ) -> Self:
        """Load or create key and secret, open the registry (starting its database) and load the weights:
        seconds. `children` compute for it, and stay the caller's to end.

        A crash in here leaves at most both files and an empty database, which the next start uses.
        """
        secret = ServerSecret.load_or_create(settings.server_secret_path)
        key = Key.load_or_create(settings.key_path)
        public = load_public(settings.public_weights)
        registry = open_registry(settings)
        detector = Detector(key, public)
        if children is not None:
            children.set_key(key)
        return cls(
            settings=settings,
            registry=registry,
            embedder=Embedder(key, public),
            detector=detector,
            issued=IssuedMarks(key, registry),
            key_id=key.key_id,
            release_index=releases.log_release(registry, detector),
            secret=secret,
            accounts=Accounts(registry.keys, secret),
            near_duplicates=NearDuplicates(),
            on_detection=on_detection,
            children=children,
        )

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
        new = NewGeneration("earmark", software_version(), model, SAMPLE_RATE_HZ)
        return MarkedStream.open(self.registry, self.embedder, new)

    def detect(self, data: bytes, visitor: Visitor | None = None, num_peaks: int | None = None) -> Detection:
        """Judge one audio file and sign what was found; see `api.detection`. `.model_dump(mode="json")` is
        the object that REST answers.

        `visitor` is who asks over REST: their budget is spent (TooManyRequests), and who has no key gets
        words for numbers; what is signed is what is answered. None: the operator, on the command line.
        `num_peaks`: the answer has an outline of the waveform of as many numbers.
        """
        found = detection.detect(
            data,
            Ear(self.detector, self.registry, self.children),
            self.issued,
            self._limits,
            lambda wav_T: self._spend(visitor, wav_T),
            num_peaks,
        )
        self.on_detection(found)
        stamped = releases.stamped(found, self.release_index)
        shown = present(stamped, exact=visitor is None or not visitor.caller.is_anonymous)
        return signing.sign(shown, self.registry.log.key)

    def _spend(self, visitor: Visitor | None, wav_T: NDArray[np.float32]) -> None:
        if visitor is not None:
            anonymous, chosen = visitor.caller.is_anonymous, self.settings
            budget = (
                chosen.near_duplicates_per_hour_address if anonymous else chosen.near_duplicates_per_hour_key
            )
            self.near_duplicates.spend(visitor.name, wav_T, budget)

    def generation(self, generation_id: UUID) -> GenerationRecord:
        """The public facts of one generation. Raises UnknownGeneration."""
        found = self.registry.generation(generation_id)
        return GenerationRecord.of(found, self.registry.standing([generation_id])[generation_id])

    def generations(
        self, limit: int, after: UUID | None, wanted: GenerationFilter, receipts: bool = False
    ) -> GenerationPage:
        """One page of at most `limit`, newest first, after the generation `after`. Raises
        UnknownGeneration."""
        found = self.registry.generations(limit, after, wanted)
        rows = listing.listed(self.registry, found, receipts=receipts)
        is_last = len(found) < limit
        return GenerationPage(generations=rows, next_cursor=None if is_last else found[-1].generation_id)

    def readiness(self, chat: str = "off", voice: str = "off") -> Readiness:
        """Whether each part works now (api/readiness.py). `chat` is what whoever holds the model says of it:
        "ok", "off" when there is none, or what is wrong; `voice` the same of what says texts."""
        checks = {**readiness.checks(self), "chat": chat, "voice": voice}
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
    return Registry.open(
        settings.location, log_files=LogFiles.in_folder(settings.data_dir, settings.log_signed_file)
    )
