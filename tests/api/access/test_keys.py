"""Keys and the secret under them: how they look, where they live, and that a wrong one opens nothing."""

import hashlib
import hmac
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access.accounts import ANONYMOUS, Accounts, Scope
from api.access.key_text import ALPHABET, PREFIX, check_key_text, new_key_text
from api.access.secret import ServerSecret
from api.errors import InvalidKey, MissingKey, MissingScope, SecretFileError
from registry import KeyStore
from registry.database import Database

GOOD = "earmark_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZab2kWsES"


# how a key looks


def test_a_hand_made_key_passes() -> None:
    """The format is pinned: secret scanners look for it. CRC-32 of the first 46 characters in base 62."""
    assert check_key_text(GOOD) == GOOD


def test_new_keys_pass_and_differ() -> None:
    made = {check_key_text(new_key_text()) for _ in range(100)}
    assert len(made) == 100
    assert all(len(text) == len(GOOD) and text.startswith(PREFIX) for text in made)


@given(place=st.integers(0, len(GOOD) - 1), letter=st.sampled_from(ALPHABET))
def test_one_wrong_character_is_noticed_without_the_database(place: int, letter: str) -> None:
    mistyped = GOOD[:place] + letter + GOOD[place + 1 :]
    if mistyped != GOOD:
        with pytest.raises(InvalidKey):
            check_key_text(mistyped)


@given(st.text() | st.text(ALPHABET, min_size=44, max_size=44).map(PREFIX.__add__))
def test_no_other_text_is_a_key_and_none_is_echoed(text: str) -> None:
    """2^-32 of the well-formed ones have the right checksum by chance: no example in a lifetime."""
    with pytest.raises(InvalidKey) as refused:
        check_key_text(text)
    assert len(text) < 12 or text not in str(refused.value)


# the server's secret


def test_the_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "server.secret"
    made: list[ServerSecret] = []
    threads = [
        threading.Thread(target=lambda: made.append(ServerSecret.load_or_create(path))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({secret.value for secret in made}) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["server.secret"]
    assert made[0].value.hex() not in repr(made[0])


def test_a_digest_is_hmac_sha256_of_label_and_parts() -> None:
    secret = ServerSecret(b"k" * 32)
    message = b"label\0" + (2).to_bytes(8, "big") + b"ab" + (1).to_bytes(8, "big") + b"c"
    assert secret.digest("label", b"ab", b"c") == hmac.new(b"k" * 32, message, hashlib.sha256).digest()
    assert secret.digest("label", b"a", b"bc") != secret.digest("label", b"ab", b"c")


@pytest.mark.parametrize(
    "content",
    ["", "earmark-server-secret-1\n", "earmark-server-secret-1\nabcd\n", "x\n" + "ab" * 32, "a b c"],
)
def test_a_damaged_secret_is_refused_and_never_replaced(tmp_path: Path, content: str) -> None:
    """A new one in its place would silently make every key invalid."""
    path = tmp_path / "server.secret"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SecretFileError, match="backup"):
        ServerSecret.load_or_create(path)
    assert path.read_text() == content


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "server.secret"
    ServerSecret.load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(SecretFileError, match="chmod 600"):
        ServerSecret.load_or_create(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write anywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SecretFileError, match="cannot be written"):
        ServerSecret.load_or_create(tmp_path / "keys" / "server.secret")


# who is this


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(KeyStore(database), ServerSecret(b"k" * 32))


def test_a_key_is_its_owners_with_its_scopes(accounts: Accounts) -> None:
    new = accounts.create("tool", {Scope.MARK, Scope.AUDIT})
    caller = accounts.identify(new.text)
    assert (caller.key_id, caller.scopes) == (new.stored.key_id, {"mark", "audit"})
    caller.require(Scope.MARK)
    with pytest.raises(MissingScope, match="generate"):
        caller.require(Scope.GENERATE)
    with pytest.raises(MissingKey, match="Bearer"):
        ANONYMOUS.require(Scope.MARK)
    assert accounts.identify(None) is ANONYMOUS


def test_unknown_revoked_and_expired_keys_are_refused_alike(accounts: Accounts) -> None:
    """Different words would tell a thief which of his keys was once good."""
    revoked = accounts.create("revoked", {Scope.MARK})
    accounts.revoke(revoked.stored.key_id)
    expired = accounts.create("expired", {Scope.MARK}, datetime.now(UTC) - timedelta(seconds=1))
    words = set()
    for text in (new_key_text(), revoked.text, expired.text):
        with pytest.raises(InvalidKey) as refused:
            accounts.identify(text)
        words.add(str(refused.value))
    assert len(words) == 1


def test_neither_rows_nor_reprs_hold_the_key(accounts: Accounts, database: Database) -> None:
    new = accounts.create("tool", {Scope.MARK})
    with database.engine.connect() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM api_key").mappings().all())
    for shown in (stored, repr(new), repr(accounts.identify(new.text)), repr(accounts.newest(1))):
        assert new.text not in shown
        assert new.text.encode().hex() not in shown


def test_under_another_secret_no_key_is_known(accounts: Accounts, database: Database) -> None:
    new = accounts.create("tool", {Scope.MARK})
    with pytest.raises(InvalidKey):
        Accounts(KeyStore(database), ServerSecret(b"j" * 32)).identify(new.text)
