import json
import lzma
from pathlib import Path

import pytest

from generation.errors import TrainingDataError
from generation.text import Text
from generation.train.data import tokenizer
from generation.train.data.sentences import Texts, bare, held_out

PROSE = ["It was a dark night, and he said: The cat sat.", "Nobody came to the house.", "Oh."]
QUERIES = ["What's on at 7 pm?", "Play some jazz for me!"]
TURNS = ["The cat sat.", "How much is it, Mr. Brown?"]


def write_texts(corpus: Path) -> None:
    folder = corpus / "text"
    folder.mkdir(parents=True)
    dialogue = json.dumps({"turns": [{"speaker": "user", "text": text} for text in TURNS]})
    for name, lines in (("prose.txt", PROSE), ("queries.txt", QUERIES), ("dialogues.jsonl", [dialogue])):
        (folder / f"{name}.xz").write_bytes(lzma.compress("\n".join(lines).encode()))


def test_a_held_out_sentence_is_in_no_stream_not_even_inside_a_line(tmp_path: Path) -> None:
    """Figures on unseen sentences mean nothing when the model has read them in a novel."""
    write_texts(tmp_path)
    assert "the cat sat." in set(Texts(tmp_path).stream("voice"))
    said = set(Texts(tmp_path, excluded=["The cat sat!".lower()]).stream("voice"))
    assert said == {
        "nobody came to the house.",
        "what's on at seven p m?",
        "play some jazz for me!",
        "how much is it, mister brown?",
    }


def test_the_order_depends_on_the_name_and_on_nothing_else(tmp_path: Path) -> None:
    """A run that goes on must continue the list it began, and two voices should not read the same first."""
    write_texts(tmp_path)
    first, again, other = (list(Texts(tmp_path).stream(name)) for name in ("a", "a", "b"))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


def test_held_out_sentences_depend_on_their_words_only() -> None:
    """Another recording of a sentence, or a comma more in its transcript, changes neither side."""
    texts = [f"sentence number {name}." for name in "abcdefghijklmnopqrstuvwxyz"]
    chosen = held_out(texts, 5)
    assert len(set(chosen)) == 5
    noisy = [text.replace("sentence", "sentence,") for text in reversed(texts)] * 2
    assert [bare(text) for text in held_out(noisy, 5)] == [bare(text) for text in chosen]


def test_a_folder_without_texts_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="does not hold the training texts"):
        Texts(tmp_path)


def test_the_vocabulary_has_the_ids_that_the_model_expects(tmp_path: Path) -> None:
    """0 ends a padding and 3 pads: a piece of text with one of these ids would be silent."""
    write_texts(tmp_path)
    texts = list(Texts(tmp_path).stream("voice")) * 20
    tokenizer.train(texts, tmp_path / "tokenizer.model", vocabulary=48)
    text = Text.load(tmp_path / "tokenizer.model")
    assert text.vocabulary == 48
    tokens = text.encode("what's on at the house?")
    assert min(tokens) > 3
    assert "".join(map(text.piece, tokens)) == " what's on at the house?"
    assert [text.piece(token) for token in range(4)] == [""] * 4
