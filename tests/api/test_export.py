"""Listing and export: every generation once, in order, whatever is begun meanwhile, and no formula in a
cell."""

import csv
import io
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from sqlalchemy import text

from api import export
from api.access.accounts import Scope
from api.cli.export import FORMATS
from api.cli.filters import STATES
from api.cli.keys import SCOPES
from api.export import ExportFormat
from api.routes.generations import MAX_PAGE, ROWS_HEADER
from api.schemas import GenerationRecord
from registry import GenerationFilter, GenerationState, NewGeneration, Registry, RegistryInputError
from registry.log import Receipt, sequencer
from tests.api.conftest import Server
from tests.api.test_hostile_uploads import assert_problem


def begin(registry: Registry, model: str = "m", count: int = 1) -> list[str]:
    new = NewGeneration("test", "1", model, 24_000)
    return [str(registry.begin(new).generation_id) for _ in range(count)]


@contextmanager
def log_standing_still(registry: Registry) -> Iterator[None]:
    """As while another process has its turn: what is begun stays unpublished."""
    with registry._database.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:space, :lock)"), sequencer._LOCK)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:space, :lock)"), sequencer._LOCK)


def listed(server: Server, **asked: object) -> dict:
    response = server.client.get("/v1/generations", params=asked)
    assert response.status_code == 200, response.text
    return response.json()


def ids(page: dict) -> list[str]:
    return [one["generation_id"] for one in page["generations"]]


def test_pages_hold_each_generation_once_though_more_are_begun(server: Server) -> None:
    model = f"pages-{uuid.uuid4()}"
    wanted = begin(server.service.registry, model, 5)
    seen, cursor = [], {}
    while True:
        page = listed(server, model=model, limit=2, **cursor)
        seen += ids(page)
        begin(server.service.registry, model)
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == wanted[::-1]


def test_the_filters_are_exact(server: Server) -> None:
    registry = server.service.registry
    model = f"filters-{uuid.uuid4()}"
    first, second = begin(registry, model, 2)
    registry.recording(uuid.UUID(second)).abort()
    at = registry.generation(uuid.UUID(second)).created_at
    assert ids(listed(server, model=model)) == [second, first]
    assert ids(listed(server, model=model[:-1])) == []
    assert ids(listed(server, model=model, state="aborted")) == [second]
    assert ids(listed(server, model=model, state="open")) == [first]
    assert ids(listed(server, model=model, created_from=at.isoformat())) == [second]
    assert ids(listed(server, model=model, created_before=at.isoformat())) == [first]
    later = (at + timedelta(hours=1)).isoformat()
    assert ids(listed(server, model=model, created_from=later)) == []


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"limit": 0}, 422),
        ({"limit": MAX_PAGE + 1}, 422),
        ({"limit": "many"}, 422),
        ({"cursor": "1' OR 1=1"}, 422),
        ({"cursor": str(uuid.UUID(int=7))}, 404),
        ({"created_from": "yesterday"}, 422),
        ({"created_from": "2026-11-25T10:00:00"}, 422),
        ({"created_from": "0.5"}, 422),
        ({"created_from": "0001-01-01T00:00:00+23:59"}, 422),
        ({"state": "finished"}, 422),
        ({"model": "a\x00b"}, 422),
        ({"model": "x" * 101}, 422),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_a_problem(server: Server, asked: dict, status: int) -> None:
    response = server.client.get("/v1/generations", params=asked)
    assert response.status_code == status
    assert_problem(response)


