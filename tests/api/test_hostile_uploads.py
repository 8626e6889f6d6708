"""Whatever is sent, the answer is a 4xx problem or a verdict, never a 5xx, and the service lives on."""

import io
import zipfile
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from audio import SAMPLE_RATE_HZ, decode, encode
from benchmarks.hostile import MAX_WAIT_S, make, send
from tests.api.conftest import MAX_BODY_BYTES, Server, recording
from tests.audio.media import float_wav, silent_flac, wav


def a_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("speech.wav", wav())
    return out.getvalue()


HOSTILE = {
    "empty": b"",
    "one byte": b"R",
    "zip": a_zip(),
    "text": b"hello " * 100,
    "html": b"<!doctype html><script>alert(1)</script>",
    "elf": b"\x7fELF" + bytes(2000),
    "wav without samples": wav(b""),
    "wav with NaN": float_wav([0.0, float("nan")] * 24_000),
    "wav with infinity": float_wav([0.0, float("inf")] * 24_000),
    "wav of 16 channels": wav(bytes(32_000), channels=16),
    "wav of 0 channels": wav(channels=0),
    "wav at 8 Hz": wav(rate_hz=8),
    "wav at 768 kHz": wav(rate_hz=768_000),
    "wav at 0 Hz": wav(rate_hz=0),
    "wav with a forged data size": wav(data_bytes=1_000_000),
    "wav with a forged riff size": wav(riff_bytes=3),
    "wav with a zero block": wav(block_bytes=0),
    "wav of adpcm": wav(tag=0x11, bits=4),
    "an hour of silence in flac": silent_flac(3600),
    "ogg of nothing": b"OggS" + bytes(5000),
    "mp4 of nothing": b"\x00\x00\x00\x20ftypM4A " + bytes(5000),
    "flac of nothing": b"fLaC" + bytes(5000),
    "mp3 of noise": b"\xff\xfb\x90\x00" + np.random.default_rng(1).bytes(20_000),
}
ROUTES = ("/v1/detections", "/v1/marks")


def assert_problem(response: httpx.Response) -> dict:
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["type"] == f"urn:earmark:problem:{problem['code']}"
    assert problem["detail"]
    assert problem["request_id"] == response.headers["X-Request-Id"]
    for leak in ("Traceback", "/audio/", ".py", "site-packages"):
        assert leak not in response.text
    return problem


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_a_problem_that_says_why(server: Server, route: str, name: str) -> None:
    response = server.client.post(route, content=HOSTILE[name], headers={"Content-Type": "audio/wav"})
    if response.status_code == 200:
        assert name == "mp3 of noise", f"{name} was accepted"
        return
    problem = assert_problem(response)
    assert problem["code"] in ("undecodable-audio", "audio-too-long")
    assert problem.get("reason"), problem


@pytest.mark.parametrize(
    ("container", "codec"), [("wav", None), ("flac", None), ("mp3", None), ("ogg", "opus"), ("m4a", None)]
)
def test_a_file_cut_off_anywhere_is_a_verdict_or_a_problem(
    server: Server, container: str, codec: str | None
) -> None:
    whole = encode(
        decode(recording("amelia")).wav_T[: 2 * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ, container, codec=codec
    )
    for length in [1, 12, 44, *np.linspace(65, len(whole) - 1, 5).astype(int)]:
        response = server.client.post(
            "/v1/detections", content=whole[:length], headers={"Content-Type": "audio/*"}
        )
        if response.status_code != 200:
            assert_problem(response)


def test_the_name_and_the_media_type_do_not_decide_what_is_inside(server: Server) -> None:
    response = server.client.post(
        "/v1/detections", content=recording("amelia"), headers={"Content-Type": "audio/wav"}
    )
    assert response.status_code == 200
    assert response.json()["input"]["container"] == "flac"


def test_a_content_type_that_is_not_audio_is_415(server: Server) -> None:
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "audio"}, {}):
        response = server.client.post("/v1/detections", content=recording("amelia"), headers=headers)
        assert assert_problem(response)["code"] == "unsupported-media-type"
        assert response.status_code == 415


def test_a_body_that_announces_too_much_is_413(server: Server) -> None:
    response = server.client.post(
        "/v1/detections", content=bytes(MAX_BODY_BYTES + 1), headers={"Content-Type": "audio/wav"}
    )
    assert response.status_code == 413
    assert assert_problem(response)["limit_bytes"] == MAX_BODY_BYTES


def test_a_chunked_body_is_413_as_soon_as_it_is_too_much(server: Server) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):  # bounded, so that a broken limit fails the test and not the machine
            yield bytes(200_000)

    try:
        response = server.client.post(
            "/v1/detections", content=endless(), headers={"Content-Type": "audio/wav"}
        )
    except httpx.WriteError:
        return  # the server closed the connection while we were still sending, which is as good an answer
    assert response.status_code == 413
    assert_problem(response)


def test_a_form_with_a_hostile_file_name_is_read_like_any_other(server: Server) -> None:
    files = {"file": ("../../etc/passwd\u202egpj.wav", recording("amelia"), "image/png")}
    response = server.client.post("/v1/detections", files=files)
    assert response.status_code == 200
    assert response.json()["verdict"] == "not_detected"


def test_a_form_without_a_file_is_400(server: Server) -> None:
    response = server.client.post("/v1/detections", files={"other": ("a.wav", b"abc")})
    assert response.status_code == 400
    assert_problem(response)


def test_the_service_lives_on_after_all_of_it(server: Server) -> None:
    assert server.client.get("/readyz").status_code == 200
    answer = server.client.post(
        "/v1/detections", content=recording("amelia"), headers={"Content-Type": "audio/flac"}
    )
    assert answer.json()["verdict"] == "not_detected"


def test_damaged_files_of_every_kind_are_verdicts_or_problems(server: Server) -> None:
    """The first of the ten thousand that `python -m benchmarks.hostile` sends."""
    for number in range(60):
        said, seconds = send(server.client, make(0, number))
        assert said.startswith(("200 ", "413 ", "422 ")), f"make(0, {number}): {said}"
        assert seconds < MAX_WAIT_S
