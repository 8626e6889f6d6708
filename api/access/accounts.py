"""API keys from the operator's and from the caller's side: make, list and revoke; and who is this?

    new = accounts.create("podcast tool", {Scope.MARK}, expires_at=None)    # new.text is shown once
    caller = accounts.identify(text)                                        # None: ANONYMOUS

(1) a text without the form of a key is refused without asking the database; (2) its digest under the server's
secret is looked up; (3) unknown, (4) revoked and (5) expired keys are refused in the same words, so that
nobody learns which. Not covered: HTTP (api/routes/access.py), how often (api/access/rates.py)."""

import enum
import secrets
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import UTC, datetime

from api.access.key_text import check_key_text, new_key_text
from api.access.secret import ServerSecret
from api.errors import InvalidKey, MissingKey, MissingScope
from registry import KeyStore, NewKey, StoredKey


class Scope(enum.StrEnum):
    """What a key may be good for. Detection and single generations need none."""

    GENERATE = "generate"  # make speech here
    MARK = "mark"  # mark and register speech that another engine made
    AUDIT = "audit"  # list and export every generation, read the metrics


@dataclass(frozen=True)
class Caller:
    """Who sent a request: a key, or nobody known."""

    key_id: str | None
    scopes: frozenset[str]
    secret: bytes = field(default=b"", repr=False)
    """The key's text: whatever is kept for this caller alone is encrypted under it."""

    @property
    def is_anonymous(self) -> bool:
        return self.key_id is None

    def require(self, scope: Scope) -> None:
        """Raises MissingKey when there is no key, MissingScope when it is not good for this."""
        if self.is_anonymous:
            raise MissingKey(
                f"this needs an API key with the scope '{scope}': send it as 'Authorization: Bearer "
                "earmark_…'; `earmark keys create` makes one"
            )
        if scope not in self.scopes:
            raise MissingScope(f"this key lacks the scope '{scope}'; `earmark keys create` makes another")


ANONYMOUS = Caller(None, frozenset())


@dataclass(frozen=True)
class Visitor:
    """A caller and where the request came from: what limits are counted by."""

    caller: Caller
    network: str  # api.access.rates.network

    @property
    def name(self) -> str:
        """Whom to count this request for."""
        return self.caller.key_id or self.network


@dataclass(frozen=True)
class CreatedKey:
    """A new key: the one moment its text exists outside its owner's hands."""

    text: str = field(repr=False)
    stored: StoredKey


class Accounts:
    """The keys of one registry under one server secret. Blocks; safe to share between threads."""

    def __init__(self, store: KeyStore, secret: ServerSecret) -> None:
        self._store = store
        self._secret = secret

    def create(self, label: str, scopes: Set[Scope], expires_at: datetime | None = None) -> CreatedKey:
        """Durable when it returns. Raises RegistryInputError for a label that cannot be stored."""
        text = new_key_text()
        new = NewKey(secrets.token_hex(4), self._digest(text), label, sorted(scopes), expires_at)
        return CreatedKey(text, self._store.insert(new))

    def newest(self, limit: int) -> list[StoredKey]:
        """What is known of the keys, newest first; never their text."""
        return self._store.newest(limit)

    def revoke(self, key_id: str) -> StoredKey:
        """Requests that begin afterwards are refused. Raises UnknownKey."""
        return self._store.revoke(key_id)

    def identify(self, text: str | None) -> Caller:
        """Whose key this is; None is ANONYMOUS. Raises InvalidKey: a wrong key never counts as no key."""
        if text is None:
            return ANONYMOUS
        stored = self._store.find(self._digest(check_key_text(text)))  # (1) (2)
        if stored is None or not is_valid(stored):  # (3) (4) (5)
            raise InvalidKey("this API key is unknown, revoked or expired")
        return Caller(stored.key_id, stored.scopes, text.encode())

    def _digest(self, text: str) -> bytes:
        return self._secret.digest("api-key", text.encode())


def is_valid(key: StoredKey) -> bool:
    """Neither revoked nor expired now."""
    return key.revoked_at is None and (key.expires_at is None or datetime.now(UTC) < key.expires_at)
