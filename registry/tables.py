"""The registry's tables as typed models; migrations/versions creates them and repeats them on purpose.

registry_identity      one row in all: which registry this is
generation             one row for each utterance that was, or was about to be, released
fp_model               the fingerprint networks whose codes are in the registry
fingerprint            packed windows of one chunk of one generation; rows are never changed or removed
fingerprint_changelog  one row for each fingerprint row, in commit order: what replicas replay; in partitions
fingerprint_changelog_floor  one row in all: the position up to which partitions were dropped
log_entry              the transparency log's entries; without an index yet: the outbox of the sequencer
log_salt               what opens the commitments in them; the one table of the log whose rows may go
log_key                which key signs the log of this database

A generation holds about 800 bytes with its entries in the log, a window 128 bytes of codes and signs plus 5
of overhead, or 53 and 40 more in the changelog where rows hold a second (benchmarks/storage.py). Windows
are packed because one row for each window costs 1.2 to 1.4 times the space and reads at half the speed.

Dimensions: N windows, D = 128 embedding width. Source: AcoustID server (2026), changelog in commit order;
differs: partitions by position and not by month, made when they are needed.
Not covered: account data; nothing here names a person.
"""

import enum
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Integer, LargeBinary, MetaData, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

EMBEDDING_WIDTH = 128
CODE_BYTES = 64  # of a window; twin: migrations/versions/0006_four_bits.py, the check on fingerprint.codes
SIGN_BYTES = 64  # of a window; twins: registry/fingerprint/subprints.py, migrations/versions/0005_signs.py
CONTENT_ID_BITS = 48  # twin: the check on generation.content_id there

# Advisory locks of the two-key form; the one-key form holds the owners' numbers (registry/owner.py), and
# PostgreSQL keeps the two forms apart. Each purpose has one number.
LOCK_SPACE = 0x6561726D  # "earm"
LOCK_CHANGELOG = 1  # twin: the functions in migrations/versions/0004_changelog_partitions.py
LOCK_MIGRATIONS = 2  # twin: migrations/env.py
LOCK_LOG = 3  # of the one process that sequences (registry/log/sequencer.py)


class GenerationState(enum.StrEnum):
    """Where a generation stands. Its windows are searchable in every state."""

    OPEN = "open"  # begun; audio may be leaving now
    COMPLETE = "complete"  # all of its audio is fingerprinted; duration and hash are final
    ABORTED = "aborted"  # ended early, by its owner or by its owner's death; what was released is kept


class Base(DeclarativeBase):
    metadata = MetaData()
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this name from the class
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
        bytes: LargeBinary,
        str: Text,
        uuid.UUID: Uuid,
    }


class IdentityRow(Base):
    __tablename__ = "registry_identity"

    registry_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class GenerationRow(Base):
    __tablename__ = "generation"

    # Rises in the order of insertion; a rolled back insert leaves a gap.
    ordinal: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    generation_id: Mapped[uuid.UUID]
    content_id: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    system: Mapped[str]
    system_version: Mapped[str]
    model: Mapped[str]
    sample_rate_hz: Mapped[int] = mapped_column(Integer)  # of the source; the counts below are at 24 kHz
    num_samples: Mapped[int] = mapped_column(BigInteger)  # fingerprinted so far; final once complete
    pcm_sha256: Mapped[bytes | None]  # of the released float32 little-endian samples at 24 kHz
    description: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB)
    owner: Mapped[int] = mapped_column(BigInteger)  # registry/owner.py


class FpModelRow(Base):
    __tablename__ = "fp_model"

    fp_model_id: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    weights_sha256: Mapped[bytes]
    version: Mapped[str]


class FingerprintRow(Base):
    __tablename__ = "fingerprint"

    generation_ordinal: Mapped[int] = mapped_column(ForeignKey("generation.ordinal"), primary_key=True)
    first_window: Mapped[int] = mapped_column(Integer, primary_key=True)
    num_windows: Mapped[int] = mapped_column(Integer)
    fp_model_id: Mapped[int] = mapped_column(ForeignKey("fp_model.fp_model_id"))
    codes: Mapped[bytes]  # [N, CODE_BYTES], N = num_windows; int8 [N, D] in an earlier release's (packing.py)
    signs: Mapped[bytes | None]  # uint8 [N, SIGN_BYTES], C order; None: of an earlier version
    informative: Mapped[bytes]  # one bit a window, first window in the highest bit, padded with 0


class ChangelogRow(Base):
    __tablename__ = "fingerprint_changelog"

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    created_at: Mapped[datetime]
    generation_ordinal: Mapped[int] = mapped_column(BigInteger)
    first_window: Mapped[int] = mapped_column(Integer)


class ChangelogFloorRow(Base):
    __tablename__ = "fingerprint_changelog_floor"

    singleton: Mapped[bool] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)


class LogEntryRow(Base):
    __tablename__ = "log_entry"

    # Rises in the order of insertion; a rolled back insert leaves a gap. The log's own number is below.
    entry_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    log_index: Mapped[int | None] = mapped_column(BigInteger)  # gap-free; set once, by the sequencer
    kind: Mapped[str]
    generation_id: Mapped[uuid.UUID | None]
    leaf: Mapped[bytes]  # canonical JSON
    created_at: Mapped[datetime]


class LogSaltRow(Base):
    __tablename__ = "log_salt"

    generation_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    salt: Mapped[bytes]  # 32 bytes


class LogKeyRow(Base):
    __tablename__ = "log_key"

    public_key: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]
