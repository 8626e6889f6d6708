"""What goes into the registry and what comes out about one generation, and how its two ids are drawn.

Plain data: nothing here knows the database. Source of the id: RFC 9562, sec. 5.7 (UUID version 7).
"""

import json
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from registry.errors import RegistryInputError
from registry.tables import CONTENT_ID_BITS, GenerationState


@dataclass(frozen=True)
class NewGeneration:
    """What is known before the first sample. Raises `RegistryInputError` when a field is not usable."""

    system: str  # what speaks or marks, for example "earmark"
    system_version: str
    model: str
    sample_rate_hz: int  # of the source, before it is fingerprinted at 24 kHz
    metadata: Mapping[str, Any] = field(default_factory=dict)  # JSON; never personal data

    def __post_init__(self) -> None:
        for name in ("system", "system_version", "model"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value or not _is_storable(value):
                raise RegistryInputError(f"{name} must be a text that is not empty, not {value!r}")
        if not _is_storable(dict(self.metadata)):
            raise RegistryInputError(
                "metadata must be JSON: texts without NUL, finite numbers, lists, objects"
            )
        if not 0 < self.sample_rate_hz < 1 << 31:
            raise RegistryInputError(f"sample_rate_hz must be positive, not {self.sample_rate_hz}")


@dataclass(frozen=True)
class Generation:
    """One utterance as the registry knows it."""

    generation_id: uuid.UUID  # UUIDv7, public
    content_id: int  # 48 bits, carried by the watermark
    state: GenerationState
    created_at: datetime  # UTC
    finished_at: datetime | None  # UTC; None while open
    system: str
    system_version: str
    model: str
    sample_rate_hz: int
    duration_s: float  # fingerprinted so far while open; what is known to have been released when aborted
    pcm_sha256: str | None  # hex; of the float32 little-endian samples at 24 kHz; None unless complete
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class GenerationFilter:
    """Which generations are listed; None asks nothing. Raises `RegistryInputError` for a text or time that
    cannot be asked about."""

    created_from: datetime | None = None  # aware; this moment and later
    created_before: datetime | None = None  # aware; earlier than this moment
    model: str | None = None  # exactly
    state: GenerationState | None = None

    def __post_init__(self) -> None:
        for name in ("created_from", "created_before"):
            at = getattr(self, name)
            if at is not None:
                object.__setattr__(self, name, _in_utc(at))
        if self.model is not None and not _is_storable(self.model):
            raise RegistryInputError("the model to filter by is no text that could be stored")


EVERY_GENERATION = GenerationFilter()


def uuid7(unix_ms: int | None = None) -> uuid.UUID:
    """A UUID that sorts by time: 48 bits of Unix milliseconds, 74 random bits. Source: RFC 9562, sec. 5.7.

    Made here and not by `uuidv7()`, which PostgreSQL has only from version 18 on.
    """
    unix_ms = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    random_74 = secrets.randbits(74)
    high_12, low_62 = random_74 >> 62, random_74 & ((1 << 62) - 1)
    return uuid.UUID(int=unix_ms << 80 | 0x7 << 76 | high_12 << 64 | 0b10 << 62 | low_62)


def draw_content_id() -> int:
    """48 random bits."""
    return secrets.randbits(CONTENT_ID_BITS)


def _in_utc(at: datetime) -> datetime:
    """The same moment as PostgreSQL takes it: it refuses offsets beyond 16 hours, which RFC 3339 allows."""
    if at.tzinfo is None:
        raise RegistryInputError("a time to filter by must say its offset, such as 2026-11-25T10:00:00Z")
    try:
        return at.astimezone(UTC)
    except OverflowError as exc:
        raise RegistryInputError("a time to filter by must lie in the years 1 to 9999") from exc


def _is_storable(value: object) -> bool:
    # What jsonb refuses: not a number, NUL, lone surrogates (the encode).
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return "\\u0000" not in text
