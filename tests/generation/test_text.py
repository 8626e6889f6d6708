"""Text to tokens and back, a token at a time."""

from pathlib import Path

import pytest

from generation.errors import CheckpointError
from generation.text import Text
from tests.generation.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Text:
    path = tmp_path_factory.mktemp("text") / "tokenizer.model"
    path.write_bytes(tiny_tokenizer())
    return Text.load(path)


def shown(text: Text, tokens: list[int]) -> list[str]:
    state = text.open()
    return [text.push(state, token) for token in tokens]


@pytest.mark.parametrize("sentence", ["how are you", "Größe 你好 😀", "0 and 42", ""])
def test_a_text_comes_back_as_it_was(text: Text, sentence: str) -> None:
    """Characters beyond the vocabulary come as bytes, and are put together again."""
    assert "".join(shown(text, text.encode(sentence))).lstrip() == sentence


def test_a_word_begins_with_a_space(text: Text) -> None:
    """The reader joins the pieces and adds nothing."""
    assert "".join(shown(text, text.encode("you talk"))) == " you talk"


def test_padding_and_control_tokens_show_nothing(text: Text) -> None:
    """Most frames say no word; a reader must not see <unk>, <pad>, <s> or </s>."""
    assert shown(text, [0, 1, 2, 3]) == [""] * 4


def test_numbers_beyond_the_vocabulary_show_nothing(text: Text) -> None:
    """The token before the first frame, and an answer that is not there yet."""
    assert shown(text, [text.vocabulary, -1, -2]) == [""] * 3


def test_a_character_is_shown_with_its_last_byte(text: Text) -> None:
    """Half a character would be shown as a box."""
    bytes_of_smile = text.encode("😀")[-4:]
    assert shown(text, bytes_of_smile) == ["", "", "", "😀"]


def test_padding_between_the_bytes_of_a_character_does_not_break_it(text: Text) -> None:
    """A word's tokens may lie frames apart."""
    first, *rest = text.encode("😀")[-4:]
    assert "".join(shown(text, [first, 3, 3, *rest])) == "😀"


def test_a_character_that_is_cut_short_is_dropped(text: Text) -> None:
    """What follows it must be shown whole."""
    broken = text.encode("😀")[-4:-1]
    assert "".join(shown(text, [*broken, *text.encode("you"), *text.encode("é")])) == " you é"


def test_two_streams_do_not_share_a_character(text: Text) -> None:
    """Rows of one batch speak at the same time."""
    first, second = text.open(), text.open()
    *begin, last = text.encode("😀")[-4:]
    for token in begin:
        text.push(first, token)
    assert text.push(second, last) == ""
    assert text.push(first, last) == "😀"


@pytest.mark.parametrize("data", [b"", b"<html>not here</html>", tiny_tokenizer()[:1000], None])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, data: bytes | None) -> None:
    """A missing, cut or foreign file must not end in a traceback of the C++ library."""
    path = tmp_path / "tokenizer.model"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        Text.load(path)
