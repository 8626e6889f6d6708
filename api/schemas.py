"""The JSON of the service: what `POST /v1/detections` and `GET /v1/generations/{id}` answer, and problems.

Numbers are numbers; times are seconds from the start of the audio, or RFC 3339 UTC; absent is null. Nothing
here can hold an account, a name or an address: a content id is opaque, and a generation shows public facts
only."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.verdict import Verdict
from registry import Generation, GenerationState
from registry.log import Standing

CONTENT_ID_PATTERN = "^[0-9a-f]{12}$"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Technique(StrEnum):
    """The four sources of evidence, never fused into one number."""

    WATERMARK_KEYED = "watermark_keyed"
    WATERMARK_PUBLIC = "watermark_public"
    FINGERPRINT = "fingerprint"
    REGISTRY = "registry"


class Outcome(StrEnum):
    """How a technique answered."""

    FOUND = "found"
    NOT_FOUND = "not_found"
    INCONCLUSIVE = "inconclusive"  # the audio cannot speak; `reason` says why
    NOT_APPLICABLE = "not_applicable"  # there was nothing for it to do; `reason` says why
    ERROR = "error"  # it failed; `reason` says how


class Certainty(StrEnum):
    """How sure a technique that found something is; the limits are in api/access/certainty.py."""

    HIGH = "high"  # audio of others looks like this less than once in 10^6
    MODERATE = "moderate"  # less than once in 10^3
    LOW = "low"  # more often, or the technique has no calibrated number


class Precision(StrEnum):
    """Whether an answer has its numbers."""

    EXACT = "exact"
    COARSE = "coarse"  # for callers without a key: `certainty` in place of scores and probabilities


class UrlInput(_Model):
    """A file that the service fetches itself, in place of an upload."""

    url: str = Field(min_length=8, max_length=2048, description="http or https, on the public internet.")


class SpeechText(_Model):
    """What a server is asked to say, and how."""

    text: str = Field(min_length=1, max_length=20_000, description="English.", examples=["Good morning."])
    style: str | None = Field(None, max_length=100, description="null: the voice's usual one.")
    voice: str | None = Field(None, max_length=100, description="null: the usual one.")
    seed: int | None = Field(None, ge=0, lt=2**53, description="Says it again in the same way.")


class DetectorVersion(_Model):
    """Which detector said so; `weights_sha256` is null for one without weights."""

    name: str
    version: str
    weights_sha256: str | None
    log_index: int | None = Field(
        default=None, description="Log entry of this release; null: the log took none when the service began."
    )


class Segment(_Model):
    """A span of the audio, in seconds from its start."""

    start_s: float
    end_s: float
    score: float | None
    content_id: str | None = Field(default=None, pattern=CONTENT_ID_PATTERN)
    content_id_false_alarm_probability: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The content id was not read but recognised among those issued here: how often one of "
        "them would fit as well by chance. null: it was read, or there is none; or who asks has no key.",
    )
    generation_id: UUID | None = None
    offset_s: float | None = Field(default=None, description="Place in the generation of start_s.")


class ScoreAt(_Model):
    """How strongly one second of the audio shows what was found."""

    at_s: float = Field(description="The middle of the second.")
    score: float


class Evidence(_Model):
    """What one technique says, with how sure it is. `false_alarm_probability` is for the whole audio."""

    technique: Technique
    outcome: Outcome
    reason: str | None = Field(
        default=None,
        description="Why it is inconclusive, not_applicable or error; of what was found, what else is known.",
    )
    detector: DetectorVersion
    score: float | None
    threshold: float | None
    false_alarm_probability: float | None = Field(ge=0, le=1)
    certainty: Certainty | None = Field(default=None, description="When it was found: how sure, in a word.")
    segments: list[Segment] = []
    scores: list[ScoreAt] | None = Field(
        default=None, description="Of the keyed mark, when it was found: over time. Null without a key."
    )


class AudioInput(_Model):
    """What was judged. The hash is of the bytes as they were sent, and is kept nowhere."""

    sha256: str
    bytes: int
    container: str
    codec: str
    duration_s: float
    channels: int
    sample_rate_hz: int


class GenerationFacts(_Model):
    """What anyone may know of a generation."""

    generation_id: UUID
    content_id: str = Field(pattern=CONTENT_ID_PATTERN)
    created_at: datetime
    system: str
    system_version: str
    model: str
    withdrawn_at: datetime | None = Field(
        description="When it was withdrawn, for the reason that the log gives; null: never."
    )

    @classmethod
    def of(cls, generation: Generation, standing: Standing) -> "GenerationFacts":
        return cls(**_facts(generation, standing))


class GenerationRecord(GenerationFacts):
    """A generation as `GET /v1/generations/{id}` shows it: its facts, state and length, and where the log has
    it."""

    state: GenerationState
    finished_at: datetime | None
    duration_s: float
    log_index: int | None = Field(
        description="Of the newest log entry about it; `/v1/log/proof/{id}` proves it. null: not public yet."
    )

    @classmethod
    def of(cls, generation: Generation, standing: Standing) -> Self:
        return cls(
            **_facts(generation, standing),
            state=generation.state,
            finished_at=generation.finished_at,
            duration_s=generation.duration_s,
            log_index=standing.log_index,
        )


class ListedGeneration(GenerationRecord):
    """A row of `GET /v1/generations`."""

    receipt: str | None = Field(
        default=None, description="With `receipts=true`: the C2SP tlog-proof of that entry, without salt."
    )


class GenerationPage(_Model):
    """One page of `GET /v1/generations`, newest first."""

    generations: list[ListedGeneration]
    next_cursor: UUID | None = Field(description="`cursor` of the next page; null: this is the last.")


class Retention(_Model):
    """Submitted audio lives in memory only, until this time."""

    audio_deleted_at: datetime


class Detection(_Model):
    """The answer of POST /v1/detections and of `earmark verify --json`."""

    id: UUID
    created_at: datetime
    verdict: Verdict
    verdict_reason: str
    input: AudioInput
    waveform: list[float] | None = Field(
        default=None, description="With `waveform=N`: N peaks in [0, 1], evenly spaced over the audio."
    )
    precision: Precision = Precision.EXACT
    evidence: list[Evidence]
    generation: GenerationFacts | None = Field(
        description="The generation that the audio, or a part of it, is attributed to; null when it is "
        "attributed to none, also when a mark names one."
    )
    limits: list[str]
    retention: Retention
    signature: str | None = Field(
        default=None,
        description="A line of the log's key over the canonical JSON (RFC 8785) of all other members.",
    )


class SignatureCheck(_Model):
    """The answer of POST /v1/detections/check: whether this service signed the result, and why not."""

    valid: bool
    signed_by: str | None = Field(description="The public key, null when it is not valid.")
    reason: str | None
    detail: str | None


class Problem(BaseModel):
    """RFC 9457 problem details. Further members depend on `type`."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class Alive(_Model):
    """The process answers."""

    status: str = "alive"


class Readiness(_Model):
    """Each part that must work for the service to work; `checks` maps its name to "ok" or to what is
    wrong."""

    status: str
    checks: dict[str, str]


def content_id_hex(content_id: int) -> str:
    """48 bits as twelve hex digits, the form of every public answer."""
    return f"{content_id:012x}"


def _facts(generation: Generation, standing: Standing) -> dict[str, Any]:
    return {
        "generation_id": generation.generation_id,
        "content_id": content_id_hex(generation.content_id),
        "created_at": generation.created_at,
        "system": generation.system,
        "system_version": generation.system_version,
        "model": generation.model,
        "withdrawn_at": standing.withdrawn_at,
    }
