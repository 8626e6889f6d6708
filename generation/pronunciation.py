"""How words are said that a small voice has seldom heard: a table of words and their phones.

    pronunciations = Pronunciations.load(path)
    pronunciations.written("courtyard,")     # a letter for each phone, then the mark: text for the tokenizer
    pronunciations.written("the,") == "the," # not in the table: as it is spelled

File: xz of UTF-8, a line for each word: `courtyard K AO1 R T Y AA1 R D`, phones of ARPAbet with their stress,
in the order of words. What is spelled is learned word by word; phones mean the same in every word, so a word
that was never heard is said as well as one that was (docs/decisions/0039). Phones are written in letters that
no text has (LETTERS), so that one tokenizer has pieces for both.
Source of the phones: the CMU dictionary, 1998.
"""

import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from generation.errors import CheckpointError

_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AX", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_CONSONANTS = (
    "B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T", "TH", "V",
    "W", "Y", "Z", "ZH",
)  # fmt: skip
PHONES = (*(f"{vowel}{stress}" for vowel in _VOWELS for stress in "01"), *_CONSONANTS)
LETTERS: Mapping[str, str] = {phone: chr(0x100 + number) for number, phone in enumerate(PHONES)}
"""The letter that a phone is written as; they are part of a trained vocabulary."""

MARKS = ",.?!"
_MAX_BYTES = 16 * 2**20  # unpacked; 50,000 words have 1.5 MB


class Pronunciations:
    """The table of one voice. Safe to share between threads."""

    def __init__(self, phones: Mapping[str, tuple[str, ...]]) -> None:
        """Of each word, without its mark. Raises KeyError for a phone that is none of PHONES."""
        self._written = {word: "".join(LETTERS[one] for one in said) for word, said in phones.items()}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises CheckpointError for a file that is missing, damaged or no such table."""
        try:
            with lzma.open(path) as file:
                content = file.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise CheckpointError(f"{path} is no table of pronunciations: it is too large")
            lines = [line.split() for line in content.decode().splitlines()]
            return cls({word: tuple(phones) for word, *phones in lines})
        except OSError as exc:
            raise CheckpointError(f"{path} cannot be read: {exc.strerror or exc}") from exc
        except (lzma.LZMAError, EOFError, ValueError, KeyError) as exc:
            raise CheckpointError(f"{path} is no table of pronunciations: {exc}") from exc

    def __len__(self) -> int:
        return len(self._written)

    def written(self, word: str) -> str:
        """A word, with the mark behind it, as the tokenizer is to have it."""
        spelled = word.rstrip(MARKS)
        letters = self._written.get(spelled)
        return word if letters is None else letters + word[len(spelled) :]


def packed(phones: Mapping[str, tuple[str, ...]]) -> bytes:
    """The content of a file; the same for the same table."""
    lines = (" ".join((word, *said)) for word, said in sorted(phones.items()))
    return lzma.compress("\n".join(lines).encode(), preset=9)
