"""The operator's 128-bit watermark key: its file, its public name, and its PRF.

    stream(label) = SHAKE-256("earmark/1/" || label || 0x00 || key)    keyed by prefix

Everything the scheme keeps from an attacker is such a stream: the tile layout, the carrier's signs, the
payload tag. Whoever holds the file can forge marks, so it is written with mode 0600 and refused when
others can read it. Source: FIPS 202 (SHAKE), NIST SP 800-108 (labels separate the uses of one key).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from audio.durable import create_durably
from watermark.errors import KeyFileError

KEY_BYTES = 16  # 128 bits: WAKE's 8-bit key is searched by brute force, this one is not
_FORMAT = "earmark-watermark-key-1"


@dataclass(frozen=True)
class Key:
    """A watermark key. `secret` stays out of the repr; `key_id` may be printed and logged."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise KeyFileError(f"a watermark key has {KEY_BYTES} bytes, this one has {len(self.secret)}")

    @property
    def key_id(self) -> str:
        """Eight hex digits that name the key without revealing it."""
        return self.stream("key-id", 4).hex()

    def stream(self, label: str, num_bytes: int) -> bytes:
        """Return `num_bytes` pseudo-random bytes for one purpose; another label gives unrelated bytes."""
        xof = hashlib.shake_256(b"earmark/1/" + label.encode() + b"\0" + self.secret)
        return xof.digest(num_bytes)

    @classmethod
    def generate(cls) -> Key:
        """Return a fresh random key that lives in memory only."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def create(cls, path: Path) -> Key:
        """Write a fresh key to `path` (mode 0600) and return it; a file already there is kept and refused.

        A crash leaves either no key file or a whole one, and of two creators exactly one wins. Two processes
        that start on a new folder should call `load_or_create`.
        """
        key = cls.generate()
        body = json.dumps({"format": _FORMAT, "key_id": key.key_id, "key": key.secret.hex()}) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            create_durably(path, body.encode())
        except FileExistsError as exc:
            raise KeyFileError(f"{path} exists; a key is never overwritten, choose another path") from exc
        except OSError as exc:
            raise KeyFileError(f"cannot write the key file {path}: {exc.strerror}") from exc
        return key

    @classmethod
    def load(cls, path: Path) -> Key:
        """Read the key at `path`. Raises KeyFileError when it is missing, foreign, or readable by others."""
        try:
            mode = path.stat().st_mode
            body = path.read_text(encoding="utf-8")
        except FileNotFoundError as exc:
            raise KeyFileError(f"no watermark key at {path}; create one or pass the right path") from exc
        except (OSError, UnicodeDecodeError) as exc:
            raise KeyFileError(f"cannot read the watermark key {path}: {exc}") from exc
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise KeyFileError(f"{path} can be read by other users; run: chmod 600 {path}")
        try:
            fields = json.loads(body)
            key = cls(bytes.fromhex(fields["key"]))
            intact = fields["format"] == _FORMAT and fields["key_id"] == key.key_id
        except (ValueError, KeyError, TypeError) as exc:
            raise KeyFileError(f"{path} is not a watermark key file; restore it from a backup") from exc
        if not intact:
            raise KeyFileError(f"{path} is damaged or of another format; restore it from a backup")
        return key

    @classmethod
    def load_or_create(cls, path: Path) -> Key:
        """Return the key at `path`, creating it on first use; safe when several processes start at once."""
        if not path.exists():
            try:
                return cls.create(path)
            except KeyFileError:
                if not path.exists():
                    raise
        return cls.load(path)
