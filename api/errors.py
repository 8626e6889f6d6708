"""What goes wrong at the edge, and the one table of status codes.

    ServiceError
    ├── BodyTooLarge           send a smaller file
    ├── UnsupportedMediaType   send audio/* or multipart/form-data
    ├── UploadError            the body is not what its headers say, or did not arrive in time
    ├── OriginError            system, system_version or model does not fit
    ├── Busy                   come back later
    ├── InvalidKey             the key is malformed, unknown, revoked or expired
    ├── MissingKey             send an API key
    ├── MissingScope           send a key that may do this
    ├── TooManyRequests        come back when it says
    ├── NoVoice                this server cannot speak
    ├── FetchError             the URL gives no file that we would read
    ├── RequestNameError       the Idempotency-Key does not fit
    ├── RequestConflict        the Idempotency-Key was used for another request
    ├── RequestAtWork          the request with this Idempotency-Key is being worked on
    ├── SecretFileError        the server's secret cannot be used; an operator must act
    └── MeasurementsError      the installation lacks the measured error rates; install it again

Errors of the packages below carry no status; here each gets one, as an RFC 9457 problem.
`audio.DecodeError` adds its typed `reason`. An exception that is not in the table is a fault of ours: a 500
that says nothing about it."""

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from audio import AudioError, AudioFormatError, DecodeError, DecodeFailure
from generation import GenerationError, SpeechRequestError
from registry import (
    DatabaseUnavailable,
    GenerationClosed,
    IndexUnavailable,
    LogDamaged,
    LogRefused,
    LogUnavailable,
    RegistryError,
    RegistryInputError,
    UnknownGeneration,
)
from watermark import SignalError, WatermarkError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:earmark:problem:"


class ServiceError(Exception):
    """Base of what api raises on purpose; the message says what to do."""


class BodyTooLarge(ServiceError):
    """More bytes than the limit arrived or were announced."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is larger than {limit_bytes} bytes; send a shorter or compressed file")
        self.limit_bytes = limit_bytes


class UnsupportedMediaType(ServiceError):
    """The Content-Type is neither audio nor a form."""


class UploadError(ServiceError):
    """The body cannot be read as what it claims to be."""


class OriginError(ServiceError):
    """What was said about the marked speech's engine cannot be stored."""


class Busy(ServiceError):
    """All workers and all waiting places are taken."""


class InvalidKey(ServiceError):
    """What was sent as an API key is none, or none that is valid."""


class MissingKey(ServiceError):
    """Nobody may do this without an API key."""


class MissingScope(ServiceError):
    """The key is valid, and not good for this."""


class TooManyRequests(ServiceError):
    """A rate limit or a budget is used up."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NoVoice(ServiceError):
    """Nothing was named that could say a text."""


class FetchFailure(StrEnum):
    """Why a URL gave no file. One word for all that a stranger's network may tell: no port scanner is
    ours."""

    BAD_URL = "bad_url"
    REFUSED = "address_refused"  # not on the public internet
    UNREACHABLE = "unreachable"
    BAD_ANSWER = "bad_answer"  # another status than 200, an encoding, no HTTP
    TOO_MANY_REDIRECTS = "too_many_redirects"
    TIMED_OUT = "timed_out"


class FetchError(ServiceError):
    """The file behind a URL was not fetched."""

    def __init__(self, reason: FetchFailure, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RequestNameError(ServiceError):
    """What was sent as Idempotency-Key cannot be one."""


class RequestConflict(ServiceError):
    """One Idempotency-Key, two different requests."""


class RequestAtWork(ServiceError):
    """One Idempotency-Key, and the first request is not answered yet."""


class SecretFileError(ServiceError):
    """The file with the server's secret cannot be used as it is."""


class MeasurementsError(ServiceError):
    """The file with a detector's measured error rates is missing or damaged."""


@dataclass(frozen=True)
class Kind:
    """One kind of problem: the stable code in its `type`, and its status."""

    code: str
    status: HTTPStatus
    title: str
    retry: bool = False  # answered with Retry-After
    detail: str | None = None  # said in place of the error's own sentence, which is for the operator

    @property
    def type_uri(self) -> str:
        return TYPE_PREFIX + self.code


