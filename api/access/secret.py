"""The server's own secret: 256 bits in a file, under which API keys are digested and replies encrypted.

    digest(label, *parts) = HMAC-SHA256(secret, label || 0x00 || length and bytes of each part)

Made on first use with mode 0600; there is no default, and no setting holds it. Whoever has the database but
not this file can neither try keys nor read replies. Losing it makes every API key invalid, and nothing else:
marks and the log do not depend on it. Source: RFC 2104; labels separate the uses (NIST SP 800-108)."""

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from api.errors import SecretFileError
from audio.durable import create_durably

SECRET_BYTES = 32
_FORMAT = "earmark-server-secret-1"


@dataclass(frozen=True)
class ServerSecret:
    """The secret; it stays out of the repr."""

    value: bytes = field(repr=False)

    def digest(self, label: str, *parts: bytes) -> bytes:
        """32 bytes for one purpose; another label, or other parts, give unrelated bytes."""
        message = label.encode() + b"\0" + b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hmac.digest(self.value, message, hashlib.sha256)

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """The secret in this file, made on first use; safe when several processes start at once.

        A crash on the way leaves either no file or a whole one. Raises SecretFileError when it is damaged, or
        can be read by other users.
        """
        if not path.exists():
            try:
                _create(path)
            except OSError as exc:
                raise SecretFileError(f"the server's secret {path} cannot be written: {exc}") from exc
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises SecretFileError when it is missing, damaged, or can be read by other users."""
        return cls(_read(path))


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):  # another process was first: its secret is ours
        create_durably(path, f"{_FORMAT}\n{secrets.token_hex(SECRET_BYTES)}\n".encode())


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as exc:
        raise SecretFileError(f"the server's secret {path} cannot be read: {exc}") from exc
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise SecretFileError(f"{path} can be read by other users; run: chmod 600 {path}")
    try:
        name, digits = lines
        value = bytes.fromhex(digits)
    except ValueError:
        name, value = "", b""
    if name != _FORMAT or len(value) != SECRET_BYTES:
        raise SecretFileError(f"{path} is no server secret; restore it from a backup")
    return value
