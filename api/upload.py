"""Read an uploaded file into memory: the raw body (`Content-Type: audio/*`) first, a form for browsers.

(1) the announced length is checked before a byte is read, (2) real bytes are counted as they arrive, since
a length can be missing or wrong, (3) the whole body has a deadline. Nothing is written to disk: the form
parser's spool files stay in memory. The client's media type only chooses between raw and form; what is
inside is sniffed from the bytes by `audio.decode`."""

import sys
from collections.abc import AsyncGenerator
from typing import TypeVar

import anyio
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from api.errors import BodyTooLarge, UnsupportedMediaType, UploadError

Model = TypeVar("Model", bound=BaseModel)

FORM_FIELD = "file"
MAX_JSON_BYTES = 64_000  # a URL of 2048 characters is 25 kB when each is escaped as two surrogates
_FORM_OVERHEAD_BYTES = 10_000  # boundaries, part headers and small fields around the file
_RAW_TYPES = ("application/octet-stream", "application/ogg", "video/mp4", "video/ogg")
"""What clients send for audio files beside audio/*: unknown, and containers that could also hold a film."""


class _InMemoryParser(MultiPartParser):
    """Never spools to disk: the counted stream bounds what it holds."""

    spool_max_size = sys.maxsize


async def read_upload(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """The uploaded file's bytes.

    Raises UnsupportedMediaType, BodyTooLarge, UploadError (malformed form, empty body, too slow), and
    starlette's ClientDisconnect."""
    media_type = media_type_of(request)
    try:
        with anyio.fail_after(timeout_s):
            if media_type == "multipart/form-data":
                return await _read_form(request, max_bytes)
            if media_type.startswith("audio/") or media_type in _RAW_TYPES:
                return b"".join([chunk async for chunk in _counted(request, max_bytes)])
    except TimeoutError:
        raise UploadError(f"the body did not arrive within {timeout_s:g} s; send a smaller file") from None
    raise UnsupportedMediaType(
        f"the content type is {media_type or 'missing'}; send the file itself as audio/* (for example "
        f"audio/wav), or multipart/form-data with the field '{FORM_FIELD}'"
    )


async def read_json(request: Request, model: type[Model], timeout_s: float) -> Model:
    """A small JSON body as `model`. Raises as `read_json_bytes`, and FastAPI's RequestValidationError."""
    data = await read_json_bytes(request, MAX_JSON_BYTES, timeout_s)
    try:
        return model.model_validate_json(data)
    except ValidationError as exc:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in exc.errors()]) from exc


async def read_json_bytes(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """The bytes of a JSON body, not parsed. Raises as `read_upload`."""
    media_type = media_type_of(request)
    if media_type != "application/json":
        raise UnsupportedMediaType(f"the content type is {media_type or 'missing'}; send application/json")
    try:
        with anyio.fail_after(timeout_s):
            return b"".join([chunk async for chunk in _counted(request, max_bytes)])
    except TimeoutError:
        raise UploadError(f"the body did not arrive within {timeout_s:g} s") from None


def media_type_of(request: Request) -> str:
    """The body's type without its parameters, in lower case; empty when it was not said."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read_form(request: Request, max_bytes: int) -> bytes:
    stream = _counted(request, max_bytes + _FORM_OVERHEAD_BYTES)
    parser = _InMemoryParser(request.headers, stream, max_files=1, max_fields=8, max_part_size=1_000)
    try:
        form = await parser.parse()
    except MultiPartException as exc:
        raise UploadError(f"the form cannot be read: {exc.message}") from exc
    try:
        part = form.get(FORM_FIELD)
        if not isinstance(part, UploadFile):
            raise UploadError(f"the form has no file in the field '{FORM_FIELD}'")
        data = await part.read()
    finally:
        await form.close()
    if len(data) > max_bytes:
        raise BodyTooLarge(max_bytes)
    return data


async def _counted(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body's chunks, until they are too many."""
    announced = request.headers.get("content-length", "")
    # Eighteen digits: no body is that long, and Python refuses to read numbers of thousands of digits.
    if announced.isdecimal() and int(announced[:18]) > max_bytes:  # (1)
        raise BodyTooLarge(max_bytes)
    num_bytes = 0
    async for chunk in request.stream():
        num_bytes += len(chunk)
        if num_bytes > max_bytes:  # (2)
            raise BodyTooLarge(max_bytes)
        yield chunk
