"""The REST surface: headers, problems, health, and the document that describes it."""

import logging
import uuid
from contextlib import ExitStack
from datetime import datetime

import httpx
import pytest

from api import errors
from audio import DecodeError, DecodeFailure
from registry import DatabaseUnavailable, GenerationClosed
from tests.api.conftest import Marked, Server, recording
from tests.api.test_hostile_uploads import assert_problem

PERSONAL = {"account", "user", "email", "name", "owner", "ip", "metadata", "description", "pcm_sha256"}


def post(server: Server, route: str = "/v1/detections", **options: object) -> httpx.Response:
    headers = {"Content-Type": "audio/flac"}
    return server.client.post(route, content=recording("eltocino"), headers=headers, **options)


def test_a_method_that_is_not_there_is_answered_with_all_that_are(server: Server) -> None:
    """Two routes share the path, and the router knows only the first of them."""
    response = server.client.options("/v1/generations")
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, POST")


def test_a_mark_answers_audio_and_its_ids(server: Server) -> None:
    response = post(server, "/v1/marks", params={"system": "Acme TTS", "system_version": "2", "model": "en"})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "audio/flac"
    generation_id = uuid.UUID(response.headers["Earmark-Generation-Id"])
    assert generation_id.version == 7
    assert len(response.headers["Earmark-Content-Id"]) == 12
    assert datetime.fromisoformat(response.headers["Earmark-Created-At"]).utcoffset().total_seconds() == 0
    record = server.client.get(f"/v1/generations/{generation_id}").json()
    assert record["content_id"] == response.headers["Earmark-Content-Id"]
    assert (record["system"], record["system_version"], record["model"]) == ("Acme TTS", "2", "en")
    assert record["state"] == "complete"
    assert record["duration_s"] == pytest.approx(5.5, abs=0.1)
    assert not PERSONAL & set(record)


def test_an_origin_that_does_not_fit_is_422_and_is_not_echoed(server: Server) -> None:
    response = post(server, "/v1/marks", params={"system": "<script>"})
    assert response.status_code == 422
    assert assert_problem(response)["errors"][0]["pointer"] == "query/system"
    assert "<script>" not in response.text


def test_an_unknown_generation_is_404_and_a_malformed_id_is_422(server: Server) -> None:
    unknown = server.client.get(f"/v1/generations/{uuid.uuid4()}")
    assert unknown.status_code == 404
    assert assert_problem(unknown)["code"] == "unknown-generation"
    malformed = server.client.get("/v1/generations/1%27%20OR%201=1")
    assert malformed.status_code == 422
    assert_problem(malformed)


def test_every_answer_carries_the_default_headers(server: Server, kathleen: Marked) -> None:
    for path in (
        "/livez",
        "/readyz",
        "/openapi.json",
        f"/v1/generations/{kathleen.generation_id}",
        "/nowhere",
    ):
        headers = server.client.get(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert uuid.UUID(headers["X-Request-Id"])


def test_a_missing_page_and_a_wrong_method_are_problems(server: Server) -> None:
    assert assert_problem(server.client.get("/nowhere"))["status"] == 404
    wrong = server.client.get("/v1/marks")
    assert assert_problem(wrong)["status"] == 405
    assert "POST" in wrong.headers["Allow"]


def test_a_fault_of_ours_is_a_500_that_says_nothing_about_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret of the inside")

    monkeypatch.setattr("api.detection.detect", fail)
    with caplog.at_level(logging.ERROR, logger="api.problems"):
        response = post(server)
    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert response.json()["request_id"] in caplog.text
    assert "secret of the inside" in caplog.text


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), GenerationClosed("aborted")])
def test_a_part_that_is_away_is_503_with_retry_after(
    server: Server, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("api.detection.detect", fail)
    response = post(server)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) == response.json()["retry_after_s"] > 0


def test_a_full_service_is_503_and_the_next_request_is_served(server: Server) -> None:
    """Takes every place from inside, as that many uploads in progress would."""
    with ExitStack() as places:
        while True:
            try:
                places.enter_context(server.workers.admit())
            except errors.Busy:
                break
        response = post(server)
        assert response.status_code == 503
        assert response.json()["code"] == "busy"
        assert response.headers["Retry-After"]
    assert post(server).status_code == 200


def test_livez_needs_no_database_and_readyz_says_what_is_wrong(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.client.get("/readyz").json() == {
        "status": "ready",
        "checks": {
            "key": "ok",
            "database": "ok",
            "index": "ok",
            "log": "ok",
            "disk": "ok",
            "chat": "off",
            "voice": "off",
        },
    }

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("the database does not answer")

    monkeypatch.setattr(type(server.service.registry), "generations", away)
    response = server.client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["database"] == "the database does not answer"
    assert server.client.get("/livez").json() == {"status": "alive"}


def test_the_document_names_every_route_once_and_its_problems(server: Server) -> None:
    document = server.client.get("/openapi.json").json()
    operations = [one for path in document["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in operations]
    assert sorted(names) == [
        "check_detection", "create_detection", "create_generation", "create_mark", "export_generations",
        "get_checkpoint", "get_generation", "get_liveness", "get_log_key", "get_metrics", "get_proof",
        "get_readiness", "get_tile", "list_generations",
    ]  # fmt: skip
    for name in ("create_detection", "create_mark"):
        (operation,) = [one for one in operations if one["operationId"] == name]
        assert {"400", "413", "415", "422", "503"} <= set(operation["responses"])
        assert {"audio/*", "multipart/form-data"} <= set(operation["requestBody"]["content"])
        assert errors.MEDIA_TYPE in operation["responses"]["413"]["content"]


def test_a_form_and_a_raw_body_give_the_same_verdict(server: Server) -> None:
    raw = post(server).json()
    form = server.client.post("/v1/detections", files={"file": ("x.flac", recording("eltocino"))}).json()
    assert (raw["verdict"], raw["input"]) == (form["verdict"], form["input"])


def test_every_failure_of_the_decoder_has_a_client_status() -> None:
    """A crash of the decoder is the file's fault, never ours."""
    for reason in DecodeFailure:
        kind = errors.kind_of(DecodeError(reason, "why"))
        assert 400 <= kind.status < 500
        assert errors.extensions_of(DecodeError(reason, "why")) == {"reason": reason.value}


def test_every_error_of_the_edge_is_in_the_table() -> None:
    in_table = [error for error, _ in errors.TABLE]
    assert set(errors.ServiceError.__subclasses__()) <= set(in_table)
    codes = [kind.code for _, kind in errors.TABLE]
    assert all(code == code.lower() and " " not in code for code in codes)
