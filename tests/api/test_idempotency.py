"""Idempotency-Key: one request sent twice is one generation, and what is kept is readable to nobody."""

import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import httpx
import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from api import idempotency
from api.access.accounts import ANONYMOUS, Caller, Scope
from api.access.secret import ServerSecret
from api.errors import MissingKey, RequestAtWork, RequestConflict, RequestNameError
from api.idempotency import Reply, digest_of, once
from audio import EncodeError
from registry import KeyStore, NewKey, ReplyStore
from registry.database import Database
from registry.owner import OwnerLock
from tests.api.conftest import Server, bearer, recording
from tests.api.test_hostile_uploads import assert_problem

SECRET = ServerSecret(b"k" * 32)
CALLER = Caller("0123abcd", frozenset({"mark"}), b"earmark_key_of_a_caller")
NAME = "6b1f1f6e-request"
CANARY = b"canary waveform " * 20


def mark(server: Server, name: str, audio: str = "eltocino", **options: object) -> httpx.Response:
    headers = {"Content-Type": "audio/flac", "Idempotency-Key": name}
    return server.client.post("/v1/marks", content=recording(audio), headers=headers, **options)


def num_generations(server: Server) -> int:
    return server.service.registry.count_generations()


def test_a_mark_sent_again_is_the_same_file_and_one_generation(server: Server) -> None:
    name, before = str(uuid.uuid4()), num_generations(server)
    first, again = mark(server, name), mark(server, name)
    assert first.status_code == again.status_code == 200
    assert again.content == first.content
    for header in ("Earmark-Generation-Id", "Earmark-Content-Id", "Earmark-Created-At", "Content-Type"):
        assert again.headers[header] == first.headers[header]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert num_generations(server) == before + 1
    assert (
        mark(server, str(uuid.uuid4())).headers["Earmark-Generation-Id"]
        != (first.headers["Earmark-Generation-Id"])
    )


def test_the_same_name_with_another_file_or_parameter_is_422(server: Server) -> None:
    name = str(uuid.uuid4())
    assert mark(server, name).status_code == 200
    for response in (mark(server, name, "krisgesling"), mark(server, name, params={"model": "other"})):
        assert response.status_code == 422
        assert assert_problem(response)["code"] == "idempotency-conflict"


def test_another_key_may_use_the_same_name(server: Server) -> None:
    """Names are the client's: two clients that count from 1 must not see each other's answers."""
    name = str(uuid.uuid4())
    first = mark(server, name)
    other = server.service.accounts.create("other", {Scope.MARK}).text
    second = mark(server, name)
    third = server.anonymous.post(
        "/v1/marks",
        content=recording("eltocino"),
        headers={"Content-Type": "audio/flac", "Idempotency-Key": name} | bearer(other),
    )
    assert second.headers["Earmark-Generation-Id"] == first.headers["Earmark-Generation-Id"]
    assert third.headers["Earmark-Generation-Id"] != first.headers["Earmark-Generation-Id"]


