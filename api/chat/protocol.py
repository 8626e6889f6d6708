"""The messages of `/api/chat` as bytes: the first byte is the kind, the rest its payload.

    0 handshake  server      this one byte; from now on somebody listens
    1 audio      both        Ogg Opus, 24 kHz mono, cut anywhere
    2 text       server      a UTF-8 piece of what is being said, with its leading space
    3 control    client      ignored
    4 metadata   server      JSON; while waiting: {"queue_position": 1}, 1 is next; after the handshake, for
                             who asked with `provenance=true`: {"generation_id": "…", "content_id": "…"}
    5 error      server      UTF-8, one sentence, then the connection is closed
    6 ping       both        no payload; ignored

Source: kyutai-labs/moshi, rust/protocol.md and the servers and clients there. Kinds beyond these are never
sent, because the published web client fails on them, and ignored when they come.
"""

import json
from enum import IntEnum
from uuid import UUID

MAX_MESSAGE_BYTES = 65_536
"""Longest message a server need accept: 40 ms of speech take about 200 bytes. Given to uvicorn, which
answers a longer one with close code 1009."""

MAX_CLOSE_REASON_BYTES = 123  # RFC 6455, sec. 5.5


class Kind(IntEnum):
    """The first byte of a message."""

    HANDSHAKE = 0
    AUDIO = 1
    TEXT = 2
    CONTROL = 3
    METADATA = 4
    ERROR = 5
    PING = 6


HANDSHAKE = bytes([Kind.HANDSHAKE])
PING = bytes([Kind.PING])


def audio(pages: bytes) -> bytes:
    """Whole Ogg pages of our speech."""
    return bytes([Kind.AUDIO]) + pages


def text(piece: str) -> bytes:
    """A piece of text as it is being spoken."""
    return bytes([Kind.TEXT]) + piece.encode()


def queue_position(position: int) -> bytes:
    """Where a waiting client stands; 1 is next."""
    return bytes([Kind.METADATA]) + json.dumps({"queue_position": position}).encode()


def issued(generation_id: UUID, content_id: int) -> bytes:
    """What everything that is said from now on is issued as: durable, and in the log."""
    names = {"generation_id": str(generation_id), "content_id": f"{content_id:012x}"}
    return bytes([Kind.METADATA]) + json.dumps(names).encode()


def error(sentence: str) -> bytes:
    """Why the connection is about to be closed."""
    return bytes([Kind.ERROR]) + sentence.encode()


def heard(message: bytes) -> bytes:
    """The Ogg bytes of an audio message; nothing for every other message, the empty one too."""
    return message[1:] if message[:1] == bytes([Kind.AUDIO]) else b""


def close_reason(sentence: str) -> str:
    """As much of a sentence as a close frame holds, cut between characters."""
    return sentence.encode()[:MAX_CLOSE_REASON_BYTES].decode(errors="ignore")
