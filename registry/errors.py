"""Everything the registry raises, named for what the caller does next.

RegistryError
├── DatabaseUnavailable    try again: nothing was half done; the message says what to look at
├── DatabaseUnsupported    a person must act: wrong server version, wrong URL, schema from a newer release
├── DataFolderError        choose or repair the data folder; the message names the path
├── IndexUnavailable       rebuild the index (`earmark index rebuild`); the database is whole
├── WeightsUnavailable     the fingerprint network's weights are missing or do not match their hash
├── UnknownGeneration      no such generation in this registry
├── UnknownKey             no such API key in this registry
├── GenerationClosed       this generation is complete or aborted; begin a new one
└── RegistryInputError     the caller's audio or description is not usable; the message says why

"No match" and "no generation with this content id" are results, never exceptions. Errors of SQLAlchemy,
psycopg2, Faiss and the operating system are translated where they arise and kept as `__cause__`.
"""


class RegistryError(Exception):
    """Base of every error this package raises on purpose."""


class DatabaseUnavailable(RegistryError):
    """The database cannot be reached now. What was acknowledged is kept; the failed call changed nothing or,
    when the connection broke during its commit, all of it: look the generation up before doing it again."""


class DatabaseUnsupported(RegistryError):
    """The database answers but cannot be used as it is."""


class DataFolderError(RegistryError):
    """The data folder, or the server inside it, cannot be used as it is."""


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


class RegistryInputError(RegistryError):
    """The caller's audio, sample rate, description or limit is not usable."""
