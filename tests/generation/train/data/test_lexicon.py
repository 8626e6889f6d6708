"""Which words get phones, and the pieces of the vocabulary that they are written in."""

import re
from pathlib import Path

import pytest

from generation.errors import TrainingDataError
from generation.pronunciation import LETTERS, PHONES, Pronunciations
from generation.text import Text
from generation.train.data import lexicon, tokenizer
from generation.train.data.flite import Flite

SAID = ["the courtyard of the wizard.", "the courtyard was dark.", *["the dark."] * 100]
TEXTS = ["a xylophone in the dark,", "the wizard's xylophone?", "an lg"]


@pytest.fixture
def table(tmp_path: Path) -> Pronunciations:
    try:
        Flite.phones("word")
    except TrainingDataError as exc:
        pytest.skip(str(exc))
    path = tmp_path / "table.xz"
    lexicon.write([*TEXTS, *SAID], SAID, path)
    return Pronunciations.load(path)


def test_words_that_are_heard_often_stay_spelled(table: Pronunciations) -> None:
    for word in ("the", "dark"):
        assert table.written(word) == word
    for word, phones in (
        ("courtyard", "K AO1 R T Y AA1 R D"),
        ("wizard's", "W IH1 Z ER0 D Z"),
        ("xylophone", "Z AY1 L AX0 F OW1 N"),
        ("a", "AX0"),
    ):
        assert table.written(word) == "".join(LETTERS[one] for one in phones.split())
        assert set(phones.split()) <= set(PHONES)


@pytest.mark.parametrize("owner", ["serpent", "fox", "dog", "courtyard", "judge", "moshi", "cliff"])
def test_a_possessive_has_the_phones_that_are_heard(owner: str) -> None:
    try:
        heard = Flite("slt").pronounce(f"{owner}'s")
    except TrainingDataError as exc:
        pytest.skip(str(exc))
    assert [
        re.sub("AX|[01]", lambda m: "AH" * (m[0] == "AX"), one) for one in Flite.phones(f"{owner}'s")
    ] == heard


def test_words_that_are_spelled_out_stay_spelled(table: Pronunciations) -> None:
    assert table.written("lg") == "lg"


def test_pieces_are_chosen_by_what_is_said(table: Pronunciations) -> None:
    said = list(lexicon.written(SAID, table))
    assert said == [table.written(word) for word in ("courtyard", "of", "wizard", "courtyard", "was")]


def test_a_vocabulary_with_phones_cuts_text_as_before(table: Pronunciations, tmp_path: Path) -> None:
    """A voice goes on with the pieces it knows: none may change its number."""
    path = tmp_path / "tokenizer.model"
    tokenizer.train(SAID, path, vocabulary=24)
    before, own = path.read_bytes(), Text.load(path)
    words = list(lexicon.written([*TEXTS, *SAID], table)) * 20
    tokenizer.extend(words, path, num_pieces=30)
    text = Text.load(path)
    assert path.read_bytes().startswith(before)
    assert own.vocabulary < text.vocabulary <= own.vocabulary + 30
    for line in SAID[:3]:
        assert text.encode(line) == own.encode(line)
    assert own.encode(table.written("courtyard")).count(0) == 1  # unknown
    pieces = text.encode(table.written("courtyard."))
    assert 0 not in pieces and max(pieces) >= own.vocabulary
    shown = "".join(text.piece(token) for token in pieces).strip()
    assert shown == table.written("courtyard.")
    extended = path.read_bytes()
    tokenizer.extend(words, path, num_pieces=40)
    assert path.read_bytes() == extended


def test_too_little_text_for_the_vocabulary_is_an_error(tmp_path: Path) -> None:
    """Pieces of phones may be fewer; a voice whose text is cut into letters would go unnoticed."""
    with pytest.raises(RuntimeError, match="Vocabulary size too high"):
        tokenizer.train(SAID, tmp_path / "tokenizer.model", vocabulary=500)
    assert not (tmp_path / "tokenizer.model").exists()
