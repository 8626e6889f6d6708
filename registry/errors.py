"""Everything the registry raises, named for what the caller does next.

RegistryError
├── DatabaseUnavailable    try again: nothing was half done; the message says what to look at
├── DatabaseUnsupported    a person must act: wrong server version, wrong URL, schema from a newer release
├── DataFolderError        choose or repair the data folder; the message names the path
├── StartFromSnapshot      the changelog no longer reaches back to this position: read the table instead
├── IndexUnavailable       rebuild the index (`earmark index rebuild`); the database is whole
├── WeightsUnavailable     the fingerprint network's weights are missing or do not match their hash
├── UnknownGeneration      no such generation in this registry
├── UnknownKey             no such API key in this registry
├── GenerationClosed       this generation is complete or aborted; begin a new one
├── LogUnavailable         try again: the log has not taken the entry, so nothing may be released
├── LogRefused             a person must act: signing would contradict what was signed before
├── LogDamaged             the log's files contradict each other or the database; the message names where
├── ProofRefused           a receipt, checkpoint or signature is not what it claims; `reason` says which way
└── RegistryInputError     the caller's audio or description is not usable; the message says why

"No match" and "no generation with this content id" are results, never exceptions. Errors of SQLAlchemy,
psycopg2, Faiss and the operating system are translated where they arise and kept as `__cause__`.
"""

from enum import StrEnum


class RegistryError(Exception):
    """Base of every error this package raises on purpose."""


class DatabaseUnavailable(RegistryError):
    """The database cannot be reached now. What was acknowledged is kept; the failed call changed nothing or,
    when the connection broke during its commit, all of it: look the generation up before doing it again."""


class DatabaseUnsupported(RegistryError):
    """The database answers but cannot be used as it is."""


class DataFolderError(RegistryError):
    """The data folder, or the server inside it, cannot be used as it is."""


class StartFromSnapshot(RegistryError):
    """What lay behind this position was dropped; an empty answer would look like being up to date."""


class IndexUnavailable(RegistryError):
    """The search index cannot answer; PostgreSQL still holds everything it is built from."""


class WeightsUnavailable(RegistryError):
    """The fingerprint network's weights are missing, damaged, or not the ones that were asked for."""


class UnknownGeneration(RegistryError):
    """The registry holds no generation under this id."""


class UnknownKey(RegistryError):
    """The registry holds no API key under this id."""


class GenerationClosed(RegistryError):
    """The generation no longer accepts audio: it is complete or aborted."""


class LogUnavailable(RegistryError):
    """No receipt now. The entry may be logged later all the same; release nothing that it speaks of."""


class LogRefused(RegistryError):
    """The signer, its key or its record of the last signed tree does not fit this log."""


class LogDamaged(RegistryError):
    """What is stored of the log is not what was signed."""


class Refusal(StrEnum):
    """Why a receipt, a checkpoint or a signed result is refused."""

    MALFORMED = "malformed"
    WRONG_LOG = "wrong_log"  # of a log that is not trusted
    UNSIGNED = "unsigned"  # no trusted key of that log signed it
    BAD_SIGNATURE = "bad_signature"  # a trusted key's name over something else
    TOO_FEW_WITNESSES = "too_few_witnesses"
    NOT_IN_TREE = "not_in_tree"  # an index beyond the signed size
    WRONG_PROOF = "wrong_proof"  # entry and proof do not lead to the signed root
    INCONSISTENT = "inconsistent"  # the newer tree does not extend the older one
    NO_COMMITMENT = "no_commitment"  # an entry that says nothing about finished audio
    NO_SALT = "no_salt"  # the commitment cannot be opened
    WRONG_AUDIO = "wrong_audio"


class ProofRefused(RegistryError):
    """It proves nothing; `reason` says why."""

    def __init__(self, reason: Refusal, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RegistryInputError(RegistryError):
    """The caller's audio, sample rate, description or limit is not usable."""