@pytest.mark.parametrize("at", ["3055-05-06T13:26:10+23:23", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_any_moment_of_rfc_3339_can_be_asked_about(server: Server, at: str) -> None:
    """PostgreSQL refuses offsets beyond 16 hours: Schemathesis found the 500."""
    for name in ("created_from", "created_before"):
        listed(server, **{name: at})
        exported(server, **{name: at})


def test_no_row_carries_anything_personal_or_internal(server: Server) -> None:
    begin(server.service.registry)
    (record,) = listed(server, limit=1)["generations"]
    assert set(record) == {
        "generation_id", "content_id", "created_at", "system", "system_version", "model", "state",
        "finished_at", "duration_s", "withdrawn_at", "log_index", "receipt",
    }  # fmt: skip


def test_a_row_has_its_receipt_when_asked(server: Server) -> None:
    """The auditor's question: what was issued, and how do I know that you cannot deny it?"""
    with log_standing_still(server.service.registry):
        (name,) = begin(server.service.registry)
        assert listed(server, limit=1, receipts=True)["generations"][0]["receipt"] is None  # not public yet
    server.service.registry.log.wait(uuid.UUID(name))
    (row,) = listed(server, limit=1, receipts=True)["generations"]
    receipt = Receipt.parse(row["receipt"].encode())
    verified = receipt.verify(server.service.registry.log.signer.trust)
    assert (verified.index, verified.entry["generation_id"]) == (row["log_index"], name)
    assert receipt.salt is None
    assert listed(server, limit=1)["generations"][0]["receipt"] is None


def exported(server: Server, **asked: object) -> httpx.Response:
    response = server.client.get("/v1/generations/export", params=asked)
    assert response.status_code == 200, response.text
    return response


def test_an_export_is_every_row_in_both_formats(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PAGE", 3)  # more than two pages without thousands of rows
    model = f"export-{uuid.uuid4()}"
    wanted = begin(server.service.registry, model, 7)[::-1]
    as_json = exported(server, model=model)
    assert as_json.headers["Content-Type"].startswith("application/jsonl")
    assert as_json.headers[ROWS_HEADER] == "7"
    assert [json.loads(line)["generation_id"] for line in as_json.text.splitlines()] == wanted
    as_csv = exported(server, model=model, form="csv")
    rows = list(csv.DictReader(io.StringIO(as_csv.text, newline="")))
    assert [row["generation_id"] for row in rows] == wanted
    assert tuple(rows[0]) == export.columns(receipts=False)
    assert "receipt" not in rows[0] and "receipt" not in json.loads(as_json.text.splitlines()[0])
    assert rows[0]["state"] == "open" and rows[0]["finished_at"] == ""
    assert exported(server, model="nobody", form="csv").text.count("\r\n") == 1


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_export_has_the_receipts_when_asked(
    server: Server, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an auditor takes along is checked without us; a row that is not public yet has no receipt yet."""
    monkeypatch.setattr(export, "PAGE", 3)
    registry, model = server.service.registry, f"receipts-{uuid.uuid4()}"
    public = begin(registry, model, 4)
    registry.log.wait(uuid.UUID(public[-1]))
    for name in public[:2]:
        registry.recording(uuid.UUID(name)).abort()
    registry.log.wait(uuid.UUID(public[1]))
    with log_standing_still(registry):
        (waiting,) = begin(registry, model)
        body = exported(server, model=model, form=form, receipts=True).text
        page = listed(server, model=model, receipts=True)["generations"]
    rows = (
        list(csv.DictReader(io.StringIO(body, newline="")))
        if form == "csv"
        else [json.loads(line) for line in body.splitlines()]
    )
    assert tuple(rows[0]) == export.columns(receipts=True)
    assert [row["generation_id"] for row in rows] == [waiting, *public[::-1]]
    assert not rows[0]["receipt"]
    for row in rows[1:]:
        receipt = Receipt.parse(row["receipt"].encode())
        entry = receipt.verify(registry.log.signer.trust).entry
        assert (entry["generation_id"], receipt.index) == (row["generation_id"], int(row["log_index"]))
        assert entry["event"] == ("aborted" if row["generation_id"] in public[:2] else "begun")
        assert receipt.salt is None
    if form == "jsonl":
        assert rows == page


def test_no_cell_is_a_formula_to_a_spreadsheet() -> None:
    """A model may be named "+cmd" or "@SUM(1)": the pattern of origins allows it, Excel would run it."""
    record = GenerationRecord(
        generation_id=uuid.UUID(int=1), content_id="0" * 12, created_at=datetime(2026, 1, 1, tzinfo=UTC),
        system="+cmd()", system_version="-1", model="@SUM(1)", state=GenerationState.OPEN,
        finished_at=None, duration_s=-0.0, withdrawn_at=None, log_index=None,
    )  # fmt: skip
    (row,) = csv.DictReader(
        io.StringIO(export.header(ExportFormat.CSV) + export.lines([record], ExportFormat.CSV), newline="")
    )
    assert (row["system"], row["system_version"], row["model"]) == ("'+cmd()", "'-1", "'@SUM(1)")
    assert not any(cell.startswith(("=", "+", "@")) for cell in row.values())


def test_a_filter_needs_an_offset_and_a_storable_text() -> None:
    with pytest.raises(RegistryInputError, match="offset"):
        GenerationFilter(created_from=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(RegistryInputError, match="model"):
        GenerationFilter(model="a\x00")


def test_the_command_writes_the_same_and_only_a_whole_file(
    server: Server, tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from api.cli.main import main

    common = ["--data-dir", str(tmp_path / "data"), "--database-url", database_url]
    with Registry.open(database_url) as registry:
        wanted = begin(registry, count=3)[::-1]
        registry.register(np.ones(30_000, np.float32) * np.float32(0.1), 24_000, {"model": "other"})
    target = tmp_path / "out.jsonl"
    assert main([*common, "export", "-o", str(target), "--model", "m", "--from", "2020-01-01"]) == 0
    assert [json.loads(line)["generation_id"] for line in target.read_text().splitlines()] == wanted
    assert main([*common, "export", "--format", "csv", "--state", "complete"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main([*common, "log", "state", "a batch of the log"]) == 0
    capsys.readouterr()
    assert main([*common, "export", "--state", "complete", "--receipts"]) == 0
    assert json.loads(capsys.readouterr().out)["receipt"].startswith("c2sp.org/tlog-proof@v1\n")
    assert main([*common, "export", "-o", str(tmp_path / "no" / "out.csv")]) == 1
    assert "name another file" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["out.jsonl"]


def test_the_words_of_the_command_line_are_those_of_the_service() -> None:
    """Written twice, since the real ones import too much for `earmark --help`."""
    assert set(FORMATS) == {one.value for one in ExportFormat}
    assert set(STATES) == {one.value for one in GenerationState}
    assert set(SCOPES) == {one.value for one in Scope}
