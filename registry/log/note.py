"""Signed notes: a text, and below it one line for each signature, Ed25519 throughout.

    <text, ends with a newline>
    <empty line>
    — <key name> base64(key id, 4 bytes || signature)

A key is written `<name>+<key id in hex>+base64(type || public key)`. Type 1 signs the text; type 4 is a
witness, which signs the text with its time (C2SP tlog-cosignature). Source: C2SP signed-note and
tlog-cosignature, 2026; differs: no ML-DSA. Not here: what the text means (checkpoint.py), whom to trust
(trust.py).
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from registry.errors import ProofRefused, Refusal, RegistryInputError

SIGNATURE_DASH = "\N{EM DASH} "
TYPE_ED25519, TYPE_COSIGNATURE = 1, 4
MAX_NOTE_BYTES, MAX_SIGNATURES = 100_000, 100  # a checkpoint has some 200 bytes and 150 a signature
_KEY_BYTES, _SIGNATURE_BYTES, _TIME_BYTES = 32, 64, 8


@dataclass(frozen=True)
class VerifierKey:
    """A public key with its name. `str` gives the form that is published."""

    name: str
    public_key: bytes
    key_type: int = TYPE_ED25519

    def __post_init__(self) -> None:
        if not self.name or any(c.isspace() or c == "+" for c in self.name):
            raise RegistryInputError(f"a key's name has no blanks and no plus sign, unlike {self.name!r}")

    @property
    def key_id(self) -> bytes:
        """Four bytes that find the key; a hash, not a proof of anything."""
        named = self.name.encode() + b"\n" + bytes([self.key_type]) + self.public_key
        return hashlib.sha256(named).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `RegistryInputError`."""
        try:
            name, key_id, encoded = text.strip().split("+", 2)
            blob = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise RegistryInputError(
                "a public key looks like name+0123abcd+base64, as `earmark log key` prints"
            ) from error
        if len(blob) != 1 + _KEY_BYTES or blob[0] not in (TYPE_ED25519, TYPE_COSIGNATURE):
            raise RegistryInputError(f"the public key of {name} is not an Ed25519 key")
        key = cls(name, blob[1:], blob[0])
        if key.key_id.hex() != key_id:
            raise RegistryInputError(f"the public key of {name} is damaged: its id does not fit")
        return key

    def __str__(self) -> str:
        blob = base64.b64encode(bytes([self.key_type]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{blob}"

    def verifies(self, text: bytes, signature: bytes) -> bool:
        """Whether `signature` (what follows the key id) is this key's, of this text."""
        if self.key_type == TYPE_COSIGNATURE:
            time_bytes, signature = signature[:_TIME_BYTES], signature[_TIME_BYTES:]
            if len(time_bytes) != _TIME_BYTES:
                return False
            text = _cosigned(text, int.from_bytes(time_bytes, "big"))
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Signature:
    """One signature line, not yet checked."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{SIGNATURE_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Raises `ProofRefused` (malformed)."""
        parts = line.removeprefix(SIGNATURE_DASH).split(" ")
        if not line.startswith(SIGNATURE_DASH) or len(parts) != 2 or not parts[0] or "+" in parts[0]:
            raise malformed("a signature line is not `— name base64`")
        blob = decode_base64(parts[1])
        if len(blob) <= 4:
            raise malformed("a signature is cut short")
        return cls(parts[0], blob[:4], blob[4:])

    def is_of(self, key: VerifierKey) -> bool:
        return (self.name, self.key_id) == (key.name, key.key_id)


@dataclass(frozen=True)
class Note:
    """A text with its signature lines, not yet checked."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises `ProofRefused` (malformed) for anything but a well-formed note with a signature."""
        if len(data) > MAX_NOTE_BYTES:
            raise malformed("a note of this size is no checkpoint")
        try:
            decoded = data.decode()
        except UnicodeDecodeError:
            raise malformed("a note is UTF-8 text") from None
        if any(c < " " and c != "\n" for c in decoded):
            raise malformed("a note has no control characters")
        text, separator, lines = decoded.rpartition("\n\n")
        if not separator or not lines.endswith("\n"):
            raise malformed("a note is a text, an empty line and signatures, each line ended")
        signatures = tuple(map(Signature.parse, lines[:-1].split("\n")))
        if len(signatures) > MAX_SIGNATURES:
            raise malformed(f"a note with more than {MAX_SIGNATURES} signatures")
        return cls(text + "\n", signatures)

    def __str__(self) -> str:
        return self.text + "\n" + "".join(f"{signature}\n" for signature in self.signatures)

    def signed_by(self, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
        """Which of these keys signed. Lines of other keys are ignored; a line that carries a known key's name
        and id but is not its signature raises `ProofRefused` (bad signature)."""
        signers = []
        for key in keys:
            lines = [one for one in self.signatures if one.is_of(key)]
            if any(not key.verifies(self.text.encode(), one.signature) for one in lines):
                raise ProofRefused(Refusal.BAD_SIGNATURE, f"the signature of {key.name} is not of this text")
            signers += [key] if lines else []
        return signers


class SigningKey:
    """A private key with its name; the repr shows the public half only."""

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        public_key = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.verifier = VerifierKey(name, public_key)
        self.witness_verifier = VerifierKey(name, public_key, TYPE_COSIGNATURE)

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier})"

    def sign(self, text: bytes) -> Signature:
        return Signature(self.verifier.name, self.verifier.key_id, self._private_key.sign(text))

    def sign_note(self, text: str) -> Note:
        """`text` ends with a newline."""
        return Note(text, (self.sign(text.encode()),))

    def cosign(self, text: bytes, unix_s: int) -> Signature:
        """A witness's signature of a checkpoint's text: "at this time it was the largest I had seen"."""
        signature = self._private_key.sign(_cosigned(text, unix_s))
        key = self.witness_verifier
        return Signature(key.name, key.key_id, unix_s.to_bytes(_TIME_BYTES, "big") + signature)


def decode_base64(text: str) -> bytes:
    """Strict base64. Raises `ProofRefused` (malformed)."""
    try:
        data = base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise malformed("this is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise malformed("this is not the one base64 form of these bytes")
    return data


def malformed(what: str) -> ProofRefused:
    return ProofRefused(Refusal.MALFORMED, what)


def _cosigned(text: bytes, unix_s: int) -> bytes:
    return f"cosignature/v1\ntime {unix_s}\n".encode() + text