INTERNAL = Kind("internal", HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed")
NOT_FOUND = Kind("not-found", HTTPStatus.NOT_FOUND, "There is nothing here")
METHOD = Kind("method-not-allowed", HTTPStatus.METHOD_NOT_ALLOWED, "This address takes other methods")
INVALID = Kind("invalid-request", HTTPStatus.UNPROCESSABLE_ENTITY, "A parameter does not fit")
BAD_REQUEST = Kind("bad-request", HTTPStatus.BAD_REQUEST, "The request cannot be read")
NOT_READY = Kind("not-ready", HTTPStatus.SERVICE_UNAVAILABLE, "The service is not ready", retry=True)
TOO_LARGE = Kind("body-too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The upload is too large")
TOO_LONG = Kind("audio-too-long", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The audio is too long")
MEDIA_TYPE_REFUSED = Kind(
    "unsupported-media-type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The content type is not accepted"
)
UNDECODABLE = Kind("undecodable-audio", HTTPStatus.UNPROCESSABLE_ENTITY, "The audio cannot be decoded")
NO_VOICE = Kind("no-voice", HTTPStatus.NOT_FOUND, "This server has no voice")
UNKNOWN_GENERATION = Kind("unknown-generation", HTTPStatus.NOT_FOUND, "There is no such generation")
BUSY = Kind("busy", HTTPStatus.SERVICE_UNAVAILABLE, "The service is busy", retry=True)
UNAVAILABLE = Kind(
    "unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "A part of the service is away",
    retry=True,
    detail="a part of the service does not answer: try again",  # the error names the database's host and user
)
INVALID_KEY = Kind("invalid-key", HTTPStatus.UNAUTHORIZED, "The API key is not valid")
MISSING_KEY = Kind("missing-key", HTTPStatus.UNAUTHORIZED, "An API key is needed")
MISSING_SCOPE = Kind("missing-scope", HTTPStatus.FORBIDDEN, "The API key is not good for this")
TOO_MANY = Kind("too-many-requests", HTTPStatus.TOO_MANY_REQUESTS, "Too many requests", retry=True)
NOT_FETCHED = Kind("url-not-fetched", HTTPStatus.UNPROCESSABLE_ENTITY, "The URL gives no file")
CONFLICT = Kind("idempotency-conflict", HTTPStatus.UNPROCESSABLE_ENTITY, "The Idempotency-Key was used")
AT_WORK = Kind("request-at-work", HTTPStatus.CONFLICT, "The same request is at work", retry=True)
LOG_UNAVAILABLE = Kind(
    "log-unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The transparency log takes no entry now",
    retry=True,
    detail="the log does not answer or takes no entry, and without it nothing is released: try again",
)

TABLE: tuple[tuple[type[Exception], Kind], ...] = (
    (BodyTooLarge, TOO_LARGE),
    (UnsupportedMediaType, MEDIA_TYPE_REFUSED),
    (UploadError, BAD_REQUEST),
    (OriginError, INVALID),
    (Busy, BUSY),
    (InvalidKey, INVALID_KEY),
    (MissingKey, MISSING_KEY),
    (MissingScope, MISSING_SCOPE),
    (TooManyRequests, TOO_MANY),
    (NoVoice, NO_VOICE),
    (SpeechRequestError, INVALID),
    (FetchError, NOT_FETCHED),
    (RequestNameError, INVALID),
    (RequestConflict, CONFLICT),
    (RequestAtWork, AT_WORK),
    (SecretFileError, INTERNAL),
    (MeasurementsError, INTERNAL),
    (AudioFormatError, UNDECODABLE),
    (DecodeError, UNDECODABLE),
    (SignalError, UNDECODABLE),
    (UnknownGeneration, UNKNOWN_GENERATION),
    (RegistryInputError, INVALID),
    (DatabaseUnavailable, UNAVAILABLE),
    (IndexUnavailable, UNAVAILABLE),
    (LogUnavailable, LOG_UNAVAILABLE),
    (LogRefused, LOG_UNAVAILABLE),
    (LogDamaged, LOG_UNAVAILABLE),
    # Another process took this one for dead while it was marking; nothing was released.
    (GenerationClosed, UNAVAILABLE),
)
"""First match wins. Everything else, the other errors of the packages below included, is INTERNAL."""

EXPECTED = (ServiceError, AudioError, GenerationError, RegistryError, WatermarkError)
"""Bases of what is raised on purpose."""


def kind_of(exc: Exception) -> Kind:
    """The row of the table for an exception."""
    if isinstance(exc, DecodeError) and exc.reason is DecodeFailure.TOO_LONG:
        return TOO_LONG
    if isinstance(exc, DecodeError) and exc.reason is DecodeFailure.TOO_LARGE:
        return TOO_LARGE
    return next((kind for error, kind in TABLE if isinstance(exc, error)), INTERNAL)


def extensions_of(exc: Exception) -> dict[str, object]:
    """What the problem says beyond RFC 9457's own members."""
    match exc:
        case DecodeError():
            return {"reason": exc.reason.value}
        case AudioFormatError():
            return {"reason": "unsupported_format"}
        case SignalError():
            return {"reason": DecodeFailure.NOT_FINITE.value}
        case FetchError():
            return {"reason": exc.reason.value}
        case BodyTooLarge():
            return {"limit_bytes": exc.limit_bytes}
        case _:
            return {}
