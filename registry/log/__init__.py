"""The transparency log: what was issued cannot be denied later, nor added or changed, without being noticed.

    RFC 6962 tree, C2SP tlog-tiles, signed checkpoints, tlog-proof receipts

Reading from the ground up: canonical (JSON), merkle, note (signatures), checkpoint, trust, receipt, tiles;
outbox, signer, sequencer, log (the parts of a running log); rotation (a new key); check, monitor, witness
(those who watch one).
Importing this package starts nothing and reads nothing.
"""

from registry.log.canonical import canonical
from registry.log.checkpoint import Checkpoint
from registry.log.log import TransparencyLog
from registry.log.note import Signature, SigningKey, VerifierKey
from registry.log.outbox import Kind, LogEntry, Standing
from registry.log.receipt import Receipt, Verified
from registry.log.signer import LogFiles
from registry.log.trust import TrustRoot

__all__ = [
    "Checkpoint",
    "Kind",
    "LogEntry",
    "LogFiles",
    "Receipt",
    "Signature",
    "SigningKey",
    "Standing",
    "TransparencyLog",
    "TrustRoot",
    "Verified",
    "VerifierKey",
    "canonical",
]
