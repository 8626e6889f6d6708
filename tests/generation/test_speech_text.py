import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from generation.speech_text import _TITLES, MAX_LETTERS, MAX_WORDS, sentences, spoken


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Dr. Smith paid $12.50 at 10:05 am.",
         "doctor smith paid twelve dollars and fifty cents at ten oh five a m."),
        ("In 1984, the NFL's 13th team; 30% off!",
         "in nineteen eighty four, the n f l's thirteenth team, thirty percent off!"),
        ("Call 555-123-4567 at 10:00.",
         "call five five five one two three four five six seven at ten o'clock."),
        ("It's the 1990s—'tis \"odd\"…", "it's the nineteen nineties, tis odd."),
        ("72°, -3.5, 5-10 km/h and 1/2 cup",
         "seventy two degrees, minus three point five, five to ten kilometers per hour and one half cup."),
        ("J. K. Rowling saw Henry VIII", "j k rowling saw henry eight."),
        ("1905, 2005, 2100, 007 and 1,250",
         "nineteen oh five, two thousand five, two thousand one hundred, zero zero seven and "
         "one thousand two hundred fifty."),
        ("THE CAT SAT ON THE MAT", "the cat sat on the mat."),
        ("St. Paul's on 1st St., etc.", "saint paul's on first street, et cetera."),
        ("$0.50, £3.01 and $2.5 million",
         "fifty cents, three pounds and one penny and two point five million dollars."),
        ("me@site.com", "me at site dot com."),
    ],
)  # fmt: skip
def test_numbers_and_abbreviations_are_said_in_words(text: str, said: str) -> None:
    """A voice that was trained on letters has no sound for a digit: it would be skipped in silence."""
    assert spoken(text) == said


@pytest.mark.parametrize("text", ["", " \n", "…?!", "中文", "'", "-"])
def test_text_without_a_word_is_empty(text: str) -> None:
    assert spoken(text) == ""


@given(st.text(max_size=80) | st.text("Ab1 .,-$%:'/°I", max_size=40))
def test_what_is_spoken_has_only_letters_and_marks_and_is_spoken_as_it_is(text: str) -> None:
    """The vocabulary knows these characters; and `say` normalises what may have been normalised before."""
    said = spoken(text)
    assert set(said) <= set("abcdefghijklmnopqrstuvwxyz' ,.?!")
    assert said == " ".join(said.split())
    assert not said or said[-1] in ".?!"
    assume(
        not said.rstrip(".").endswith(tuple(f" {word}" for word in _TITLES))
        and said.rstrip(".") not in _TITLES
    )
    assert spoken(said) == said


@pytest.mark.parametrize("text", ["{}", "{}th", "${}", "{} km", "{}-5", "-{}.5", "3.{}"])
@pytest.mark.parametrize("run", ["1" * 5_000, "1," * 10_000], ids=["digits", "commas"])
def test_endless_numbers_are_read_digit_by_digit_and_at_once(text: str, run: str) -> None:
    """The first ended in a ValueError of Python's own, the second kept the voice of a server for a minute."""
    before = time.process_time()
    said = spoken(text.format(run))
    assert time.process_time() - before < 5
    assert said.count("one") == run.count("1")


def test_decimals_stay_decimals_however_many_they_are() -> None:
    assert spoken("3." + "1" * 40) == "three point " + " ".join(["one"] * 40) + "."


def test_what_is_longer_than_any_word_is_read_in_pieces() -> None:
    """As one word it passed every limit on the length of a text, and took minutes to say."""
    assert max(map(len, spoken("a" * 20_000).rstrip(".").split())) == MAX_LETTERS
    assert spoken("Antidisestablishmentarianism!") == "antidisestablishmentarianism!"


def test_a_long_text_is_cut_at_commas_and_loses_no_word() -> None:
    """Streaming speaks one utterance at a time; a word lost at a cut is a word not said."""
    said = spoken("Hi there! " + "one two three four five, " * 12 + "six " * 60 + "? Bye")
    parts = sentences(said)
    assert max(len(part.split()) for part in parts) == MAX_WORDS
    assert all(part[-1] in ".?!" for part in parts)
    assert parts[0] == "hi there!"
    assert parts[1] == "one two three four five, " * 3 + "one two three four five."
    bare = str.maketrans("", "", ",.?!")
    assert " ".join(parts).translate(bare).split() == said.translate(bare).split()
