"""The one who signs trees: never two that contradict each other, whatever happened to the database.

    keys/log.key       the Ed25519 private key and the log's name, mode 0600, made on first use
    keys/log.pub       its public half, for whoever checks receipts; after a rotation a trust root of all keys
    keys/log.signed    the last checkpoint that was signed: a signed note like the published one

A tree is signed only when it extends the one in `log.signed`. So after an old backup of the database or of
the tiles came back, nothing is signed: a smaller tree, or one that differs in what was signed, is refused by
name. `log.signed` must not be in the same backup; keep it on another disk (`EARMARK_LOG_SIGNED_FILE`).

What a crash leaves: while the key is made, (1) `log.signed` of an empty tree without a key, which the next
start replaces; (2) all. While signing, (3) nothing new; (4) `log.signed` ahead of what is published: the same
tree is signed again, since its indexes are durable.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audio.durable import replace_durably
from registry.errors import LogRefused, ProofRefused, RegistryInputError
from registry.log.checkpoint import Checkpoint
from registry.log.note import Note, SigningKey, VerifierKey
from registry.log.trust import TrustRoot

_FORMAT = "earmark-log-key-1"
Publish = Callable[[bytes], None]


@dataclass(frozen=True)
class LogFiles:
    """Where a log is kept."""

    tiles: Path
    key: Path
    signed: Path

    @property
    def public(self) -> Path:
        return self.key.with_suffix(".pub")

    @property
    def next_key(self) -> Path:
        """There only while the key is replaced (rotation.py)."""
        return self.key.with_suffix(".key.next")

    @classmethod
    def in_folder(cls, data_dir: Path, signed: Path | None = None) -> Self:
        keys = data_dir.expanduser() / "keys"
        return cls(data_dir.expanduser() / "log", keys / "log.key", signed or keys / "log.signed")


class Signer:
    """Signs for one log. Any number of processes on one machine may have one; a lock file orders them."""

    def __init__(self, key: SigningKey, signed: Path, retired: tuple[VerifierKey, ...] = ()) -> None:
        self.key = key
        self.trust = TrustRoot((key.verifier, *retired))
        self._signed = signed

    @classmethod
    def load_or_create(cls, files: LogFiles) -> Self:
        """Raises `LogRefused` when the key file is foreign, damaged or readable by others."""
        try:
            files.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.signed.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(files.key.with_suffix(".lock")):
                if not files.key.exists():
                    _create(files)
            key = load_key(files.key)
            known = TrustRoot.parse(files.public.read_text()).logs if files.public.exists() else ()
            return cls(key, files.signed, tuple(one for one in known if one != key.verifier))
        except OSError as error:
            raise LogRefused(f"{error.filename} cannot be used: {error.strerror}") from error
        except RegistryInputError as error:
            raise LogRefused(f"{files.public} is damaged ({error}); restore it from a backup") from error

    def last_signed(self) -> Checkpoint:
        """Raises `LogRefused` when the record is gone or not of this key."""
        try:
            return self.trust.checkpoint(self._signed.read_bytes())[0]
        except FileNotFoundError as error:
            raise LogRefused(
                f"{self._signed} is gone, and without it an old tree could be signed again: put the newest "
                "checkpoint there that was ever published (a monitor, a witness or a receipt has it)"
            ) from error
        except (OSError, ProofRefused) as error:
            raise LogRefused(f"{self._signed} is not the last checkpoint of this log: {error}") from error

    @contextlib.contextmanager
    def paused(self) -> Iterator[Checkpoint]:
        """The tree that was signed last, while nobody signs or publishes: what the block reads of the public
        checkpoint belongs to it. Keep it short, since batches wait. Raises `LogRefused`."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(_locked(self._signed.with_suffix(".lock")))
            except OSError as error:
                raise LogRefused(f"{error.filename} cannot be used: {error.strerror}") from error
            yield self.last_signed()

    def sign(self, size: int, root_at: Callable[[int], bytes], publish: Publish) -> Checkpoint:
        """Sign the tree of `size` leaves and publish it; `root_at` gives the root of its first n leaves.

        Returns what is published then: a larger tree when another process was faster. Raises `LogRefused`.
        """
        with _locked(self._signed.with_suffix(".lock")):
            last = self.last_signed()
            if size < last.size:
                return last  # signed by a process that took over meanwhile; it publishes as well
            if root_at(last.size) != last.root:
                raise LogRefused(
                    f"the first {last.size} entries are not those that were signed: tiles or rows were "
                    "changed, or a backup came back; `earmark log monitor` names what differs"
                )
            checkpoint = Checkpoint(self.key.verifier.name, size, root_at(size))
            note = str(self.key.sign_note(checkpoint.text)).encode()
            try:
                replace_durably(self._signed, note)  # (3)
            except OSError as error:
                raise LogRefused(f"{self._signed} cannot be written: {error.strerror}") from error
            publish(note)  # (4)
        return checkpoint

    def has_signed(self, note: bytes | None) -> bool:
        """Whether the key in use, and not one before it, signed this note."""
        return note is not None and bool(Note.parse(note).signed_by([self.key.verifier]))

    def require_extension(self, size: int) -> None:
        """Before anything is changed: the database must not have fewer entries than were signed."""
        last = self.last_signed()
        if size < last.size:
            raise LogRefused(
                f"the database has {size} log entries and {last.size} were signed: an old backup came back; "
                "restore a newer one"
            )


def _create(files: LogFiles) -> None:
    private_key = Ed25519PrivateKey.generate()
    name = f"earmark/{hashlib.sha256(private_key.public_key().public_bytes_raw()).hexdigest()[:12]}"
    key = SigningKey(name, private_key)
    empty = key.sign_note(Checkpoint.empty(name).text)
    replace_durably(files.signed, str(empty).encode())  # (1)
    replace_durably(files.public, f"{key.verifier}\n".encode(), 0o644)
    save_key(files.key, name, private_key)  # (2)


def save_key(path: Path, name: str, private_key: Ed25519PrivateKey) -> SigningKey:
    """Write a private key, mode 0600, durably. Raises OSError."""
    key = SigningKey(name, private_key)
    secret = private_key.private_bytes_raw()
    body = {"format": _FORMAT, "public_key": str(key.verifier), "key": secret.hex()}
    replace_durably(path, (json.dumps(body) + "\n").encode())
    return key


def load_key(path: Path) -> SigningKey:
    """Raises `LogRefused` for a file that is foreign, damaged or readable by others; OSError."""
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise LogRefused(f"{path} can be read by other users; run: chmod 600 {path}")
    try:
        fields = json.loads(path.read_bytes())
        private_key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(fields["key"]))
        key = SigningKey(fields["public_key"].split("+")[0], private_key)
        intact = fields["format"] == _FORMAT and fields["public_key"] == str(key.verifier)
    except (ValueError, KeyError, TypeError, AttributeError, RegistryInputError) as error:
        raise LogRefused(f"{path} is not a log's key; restore it from a backup") from error
    if not intact:
        raise LogRefused(f"{path} is damaged or of another format; restore it from a backup")
    return key


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
