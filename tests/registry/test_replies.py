"""One request, one piece of work, one answer: whoever sends it again, and whoever dies in between."""

import hashlib
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from registry import Claim, DatabaseUnavailable, KeyStore, NewKey, ReplyStore, RequestName
from registry.database import Database
from registry.owner import OwnerLock
from registry.replies import REMOVED_AT_ONCE
from tests.registry.failing_commits import KEPT, failing_commit

NAME = RequestName("0123abcd", b"n" * 32)
SHA, OTHER_SHA = b"s" * 32, b"t" * 32


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    KeyStore(database).insert(NewKey(NAME.key_id, bytes(32), "test", ["mark"], None))
    yield database
    database.close()


def store(database: Database) -> tuple[ReplyStore, OwnerLock]:
    """A process of its own, as far as the database can tell."""
    owner = OwnerLock(database)
    return ReplyStore(database, owner), owner


def test_the_first_works_and_the_second_gets_its_answer(database: Database) -> None:
    replies, _ = store(database)
    assert replies.claim(NAME, SHA) == (Claim.YOURS, None)
    assert replies.keep(NAME, b"answer")
    assert replies.claim(NAME, SHA) == (Claim.KEPT, b"answer")


def test_while_one_works_the_other_is_told_so(database: Database) -> None:
    first, _ = store(database)
    second, _ = store(database)
    assert first.claim(NAME, SHA) == (Claim.YOURS, None)
    assert second.claim(NAME, SHA) == (Claim.AT_WORK, None)
    assert first.claim(NAME, SHA) == (Claim.AT_WORK, None)


def test_the_same_name_for_another_request_is_told_apart(database: Database) -> None:
    replies, _ = store(database)
    replies.claim(NAME, SHA)
    assert replies.claim(NAME, OTHER_SHA) == (Claim.OTHER_REQUEST, None)
    replies.keep(NAME, b"answer")
    assert replies.claim(NAME, OTHER_SHA) == (Claim.OTHER_REQUEST, None)


def test_what_failed_may_be_tried_again_and_what_was_kept_stays(database: Database) -> None:
    replies, _ = store(database)
    replies.claim(NAME, SHA)
    replies.drop(NAME)
    assert replies.claim(NAME, SHA) == (Claim.YOURS, None)
    replies.keep(NAME, b"answer")
    replies.drop(NAME)
    assert replies.claim(NAME, SHA) == (Claim.KEPT, b"answer")


def test_a_dead_workers_request_is_taken_over_by_exactly_one(database: Database) -> None:
    """Without this a crash blocks a client's request for a day."""
    dead, owner = store(database)
    dead.claim(NAME, SHA)
    owner.release()
    heirs = [store(database)[0] for _ in range(4)]
    claims: list[Claim] = []
    threads = [threading.Thread(target=lambda s=s: claims.append(s.claim(NAME, SHA)[0])) for s in heirs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (claims.count(Claim.YOURS), claims.count(Claim.AT_WORK)) == (1, 3)


@KEPT
def test_a_claim_whose_commit_failed_can_be_made_again_at_once(database: Database, kept: bool) -> None:
    """Kept but reported failed, it would block the client's request for as long as this process lives."""
    replies, _ = store(database)
    with failing_commit(database, 1, kept), pytest.raises(DatabaseUnavailable):
        replies.claim(NAME, SHA)
    assert replies.claim(NAME, SHA) == (Claim.YOURS, None)
    assert replies.claim(NAME, SHA) == (Claim.AT_WORK, None)
    assert replies.keep(NAME, b"answer")
    assert replies.claim(NAME, SHA) == (Claim.KEPT, b"answer")


def test_of_threads_that_claim_at_once_one_works(database: Database) -> None:
    replies, _ = store(database)
    claims: list[Claim] = []
    threads = [threading.Thread(target=lambda: claims.append(replies.claim(NAME, SHA)[0])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (claims.count(Claim.YOURS), claims.count(Claim.AT_WORK)) == (1, 5)
    replies.drop(NAME)
    assert replies.claim(NAME, SHA) == (Claim.YOURS, None)


def test_who_was_taken_for_dead_cannot_keep_its_answer(database: Database) -> None:
    """Both would be released: two generations for one request."""
    slow, owner = store(database)
    slow.claim(NAME, SHA)
    owner.release()
    heir, _ = store(database)
    assert heir.claim(NAME, SHA) == (Claim.YOURS, None)
    assert not slow.keep(NAME, b"late")
    slow.drop(NAME)
    assert heir.keep(NAME, b"answer")
    assert heir.claim(NAME, SHA) == (Claim.KEPT, b"answer")


def test_answers_are_gone_after_a_day(database: Database) -> None:
    replies, _ = store(database)
    replies.claim(NAME, SHA)
    replies.keep(NAME, b"answer")
    with database.transaction() as connection:
        connection.execute(text("UPDATE reply SET created_at = created_at - interval '25 hours'"))
    assert replies.claim(NAME, OTHER_SHA) == (Claim.YOURS, None)


def test_a_claim_after_a_quiet_day_removes_few_of_the_old_answers_and_its_own(database: Database) -> None:
    """All of them at once may take longer than a statement may, and then nobody could claim any more."""
    replies, _ = store(database)
    many = """INSERT INTO reply (key_id, request_key, request_sha256, owner, created_at, body)
        SELECT :key_id, sha256(n::text::bytea), :sha, 1, now() - interval '25 h' - n * interval '1 s', 'x'
        FROM generate_series(1, 249) n"""
    with database.transaction() as connection:
        connection.execute(text(many), {"key_id": NAME.key_id, "sha": SHA})
    newest = RequestName(NAME.key_id, hashlib.sha256(b"1").digest())
    assert replies.claim(newest, OTHER_SHA) == (Claim.YOURS, None)
    with database.transaction() as connection:
        assert connection.execute(text("SELECT count(*) FROM reply")).scalar_one() == 249 - REMOVED_AT_ONCE
    assert replies.purge() == 248 - REMOVED_AT_ONCE
    assert replies.keep(newest, b"answer")


def test_a_purge_removes_old_answers_without_a_claim(database: Database) -> None:
    """Else the last answers before a quiet month stay for that month."""
    replies, _ = store(database)
    replies.claim(NAME, SHA)
    replies.keep(NAME, b"answer")
    assert replies.purge() == 0
    with database.transaction() as connection:
        connection.execute(text("UPDATE reply SET created_at = created_at - interval '25 hours'"))
    assert replies.purge() == 1
