"""Give the log a new key, so that whoever trusts the old one can follow.

    rotate(log, files)        # no other process should have the log open: it would sign nothing afterwards

The steps, and what a crash after each leaves; calling again goes on where it stopped:

(1) `log.key.next`, the new private key                          a file that nobody uses
(2) the entry `key-rotation`, in a tree signed by the old key    an announcement
(3) `log.pub` becomes a trust root of all keys                   both keys are believed here
(4) `log.key.next` takes the place of `log.key`                  the old private key is gone
(5) the next batch signs the tree again: the sequencer lets the new key, since (2) is in the tree

The receipt of (2) is what others need: checked with the old key, it names the new one. Old receipts stay
valid with the old public key. A key that was stolen cannot be rotated away for those who do not hear of it:
the thief can sign with it too. Not covered: witnesses, who must be told the new key.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audio.durable import replace_durably, sync_folder
from registry.errors import LogRefused
from registry.log.log import TransparencyLog
from registry.log.note import SigningKey
from registry.log.outbox import Kind, announces
from registry.log.receipt import Receipt
from registry.log.signer import LogFiles, load_key, save_key


def rotate(log: TransparencyLog, files: LogFiles) -> tuple[SigningKey, Receipt]:
    """The new key, and the receipt that the old one signed. The log must be opened again to sign with it.

    Raises `LogRefused` when a key cannot be read or written, and what `TransparencyLog.state` raises.
    """
    try:
        return _rotate(log, files)
    except OSError as error:
        raise LogRefused(f"{error.filename} cannot be used: {error.strerror}") from error


def _rotate(log: TransparencyLog, files: LogFiles) -> tuple[SigningKey, Receipt]:
    old = log.key.verifier
    if files.next_key.exists():
        new = load_key(files.next_key)
    else:
        new = save_key(files.next_key, old.name, Ed25519PrivateKey.generate())  # (1)
    body = {"old": str(old), "new": str(new.verifier)}
    entry = log.newest(Kind.KEY_ROTATION)
    if entry is None or entry.log_index is None or not announces(entry, body["old"], body["new"]):
        entry = log.state(Kind.KEY_ROTATION, body)  # (2)
    receipt = log.receipt_of(entry)
    known = (new.verifier, *log.signer.trust.logs)
    replace_durably(files.public, "".join(f"log {key}\n" for key in known).encode(), 0o644)  # (3)
    files.next_key.replace(files.key)  # (4)
    sync_folder(files.key.parent)
    return new, receipt
