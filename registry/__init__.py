"""The registry: every generation we released, its fingerprints, and whether some audio is one of them.

    with Registry.open(data_dir_or_url) as registry:
        generation_id = registry.register(wav, sample_rate, metadata)
        result = registry.match(wav, sample_rate)

PostgreSQL holds the truth; the Faiss index is a replica of it. Importing this package starts nothing and
reads nothing. Not covered: watermarks and verdicts; `api` composes those.
"""

from registry.candidates import strength
from registry.errors import (
    DatabaseUnavailable,
    DatabaseUnsupported,
    DataFolderError,
    GenerationClosed,
    IndexUnavailable,
    LogDamaged,
    LogRefused,
    LogUnavailable,
    ProofRefused,
    Refusal,
    RegistryError,
    RegistryInputError,
    StartFromSnapshot,
    UnknownGeneration,
    UnknownKey,
    WeightsUnavailable,
)
from registry.issued import IssuedIds
from registry.keys import KeyStore, NewKey, StoredKey
from registry.matching import Match, MatchResult, Prepared
from registry.recording import Recording
from registry.records import EVERY_GENERATION, Generation, GenerationFilter, NewGeneration
from registry.registry import Registry
from registry.replica import IndexCheck, IndexStatus
from registry.replies import Claim, ReplyStore, RequestName
from registry.tables import GenerationState

__all__ = [
    "EVERY_GENERATION",
    "Claim",
    "DataFolderError",
    "DatabaseUnavailable",
    "DatabaseUnsupported",
    "Generation",
    "GenerationClosed",
    "GenerationFilter",
    "GenerationState",
    "IndexCheck",
    "IndexStatus",
    "IndexUnavailable",
    "IssuedIds",
    "KeyStore",
    "LogDamaged",
    "LogRefused",
    "LogUnavailable",
    "Match",
    "MatchResult",
    "NewGeneration",
    "NewKey",
    "Prepared",
    "ProofRefused",
    "Recording",
    "Refusal",
    "Registry",
    "RegistryError",
    "RegistryInputError",
    "ReplyStore",
    "RequestName",
    "StartFromSnapshot",
    "StoredKey",
    "UnknownGeneration",
    "UnknownKey",
    "WeightsUnavailable",
    "strength",
]
