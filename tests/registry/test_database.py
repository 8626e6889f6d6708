"""The border to PostgreSQL: URLs, versions, and what happens while the server is away."""

import psycopg2
import pytest
from sqlalchemy import exc, text

from registry.database import Database
from registry.errors import DatabaseUnavailable, DatabaseUnsupported


@pytest.mark.parametrize("url", ["sqlite:///file.db", "mysql://host/db", "not a url", ""])
def test_a_url_that_is_not_postgresql_is_refused(url: str) -> None:
    with pytest.raises(DatabaseUnsupported, match="postgresql://"):
        Database(url)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_every_usual_spelling_of_the_scheme_is_taken(scheme: str) -> None:
    assert Database(f"{scheme}://user@host/name").url.drivername == "postgresql+psycopg2"


def test_a_server_that_does_not_answer_is_unavailable_and_the_password_stays_secret() -> None:
    database = Database("postgresql://someone:very-secret@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseUnavailable, match=r"does not answer .*see that .*127.0.0.1:1") as error:
        database.prepare()
    assert "very-secret" not in str(error.value)


def test_a_connection_cut_between_two_uses_is_replaced_unnoticed(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(text("SELECT 1"))
    other = Database(database.url.render_as_string(hide_password=False))
    with other.transaction() as connection:
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
    other.close()
    with database.transaction() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_connection_cut_inside_a_transaction_is_unavailable(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable), database.transaction() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with database.transaction() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_mistake_of_ours_is_not_called_an_outage(database: Database) -> None:
    """Else a caller would repeat a broken statement forever."""
    with pytest.raises(exc.ProgrammingError), database.transaction() as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(KeyError), database.transaction() as connection:
        connection.execute(text("INSERT INTO fp_model (weights_sha256, version) VALUES (sha256('x'), '1')"))
        raise KeyError
    with database.transaction() as connection:
        assert connection.execute(text("SELECT count(*) FROM fp_model")).scalar_one() == 0


def test_a_commit_waits_for_the_disk(database: Database) -> None:
    """Log before release: an acknowledged row must survive a power failure."""
    with database.transaction() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


def test_what_the_driver_raises_unwrapped_when_its_server_dies_is_unavailable(database: Database) -> None:
    """Seen once, when PostgreSQL was killed while a connection was given back."""
    with pytest.raises(DatabaseUnavailable, match="server closed"), database.translated():
        raise psycopg2.DatabaseError("server closed the connection unexpectedly")


def test_a_lock_that_others_hold_is_not_called_a_server_that_is_away(database: Database) -> None:
    """Such as a migration beside a server of the release before: its operator must look for that one."""
    with (
        database.transaction() as holds,
        pytest.raises(DatabaseUnavailable, match=r"cannot do this now .*lock"),
    ):
        holds.execute(text("LOCK TABLE fingerprint IN SHARE MODE"))
        with database.transaction() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '20ms'"))
            connection.execute(text("ALTER TABLE fingerprint ADD COLUMN more integer"))


def test_a_server_that_takes_no_writes_is_unavailable(database: Database) -> None:
    """A primary that became a standby: what calls waits for the other one, and repeats."""
    with pytest.raises(DatabaseUnavailable, match="read-only"), database.transaction() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text("DELETE FROM reply"))


def test_a_role_without_rights_is_told_how_to_get_them(database: Database) -> None:
    """After an upgrade that brought a table, say, when nobody has granted again."""
    match = r"permission denied for table reply.*earmark registry grant"
    with pytest.raises(DatabaseUnsupported, match=match), database.transaction() as connection:
        connection.execute(text("SET LOCAL ROLE pg_monitor"))
        connection.execute(text("DELETE FROM reply"))