def test_a_failure_is_not_kept(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise EncodeError("no room")

    name = str(uuid.uuid4())
    with monkeypatch.context() as broken:
        broken.setattr("api.marking.encode", fail)
        assert mark(server, name).status_code == 500
    assert mark(server, name).status_code == 200


def test_two_at_once_make_one_generation(server: Server) -> None:
    name, before = str(uuid.uuid4()), num_generations(server)
    responses: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: responses.append(mark(server, name))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = {response.status_code for response in responses}
    assert 200 in statuses and statuses <= {200, 409}
    assert all(r.headers["Retry-After"] for r in responses if r.status_code == 409)
    assert num_generations(server) == before + 1


@pytest.mark.parametrize("name", ["", "short", "x" * 129, "with space in it", "tab\tin the name"])
def test_a_name_that_does_not_fit_is_422(server: Server, name: str) -> None:
    assert mark(server, name).status_code == 422


# the function itself


@pytest.fixture
def store(database: Database) -> ReplyStore:
    KeyStore(database).insert(NewKey(CALLER.key_id, bytes(32), "test", ["mark"], None))
    return ReplyStore(database, OwnerLock(database))


def reply() -> Reply:
    return Reply("audio/wav", {"Earmark-Content-Id": "0123456789ab"}, CANARY)


def test_nothing_that_is_kept_can_be_read_in_the_database(store: ReplyStore, database: Database) -> None:
    """Submitted audio is not kept: not in the clear, and not under a key that lies beside it."""
    once(store, SECRET, CALLER, NAME, b"s" * 32, reply)
    with database.transaction() as connection:
        (row,) = connection.execute(text("SELECT * FROM reply")).mappings().all()
    for value in row.values():
        if isinstance(value, bytes | memoryview):
            for known in (CANARY[:16], b"Earmark", b"audio/wav", NAME.encode(), CALLER.secret):
                assert known not in bytes(value)
    sealed = bytes(row["body"])
    for secret, key, name in (
        (ServerSecret(b"j" * 32), CALLER.secret, NAME),
        (SECRET, b"another key", NAME),
        (SECRET, CALLER.secret, "another-name"),
    ):
        cipher = idempotency.AESGCM(secret.digest("reply", key, name.encode()))
        with pytest.raises(InvalidTag):
            idempotency._open(cipher, sealed)


def test_a_row_that_somebody_changed_is_not_sent(store: ReplyStore, database: Database) -> None:
    once(store, SECRET, CALLER, NAME, b"s" * 32, reply)
    with database.transaction() as connection:
        connection.execute(text("UPDATE reply SET body = set_byte(body, 40, get_byte(body, 40) # 1)"))
    with pytest.raises(InvalidTag):
        once(store, SECRET, CALLER, NAME, b"s" * 32, reply)


def test_the_order_of_answers(store: ReplyStore) -> None:
    with pytest.raises(RequestNameError):
        once(store, SECRET, CALLER, "short", b"s" * 32, reply)
    with pytest.raises(MissingKey):
        once(store, SECRET, ANONYMOUS, NAME, b"s" * 32, reply)

    def while_at_work() -> Reply:
        with pytest.raises(RequestAtWork):
            once(store, SECRET, CALLER, NAME, b"s" * 32, reply)
        return reply()

    assert once(store, SECRET, CALLER, NAME, b"s" * 32, while_at_work) == reply()
    with pytest.raises(RequestConflict):
        once(store, SECRET, CALLER, NAME, b"t" * 32, reply)

    def never() -> Reply:
        raise AssertionError("produced twice")

    again = once(store, SECRET, CALLER, NAME, b"s" * 32, never)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.body == CANARY
    assert once(store, SECRET, CALLER, None, b"s" * 32, reply) == reply()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(media_type=st.text(), headers=st.dictionaries(st.text(), st.text()), body=st.binary(max_size=2000))
def test_any_reply_is_sealed_and_opened_unchanged(
    media_type: str, headers: dict[str, str], body: bytes
) -> None:
    cipher = idempotency.AESGCM(SECRET.digest("reply", b"key", b"name"))
    made = Reply(media_type, headers, body)
    assert idempotency._open(cipher, idempotency._sealed(cipher, made)) == made


def test_a_digest_covers_route_parameters_and_body() -> None:
    base = digest_of("/v1/marks", {"a": "b"}, b"c")
    assert len(base) == 32
    assert digest_of("/v1/marks", {"a": "b"}, b"c") == base
    for other in (
        digest_of("/v1/other", {"a": "b"}, b"c"),
        digest_of("/v1/marks", {"a": "bc"}, b""),
        digest_of("/v1/marks", {"ab": ""}, b"c"),
    ):
        assert other != base


def test_a_killed_worker_leaves_a_request_that_can_be_sent_again(database_url: str) -> None:
    """The process dies after the claim, as with a power cut in the middle of a mark."""
    program = """
import os, signal, sys
from registry import KeyStore, NewKey, ReplyStore
from registry.database import Database
from registry.owner import OwnerLock
from tests.api.test_idempotency import CALLER, NAME, SECRET
from api.idempotency import once
database = Database(sys.argv[1])
KeyStore(database).insert(NewKey(CALLER.key_id, bytes(32), "test", ["mark"], None))
once(ReplyStore(database, OwnerLock(database)), SECRET, CALLER, NAME, b"s" * 32,
     lambda: os.kill(os.getpid(), signal.SIGKILL))
"""
    died = subprocess.run(
        [sys.executable, "-c", program, database_url], cwd=Path(__file__).parents[2], check=False
    )
    assert died.returncode == -signal.SIGKILL
    database = Database(database_url)
    try:
        store = ReplyStore(database, OwnerLock(database))
        assert once(store, SECRET, CALLER, NAME, b"s" * 32, reply) == reply()
    finally:
        database.close()
