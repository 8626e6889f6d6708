"""The one place that composes watermark and registry."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Origin:
    """Which engine made the speech, as the marking caller says."""

    system: str = "unnamed"
    system_version: str = "unknown"
    model: str = "unknown"


@dataclass(frozen=True)
class MarkedFile:
    """A marked file that may be released, and under which ids the registry holds it."""

    data: bytes
    container: str  # "wav", "flac", "mp3", "ogg" or "m4a"
    media_type: str  # for the Content-Type header
    generation_id: UUID
    content_id: int  # 48 bits
    created_at: datetime  # aware UTC

    @property
    def content_id_hex(self) -> str:
        """Twelve hex digits, as in every public answer."""
        return f"{self.content_id:012x}"
