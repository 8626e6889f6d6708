"""Log lines as JSON, one object a line, each with the request it belongs to.

    {"time": "...", "level": "INFO", "logger": "api.problems", "message": "POST /v1/detections 200",
     "request_id": "...", "seconds": 0.31, ...}

`request_id` is the number in the answer's X-Request-Id; worker threads inherit it. What a request carries
is not logged: no body, no query, no address, no header, no key but its public id. Not covered: where the
lines go (standard error; the service manager keeps them)."""

import json
import logging
import logging.config
from contextvars import ContextVar
from datetime import UTC, datetime

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
_FIELDS = "fields"


def fields(**values: object) -> dict[str, dict[str, object]]:
    """For `log.info(message, extra=fields(status=200))`: members of the line beside the message."""
    return {_FIELDS: values}


class JsonFormatter(logging.Formatter):
    """A record as one JSON object. A traceback is a member, so that a line stays a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request_id := REQUEST_ID.get()) is not None:
            line["request_id"] = request_id
        line |= getattr(record, _FIELDS, {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _names_nobody(record: logging.LogRecord) -> bool:
    """Whether the line may be kept: uvicorn's lines about websockets hold the client's address and query."""
    return "WebSocket" not in str(record.msg)


def configure() -> None:
    """Send every logger of this process to standard error as JSON, from INFO on."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JsonFormatter}},
            "filters": {"names nobody": {"()": lambda: _names_nobody}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"level": "INFO", "handlers": ["stderr"]},
            # Its access lines would hold the client's address and query.
            "loggers": {
                "uvicorn.access": {"level": "CRITICAL"},
                "uvicorn.error": {"filters": ["names nobody"]},
                "alembic.runtime.plugins": {"level": "WARNING"},  # one line for each that it could have
            },
        }
    )
