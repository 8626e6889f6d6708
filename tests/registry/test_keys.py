"""API keys as rows: found by digest only, revoked for good, and never more precise about use than needed."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import exc, text

from registry import KeyStore, NewKey, RegistryInputError, UnknownKey
from registry.database import Database

DIGEST = bytes(range(32))


def new_key(key_id: str = "0123abcd", digest: bytes = DIGEST, **changes: object) -> NewKey:
    values = {"label": "podcast tool", "scopes": ["mark"], "expires_at": None, **changes}
    return NewKey(key_id, digest, **values)


@pytest.fixture
def keys(database: Database) -> KeyStore:
    return KeyStore(database)


def test_a_key_is_found_by_its_digest_and_by_no_other(keys: KeyStore) -> None:
    expires_at = datetime(2030, 1, 1, tzinfo=UTC)
    keys.insert(new_key(scopes=["mark", "audit"], expires_at=expires_at))
    found = keys.find(DIGEST)
    assert found is not None
    assert (found.key_id, found.label, found.scopes) == ("0123abcd", "podcast tool", {"mark", "audit"})
    assert found.expires_at == expires_at
    assert found.revoked_at is None
    assert keys.find(DIGEST[:-1] + b"\x00") is None


def test_use_is_noted_once_a_minute(keys: KeyStore, database: Database) -> None:
    """A write for every request would make each read a commit."""
    keys.insert(new_key())
    assert keys.find(DIGEST).last_used_at is None
    first = keys.find(DIGEST).last_used_at
    assert first is not None
    keys.find(DIGEST)
    assert keys.find(DIGEST).last_used_at == first
    with database.transaction() as connection:
        connection.execute(text("UPDATE api_key SET last_used_at = last_used_at - interval '2 minutes'"))
    keys.find(DIGEST)
    assert keys.find(DIGEST).last_used_at > first - timedelta(minutes=1)


def test_a_revoked_key_stays_revoked_since_the_first_time(keys: KeyStore) -> None:
    keys.insert(new_key())
    first = keys.revoke("0123abcd").revoked_at
    assert first is not None
    assert keys.revoke("0123abcd").revoked_at == first
    assert keys.find(DIGEST).revoked_at == first
    assert keys.find(DIGEST).last_used_at is None, "a refused key was not used"
    with pytest.raises(UnknownKey, match="keys list"):
        keys.revoke("ffffffff")


@pytest.mark.parametrize("label", ["", "x" * 101, "a\nb", "a\x00b", "\u202egnp"])
def test_a_label_that_would_garble_the_list_is_refused(keys: KeyStore, label: str) -> None:
    with pytest.raises(RegistryInputError, match="label"):
        keys.insert(new_key(label=label))
    assert keys.newest(10) == []


@pytest.mark.parametrize("scopes", [[], ["admin"], ["mark", "everything"]])
def test_the_database_itself_refuses_other_scopes(keys: KeyStore, scopes: list[str]) -> None:
    with pytest.raises(exc.IntegrityError):
        keys.insert(new_key(scopes=scopes))


def test_keys_are_listed_newest_first(keys: KeyStore) -> None:
    for number in range(3):
        keys.insert(new_key(f"0000000{number}", bytes([number]) * 32))
    assert [key.key_id for key in keys.newest(2)] == ["00000002", "00000001"]


def test_a_purge_forgets_whose_a_key_was_once_it_is_dead_long_enough(
    keys: KeyStore, database: Database
) -> None:
    """Dead by revocation or by expiry; a key without an end is never purged."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    keys.insert(new_key())
    keys.insert(new_key("0000000a", bytes(32), expires_at=past))
    keys.insert(new_key("0000000b", bytes([1]) * 32, expires_at=datetime.now(UTC) - timedelta(days=89)))
    keys.revoke("0000000b")
    assert keys.purge() == 1
    assert keys.purge() == 0
    labels = {key.key_id: key.label for key in keys.newest(10)}
    assert labels == {"0123abcd": "podcast tool", "0000000a": "(purged)", "0000000b": "podcast tool"}
    assert keys.purge(timedelta(0)) == 1
