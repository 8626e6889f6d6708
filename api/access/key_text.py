"""How an API key looks: a prefix that scanners know, 38 random characters, and a checksum.

    earmark_ || 38 characters of [0-9A-Za-z] || CRC-32 of both as 6 characters of base 62

226 random bits, so a key is never guessed; the checksum tells a leaked or mistyped key from a random string
without asking a database. Source: GitHub's token formats (2021), as Polar uses them. The text is shown once,
when it is made; what is stored is its digest (api/access/accounts.py)."""

import re
import secrets
import string
import zlib

from api.errors import InvalidKey

PREFIX = "earmark_"
RANDOM_CHARACTERS = 38
CHECKSUM_CHARACTERS = 6
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PATTERN = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM_CHARACTERS + CHECKSUM_CHARACTERS}}}")


def new_key_text() -> str:
    """A fresh key."""
    start = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return start + _checksum(start)


def check_key_text(text: str) -> str:
    """The same text when it has the form of a key. Raises InvalidKey, which does not repeat it."""
    if not PATTERN.fullmatch(text) or _checksum(text[:-CHECKSUM_CHARACTERS]) != text[-CHECKSUM_CHARACTERS:]:
        raise InvalidKey(f"this is no API key: one begins with {PREFIX} and ends with its checksum")
    return text


def _checksum(start: str) -> str:
    rest, digits = zlib.crc32(start.encode("ascii")), ""
    for _ in range(CHECKSUM_CHARACTERS):
        rest, digit = divmod(rest, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
