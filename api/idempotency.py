"""Answer a request that is sent again from the first one's answer: the header Idempotency-Key.

    reply = once(service, caller, name, request_sha256, produce)     # in a worker thread

(1) claim the name, for this caller alone; (2) kept already: that answer again, marked as replayed; (3)
another request under the same name: RequestConflict; (4) still at work: RequestAtWork; (5) otherwise
produce, (6) keep the answer, durably, and only then (7) return it. A failure is not kept: send again.

What a crash leaves: after (1) or (5) a claim whose owner is dead, so that the next attempt produces anew, and
what the first produced was released to nobody; after (6) the answer. See registry/replies.py.

An answer can hold audio, so it is encrypted (AES-256-GCM) under a key that is derived from the server's
secret, the caller's API key and the name, of which the database has none: whoever reads it, we ourselves
included, sees random bytes. It is gone after 24 hours. Not covered: anonymous callers, who have nothing to
encrypt under."""

import contextlib
import hashlib
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from api.access.accounts import Caller
from api.access.secret import ServerSecret
from api.errors import MissingKey, RequestAtWork, RequestConflict, RequestNameError
from registry import Claim, RegistryError, ReplyStore, RequestName

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
NAME = re.compile(r"[\x21-\x7e]{8,128}")
"""What a client may call a request; a UUID is the usual choice."""

_NONCE_BYTES = 12  # NIST SP 800-38D, sec. 8.2; one key encrypts one answer


@dataclass(frozen=True)
class Reply:
    """An answer as it goes over the wire."""

    media_type: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


def once(
    store: ReplyStore,
    secret: ServerSecret,
    caller: Caller,
    name: str | None,
    request_sha256: bytes,
    produce: Callable[[], Reply],
) -> Reply:
    """`produce()`, or what it gave the first time. `name` is the header's value; None: just produce.

    `request_sha256` covers everything that the answer depends on. Raises RequestNameError, MissingKey,
    RequestConflict, RequestAtWork, RegistryError, and as `produce`.
    """
    if name is None:
        return produce()
    if not NAME.fullmatch(name):
        raise RequestNameError(f"{HEADER} must be 8 to 128 visible ASCII characters, such as a UUID")
    if caller.key_id is None:
        raise MissingKey(f"{HEADER} needs an API key: an answer is kept for its caller alone")
    row = RequestName(caller.key_id, secret.digest("request-name", name.encode()))
    cipher = AESGCM(secret.digest("reply", caller.secret, name.encode()))
    claim, kept = store.claim(row, request_sha256)  # (1)
    match claim:
        case Claim.KEPT:  # (2)
            assert kept is not None
            return _replayed(_open(cipher, kept))
        case Claim.OTHER_REQUEST:  # (3)
            raise RequestConflict(f"this {HEADER} was sent with another request; take a new one for each")
        case Claim.AT_WORK:  # (4)
            raise RequestAtWork("the first request with this Idempotency-Key is not answered yet; wait")
    try:
        reply = produce()  # (5)
        if not store.keep(row, _sealed(cipher, reply)):  # (6)
            raise RequestAtWork("another server has taken this request over; wait for its answer")
    except BaseException:
        with contextlib.suppress(RegistryError):  # then our next claim of it takes it over
            store.drop(row)
        raise
    return reply  # (7)


def digest_of(route: str, parameters: dict[str, str], body: bytes) -> bytes:
    """SHA-256 over everything that a request's answer depends on."""
    head = json.dumps([route, parameters], sort_keys=True).encode()
    return hashlib.sha256(len(head).to_bytes(8, "big") + head + body).digest()


def _sealed(cipher: AESGCM, reply: Reply) -> bytes:
    head = json.dumps([reply.media_type, reply.headers]).encode()
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, len(head).to_bytes(4, "big") + head + reply.body, None)


def _open(cipher: AESGCM, sealed: bytes) -> Reply:
    """Raises InvalidTag when somebody has changed the row: a fault to be seen, not a reply to be sent."""
    plain = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
    end = 4 + int.from_bytes(plain[:4], "big")
    media_type, headers = json.loads(plain[4:end])
    return Reply(media_type, headers, plain[end:])


def _replayed(reply: Reply) -> Reply:
    return Reply(reply.media_type, {**reply.headers, REPLAYED: "true"}, reply.body)
