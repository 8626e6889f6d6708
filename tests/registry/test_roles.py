"""The service's own role: all that the service does, and nothing that changes what was released."""

from collections.abc import Iterator

import pytest
from sqlalchemy import exc, make_url, text

from registry import (
    DatabaseUnsupported,
    NewGeneration,
    NewKey,
    Registry,
    RegistryInputError,
    RequestName,
    generations,
)
from registry.database import Database
from tests.registry.plain import speech
from tests.registry.test_changelog import append

ROLE = "Service's role"


@pytest.fixture
def restricted(database: Database, database_url: str) -> Iterator[str]:
    """A URL whose every session has the role's rights and no others."""
    name = make_url(database_url).database
    with database.transaction() as connection:
        connection.execute(text(f'CREATE ROLE "{ROLE}"'))
    with Registry.open(database_url) as registry:
        registry.grant(ROLE)
        registry.grant(ROLE)
    with database.transaction() as connection:
        connection.execute(text(f'ALTER DATABASE {name} SET role = "{ROLE}"'))
    yield database_url
    with database.transaction() as connection:
        connection.execute(text("SET LOCAL ROLE NONE"))
        connection.execute(text(f'DROP OWNED BY "{ROLE}"'))
        connection.execute(text(f"ALTER DATABASE {name} RESET role"))
        connection.execute(text(f'DROP ROLE "{ROLE}"'))


def test_the_service_needs_no_more_than_its_role_may(restricted: str) -> None:
    """Marking, searching, keys, kept replies and the purge; also where a partition has to be made."""
    with Registry.open(restricted) as registry:
        with registry._database.transaction() as connection:
            assert connection.execute(text("SELECT current_user")).scalar_one() == ROLE
        generation_id = registry.register(speech(96_000), 24_000)
        registry.begin(NewGeneration("test", "1", "none", 24_000))
        registry.index.rebuild()
        assert registry.index.check().passed
        assert registry.compare(generation_id, registry.prepare(speech(96_000), 24_000)) is not None
        registry.keys.insert(NewKey("0123abcd", bytes(32), "x", ["mark"], None))
        assert registry.keys.find(bytes(32)) is not None
        registry.keys.revoke("0123abcd")
        name = RequestName("0123abcd", bytes(32))
        registry.replies.claim(name, bytes(32))
        assert registry.replies.keep(name, b"answer")
        registry.purge()
    with Registry.open(restricted) as registry:
        assert registry.count_generations() == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fingerprint SET num_windows = 1",
        "DELETE FROM fingerprint",
        "TRUNCATE fingerprint CASCADE",
        "DELETE FROM fingerprint_changelog_0",
        "INSERT INTO fingerprint_changelog VALUES (99, now(), 1, 0)",
        "UPDATE fingerprint_changelog_floor SET position = 9",
        "DELETE FROM generation",
        "UPDATE generation SET content_id = 1",
        "UPDATE log_entry SET leaf = leaf",
        "DELETE FROM log_entry",
        "DELETE FROM log_salt",
        "UPDATE log_key SET since = now()",
        "DELETE FROM api_key",
        "ALTER TABLE fingerprint DISABLE TRIGGER USER",
        "DROP TABLE fingerprint_changelog_0",
        "SELECT setval('fingerprint_changelog_position', 1)",
    ],
)
def test_what_was_released_is_beyond_the_role(restricted: str, statement: str) -> None:
    """By its rights: the triggers, which the owner could drop, are not even asked."""
    database = Database(restricted)
    with (
        pytest.raises(DatabaseUnsupported, match=r"lacks a right \((permission denied|must be owner)"),
        database.transaction() as connection,
    ):
        connection.execute(text(statement))
    database.close()


@pytest.mark.parametrize("column", ["state", "finished_at", "num_samples", "pcm_sha256"])
def test_a_generation_is_closed_once(restricted: str, column: str) -> None:
    """The role may change these columns of one that is open, and of no other."""
    database = Database(restricted)
    with database.transaction() as connection:
        new = [generations.begin(connection, NewGeneration("test", "1", "none", 24_000), 1) for _ in "ab"]
        generations.finish(connection, new[0].generation_id, 24_000, bytes(32))
        generations.abort(connection, new[1].generation_id)
    changed = {"state": "'open'", "finished_at": "now()", "num_samples": "1", "pcm_sha256": "sha256('other')"}
    for one in new:
        with (
            pytest.raises(exc.IntegrityError, match=r"is (complete|aborted) and never changed again"),
            database.transaction() as connection,
        ):
            connection.execute(
                text(f"UPDATE generation SET {column} = {changed[column]} WHERE generation_id = :one"),
                {"one": one.generation_id},
            )
    database.close()


TAKEN_FOR_THE_CHANGELOG = """
CREATE TEMP TABLE fingerprint_changelog (LIKE public.fingerprint_changelog);
CREATE TEMP TABLE fingerprint_changelog_floor (LIKE public.fingerprint_changelog_floor);
CREATE FUNCTION pg_temp.as_whom() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''code of the role runs as %'', current_user; END';
CREATE TRIGGER as_whom BEFORE INSERT ON fingerprint_changelog EXECUTE FUNCTION pg_temp.as_whom();
"""


def test_tables_of_the_roles_own_are_not_taken_for_the_registrys(restricted: str) -> None:
    """Temporary ones come first in a search path that does not name them, and what numbers the changes runs
    with the owner's rights: so would a trigger on such a table."""
    database = Database(restricted)
    with database.transaction() as connection:
        connection.execute(text(TAKEN_FOR_THE_CHANGELOG))
        generation = generations.begin(connection, NewGeneration("test", "1", "none", 24_000), owner=1)
        model = generations.ensure_model(connection, "ab" * 32, "test")
        append(connection, generation.generation_id, model, 0, 1)
        assert connection.execute(text("SELECT count(*) FROM public.fingerprint_changelog")).scalar_one() == 1
        assert connection.execute(text("SELECT count(*) FROM fingerprint_changelog")).scalar_one() == 0
    database.close()


def test_a_schema_that_the_role_may_not_migrate_is_said_so(restricted: str, database: Database) -> None:
    """After an upgrade the owner comes first."""
    owner = Database(restricted)
    with owner.transaction() as connection:
        connection.execute(text("SET LOCAL ROLE NONE"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    with pytest.raises(DatabaseUnsupported, match="the role that owns it"):
        owner.prepare()
    owner.close()


def test_a_role_that_is_not_there_is_named(registry: Registry) -> None:
    with pytest.raises(RegistryInputError, match="no role 'nobody-such'"):
        registry.grant("nobody-such")
