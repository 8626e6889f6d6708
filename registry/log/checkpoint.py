"""What a log signs: its origin, how many entries it has, and the root over them.

    <origin>
    <size in decimal>
    <root in base64>
    [<extension lines>]

Source: C2SP tlog-checkpoint, 2026. Extension lines are kept out of the value, as the specification allows.
"""

import base64
import re
from dataclasses import dataclass
from typing import Self

from registry.log.merkle import EMPTY_ROOT, HASH_BYTES
from registry.log.note import Note, decode_base64, malformed

DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True)
class Checkpoint:
    """A tree that a log vouches for."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def empty(cls, origin: str) -> Self:
        return cls(origin, 0, EMPTY_ROOT)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the text of a note, signatures not looked at. Raises `ProofRefused` (malformed)."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise malformed("a checkpoint has an origin, a size and a root, a line each")
        origin, size, root = lines[0], lines[1], decode_base64(lines[2])
        if not DECIMAL.fullmatch(size):
            raise malformed("a checkpoint's size is a decimal number")
        if len(root) != HASH_BYTES:
            raise malformed("a checkpoint's root has 32 bytes")
        return cls(origin, int(size), root)

    @classmethod
    def of(cls, data: bytes) -> Self:
        """From a signed note, signatures not looked at. Raises `ProofRefused` (malformed)."""
        return cls.parse(Note.parse(data).text)

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"
