"""Bodies are counted as they arrive, and never touch the disk."""

import tempfile
from collections.abc import Iterable

import anyio
import pytest
from starlette.requests import ClientDisconnect, Request

from api.errors import BodyTooLarge, UnsupportedMediaType, UploadError
from api.upload import read_upload

BOUNDARY = "b0undary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def read(
    chunks: Iterable[bytes | None], headers: dict[str, str], max_bytes: int = 1000, timeout_s: float = 5.0
) -> bytes:
    """What `read_upload` makes of a body that arrives in these chunks; None: the client goes away."""
    messages = [
        {"type": "http.disconnect"}
        if chunk is None
        else {"type": "http.request", "body": chunk, "more_body": True}
        for chunk in chunks
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict:
        if not messages:
            await anyio.sleep_forever()
        return messages.pop(0)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}

    async def run() -> bytes:
        return await read_upload(Request(scope, receive), max_bytes, timeout_s)

    return anyio.run(run)


def form(content: bytes, field: str = "file", file_name: str | None = "x.wav") -> bytes:
    name = f'; filename="{file_name}"' if file_name else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{name}\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    "media_type", ["audio/wav", "Audio/X-Anything; rate=8000", "application/octet-stream"]
)
def test_a_raw_body_is_read_whole(media_type: str) -> None:
    assert read([b"ab", b"", b"c"], {"Content-Type": media_type}) == b"abc"


def test_a_form_gives_the_file_of_its_field() -> None:
    body = form(b"\x00\r\n--b0undar\xff" * 20)
    assert read([body[:70], body[70:71], body[71:]], {"Content-Type": FORM}) == b"\x00\r\n--b0undar\xff" * 20


def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    headers = {"Content-Type": "audio/wav"}
    assert len(read([bytes(400), bytes(600)], headers)) == 1000
    with pytest.raises(BodyTooLarge):
        read([bytes(400), bytes(601)], headers)
    assert len(read([form(bytes(1000))], {"Content-Type": FORM})) == 1000
    with pytest.raises(BodyTooLarge):
        read([form(bytes(1001))], {"Content-Type": FORM})


@pytest.mark.parametrize("length", ["1001", "9" * 5000])
def test_an_announced_length_over_the_limit_is_refused_before_a_byte_is_read(length: str) -> None:
    with pytest.raises(BodyTooLarge):
        read([None], {"Content-Type": "audio/wav", "Content-Length": length})


def test_an_announced_length_that_lies_does_not_help() -> None:
    with pytest.raises(BodyTooLarge):
        read([bytes(600)] * 2, {"Content-Type": "audio/wav", "Content-Length": "10"})


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/json", "video/x-matroska", "audio"])
def test_another_content_type_is_refused(media_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        read([b"abc"], {"Content-Type": media_type})


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("multipart/form-data", form(b"abc")),  # no boundary
        (FORM, b"not a form at all"),
        (FORM, form(b"abc", field="other")),
        (FORM, form(b"abc", file_name=None)),
        (FORM, form(b"abc")[: -len(f"--{BOUNDARY}--") - 2] + form(b"abc")),  # two files
        (FORM, form(b"abc")[:-30]),
        (FORM, b""),
    ],
)
def test_a_form_that_does_not_hold_one_file_is_refused(media_type: str, body: bytes) -> None:
    with pytest.raises(UploadError):
        read([body], {"Content-Type": media_type})


def test_a_large_file_in_a_form_is_never_written_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stock parser spools above 1 MB: submitted audio would lie in the temporary folder."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a spool file was rolled over to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    content = bytes(3_000_000)
    assert read([form(content)], {"Content-Type": FORM}, max_bytes=4_000_000) == content


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async def receive() -> dict:
        await anyio.sleep_forever()
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", b"audio/wav")]}

    async def run() -> None:
        await read_upload(Request(scope, receive), 1000, 0.05)

    with pytest.raises(UploadError, match="did not arrive"):
        anyio.run(run)


def test_a_client_that_goes_away_ends_the_reading() -> None:
    with pytest.raises(ClientDisconnect):
        read([b"abc", None], {"Content-Type": "audio/wav"})
