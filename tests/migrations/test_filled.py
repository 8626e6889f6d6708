"""Migrations of a database that holds something: what an earlier release registered is found afterwards."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from sqlalchemy import exc, text

from audio import decode
from registry import Registry
from registry.backup import backup, restore
from registry.database import SCHEMA_REVISION, Database, schema_revision
from registry.fingerprint.windows import HOP_SAMPLES, Fingerprinter
from registry.packing import pack_informative
from registry.postgres import EmbeddedServer
from registry.records import uuid7
from tests.conftest import empty_database
from tests.registry.conftest import debian_server

__all__ = ["debian_server"]

CLIP = Path(__file__).parents[1] / "assets/amelia.flac"
GENERATION = """
INSERT INTO generation (generation_id, content_id, state, finished_at, system, system_version, model,
                        sample_rate_hz, num_samples, pcm_sha256, owner)
VALUES (:generation_id, 7, 'complete', clock_timestamp(), 'earmark', '0', 'none', 24000, 1, sha256('x'), 1)
RETURNING ordinal
"""
FINGERPRINT = """
INSERT INTO fingerprint
    (generation_ordinal, first_window, num_windows, fp_model_id, codes, signs, informative)
VALUES (:ordinal, :first_window, :num_windows, :model, :codes, :signs, :informative)
"""


@pytest.fixture(params=["embedded_server", "debian_server"])
def at_0005(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database as the release before codes of four bits left it, without rows."""
    server: EmbeddedServer = request.getfixturevalue(request.param)
    upgrade = command.upgrade
    with empty_database(server) as url:
        with monkeypatch.context() as patched:
            patched.setattr(command, "upgrade", lambda config, _: upgrade(config, "0005"))
            database = Database(url)
            database.prepare()
            database.close()
        yield url


def test_codes_of_eight_bits_stay_as_they_are_and_are_found(at_0005: str) -> None:
    """As that release wrote them: round(127 e). Beside them a new generation of the same speech, whose codes
    take half, and both are whole to `index check`."""
    wav_T = decode(CLIP).wav_T
    fingerprinter = Fingerprinter.load()
    windows = fingerprinter.run(wav_T)
    N = len(windows.codes_ND)
    emb_ND = fingerprinter.embed(wav_T, HOP_SAMPLES, num_windows=N)
    codes_ND = np.rint(127.0 * emb_ND).astype(np.int8)
    generation_id = uuid7()
    database = Database(at_0005)
    with database.transaction() as connection:
        ordinal = connection.execute(text(GENERATION), {"generation_id": generation_id}).scalar_one()
        model = connection.execute(
            text(
                "INSERT INTO fp_model (weights_sha256, version) VALUES (:sha256, '2') RETURNING fp_model_id"
            ),
            {"sha256": bytes.fromhex(fingerprinter.weights_sha256)},
        ).scalar_one()
        for part in (slice(0, 3), slice(3, N)):
            row = {
                "ordinal": ordinal,
                "first_window": part.start,
                "num_windows": len(codes_ND[part]),
                "model": model,
                "codes": codes_ND[part].tobytes(),
                "signs": windows.signs_NB[part].tobytes(),
                "informative": pack_informative(windows.informative_N[part]),
            }
            connection.execute(text(FINGERPRINT), row)
    database.close()
    with Registry.open(at_0005) as registry:
        found = registry.match(wav_T[36_000:132_000], 24_000)
        assert [match.generation_id for match in found.matches] == [generation_id]
        assert found.matches[0].offset_s == pytest.approx(1.5, abs=0.02)
        with registry._database.transaction() as connection:
            stored = connection.execute(text("SELECT codes FROM fingerprint ORDER BY first_window")).scalars()
            assert b"".join(map(bytes, stored)) == codes_ND.tobytes()
        again = registry.register(wav_T, 24_000)
        assert registry.index.check().passed
        found = registry.match(wav_T[36_000:132_000], 24_000)
        assert {match.generation_id for match in found.matches} == {generation_id, again}


@pytest.mark.parametrize("length", [0, 63, 65, 127, 129, 192])
def test_codes_of_any_other_length_are_refused(database: Database, length: int) -> None:
    """What cannot be read back must not be acknowledged."""
    with database.transaction() as connection:
        ordinal = connection.execute(text(GENERATION), {"generation_id": uuid7()}).scalar_one()
        connection.execute(text("INSERT INTO fp_model (weights_sha256, version) VALUES (sha256('x'), '2')"))
    row = {"ordinal": ordinal, "first_window": 0, "num_windows": 1, "model": 1, "signs": bytes(64)}
    values = {**row, "codes": bytes(length), "informative": b"\x80"}
    with (
        pytest.raises(exc.IntegrityError, match="fingerprint_codes"),
        database.transaction() as connection,
    ):
        connection.execute(text(FINGERPRINT), values)


def test_a_backup_before_an_upgrade_is_of_the_release_before(at_0005: str, tmp_path: Path) -> None:
    """Made with the new programs it would else migrate first, and nothing were left to go back to."""
    database = Database(at_0005)
    backup(at_0005, tmp_path / "file")
    with database.transaction() as connection:
        assert schema_revision(connection) == "0005"
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    restore(at_0005, tmp_path / "file")
    with database.transaction() as connection:
        assert schema_revision(connection) == SCHEMA_REVISION
    database.close()
