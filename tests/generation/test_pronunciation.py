"""Words in phones: what the tokenizer is given, and files that are no such table."""

import lzma
from pathlib import Path

import pytest

from generation import Speaker
from generation.errors import CheckpointError
from generation.pronunciation import LETTERS, PHONES, Pronunciations, packed
from generation.text import Text
from tests.generation.tiny import write_tiny_voice

DALTON = {"dalton": ("D", "AO1", "L", "T", "AX0", "N")}


def test_phones_have_letters_that_no_text_has() -> None:
    letters = "".join(LETTERS.values())
    assert len(letters) == len(set(letters)) == len(PHONES) == 56
    assert letters.isalpha() and not any(letter.isascii() for letter in letters)


def test_a_word_keeps_its_mark_and_what_is_not_in_the_table_its_spelling(tmp_path: Path) -> None:
    path = tmp_path / "table.xz"
    path.write_bytes(packed(DALTON))
    table = Pronunciations.load(path)
    letters = "".join(LETTERS[phone] for phone in DALTON["dalton"])
    assert len(table) == 1
    assert [table.written(word) for word in ("dalton", "dalton,", "daltons", "the", "?")] == [
        letters,
        f"{letters},",
        "daltons",
        "the",
        "?",
    ]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "cannot be read"),
        (b"dalton D AO1 L T AX0 N", "no table of pronunciations"),
        (packed(DALTON)[:-9], "no table of pronunciations"),
        (lzma.compress(b"dalton D AO9"), "AO9"),
        (lzma.compress(b"\xff\xfe"), "no table of pronunciations"),
        (lzma.compress(bytes(2**24 + 1)), "too large"),
    ],
    ids=["missing", "not packed", "cut short", "no such phone", "no text", "larger than it looks"],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes | None, named: str) -> None:
    path = tmp_path / "table.xz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=named):
        Pronunciations.load(path)


def test_a_voice_says_the_words_of_its_table_by_their_phones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A voice that spelled them would say what it never learned."""
    encoded: list[str] = []
    encode = Text.encode

    def noting(self: Text, text: str) -> list[int]:
        encoded.append(text)
        return encode(self, text)

    monkeypatch.setattr(Text, "encode", noting)
    for table, written in ((None, "dalton."), (packed(DALTON), Pronunciations(DALTON).written("dalton."))):
        encoded.clear()
        speaker = Speaker.load(write_tiny_voice(tmp_path / f"voice-{table is None}", pronunciations=table))
        next(speaker.say(speaker.read("Hello, Dalton."), seed=1))
        assert encoded == ["hello,", written]
