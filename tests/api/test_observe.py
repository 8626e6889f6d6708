"""Metrics and logs: enough to run the service by, and nothing about who asked or what was sent."""

import io
import json
import logging
import re
import subprocess
import sys
import uuid

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.logs import REQUEST_ID, JsonFormatter, fields
from api.observe import Metrics
from api.problems import _HEADERS
from tests.api.conftest import Marked, Server, recording

AUDIO = {"Content-Type": "audio/flac"}


def samples(server: Server) -> dict[str, float]:
    response = server.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def difference(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) for name, value in after.items() if value != before.get(name)}


def test_what_happens_is_counted(server: Server, kathleen: Marked) -> None:
    before = samples(server)
    server.detect(kathleen.data)
    server.client.post("/v1/detections", content=b"RIFF" + bytes(40), headers=AUDIO)
    server.client.post("/v1/detections", content=b"x", headers={"Content-Type": "text/plain"})
    server.anonymous.get("/v1/generations")
    server.client.get("/nowhere/at/all")
    changed = difference(before, samples(server))
    route = '"method": "POST", "route": "/v1/detections"'
    assert changed[f'earmark_request_seconds_count{{{route}, "status": "200"}}'] == 1
    assert changed[f'earmark_request_seconds_count{{{route}, "status": "422"}}'] == 1
    assert changed['earmark_request_seconds_count{"method": "GET", "route": "none", "status": "404"}'] == 1
    assert changed['earmark_verdicts_total{"verdict": "issued_here"}'] == 1
    assert changed['earmark_decode_failures_total{"reason": "unsupported_format"}'] == 1
    assert changed['earmark_problems_total{"code": "unsupported-media-type"}'] == 1
    assert changed['earmark_problems_total{"code": "missing-key"}'] == 1
    assert changed['earmark_evidence_surprise_count{"technique": "watermark_keyed"}'] == 1
    assert changed['earmark_evidence_surprise_count{"technique": "fingerprint"}'] == 1
    now = samples(server)
    places = server.service.settings.num_workers + server.service.settings.max_waiting
    assert now["earmark_places{}"] == places
    assert (now["earmark_queue_depth{}"], now["earmark_places_taken{}"], now["earmark_index_lag{}"]) == (
        0,
        0,
        0,
    )
    assert now["earmark_index_windows{}"] > 0
    assert 0 <= now["earmark_log_waiting_seconds{}"] < 30


def test_no_label_grows_with_what_strangers_send(server: Server) -> None:
    """Every path, method or model as a label of its own is memory that anyone can fill."""
    before = set(samples(server))
    for number in range(20):
        server.client.get(f"/path/{number}")
        server.client.get(f"/v1/generations/{uuid.uuid4()}")
        server.client.request(f"M{number}", "/v1/marks")
        server.client.get("/v1/generations", params={"model": f"model {number}"})
    grown = {re.sub(r'"le": "[^"]*"', "", name) for name in set(samples(server)) - before}
    assert len(grown) < 30, grown


def test_a_gauge_that_fails_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    metrics.gauge("fails", "It fails.", lambda: 1 // 0)
    metrics.gauge("works", "It works.", lambda: 7)
    text = metrics.text().decode()
    assert "works 7.0" in text
    assert "\nfails" not in text
    assert "the gauge fails cannot be read" in caplog.text


def test_every_answer_has_the_security_headers(server: Server) -> None:
    for response in (
        server.anonymous.get("/livez"),
        server.anonymous.get("/nowhere"),
        server.anonymous.post("/v1/marks", content=b"x", headers=AUDIO),
    ):
        for name, value in _HEADERS.items():
            assert response.headers[name] == value


def test_a_log_line_is_one_json_object_with_its_request() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter())
    log = logging.Logger("test")
    log.addHandler(handler)
    token = REQUEST_ID.set("abc")
    try:
        log.info("%s\n%s", "a", "b", extra=fields(status=200))
        try:
            raise ZeroDivisionError("why")
        except ZeroDivisionError:
            log.exception("it failed")
    finally:
        REQUEST_ID.reset(token)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["time"].endswith("+00:00")
    del first["time"]
    assert first == {
        "level": "INFO", "logger": "test", "message": "a\nb", "request_id": "abc", "status": 200,
    }  # fmt: skip
    assert "ZeroDivisionError: why" in second["traceback"]


def test_logs_hold_nothing_of_the_caller_or_the_file(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A canary in each place that a request has; and the public id of the key, which is what is wanted."""
    canary = "canary" + uuid.uuid4().hex
    with caplog.at_level(logging.DEBUG):
        response = server.client.post(
            "/v1/detections",
            params={"q": canary},
            files={"file": (f"{canary}.flac", recording("amelia"), f"audio/{canary}")},
            headers={"User-Agent": canary, "Cookie": canary, "X-Forwarded-For": "198.51.100.7"},
        )
        server.client.get(f"/{canary}")
        server.client.post("/v1/detections", json={"url": f"http://{canary}.invalid/"})
    assert response.status_code == 200
    formatter = JsonFormatter()
    ours = [record for record in caplog.records if record.name.startswith(("api", "registry", "watermark"))]
    lines = [formatter.format(record) for record in ours]
    assert lines
    for line in lines:
        assert canary not in line
        assert "198.51.100.7" not in line and "127.0.0.1" not in line
        assert "earmark_" not in line
    done = [json.loads(line) for line in lines if '"status": 200' in line]
    assert done[0]["route"] == "/v1/detections"
    assert re.fullmatch("[0-9a-f]{8}", done[0]["key_id"])


WEBSOCKET = """
import logging
from api import logs
logs.configure()
server = logging.getLogger("uvicorn.error")
server.info('%s - "WebSocket %s" [accepted]', "198.51.100.7:37498", "/api/chat?email=somebody")
server.info("Uvicorn running")
"""


def test_uvicorns_lines_about_websockets_are_not_kept() -> None:
    """They hold the address and the query, and the published web client puts an e-mail address there.

    In a process of its own: the server of the other tests sets up logging for itself."""
    command = [sys.executable, "-c", WEBSOCKET]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert [json.loads(line)["message"] for line in written.splitlines()] == ["Uvicorn running"]
