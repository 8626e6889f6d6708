"""The vocabulary of the small model: sentencepiece unigram over spoken text, in Moshi's layout of ids.

0 unknown (end of padding in the model's stream), 1 begin, 2 end, 3 padding; then pieces of text up to
TEXT_PIECES, then of words in the letters of phones (generation/pronunciation.py) up to VOCABULARY. No byte
fallback: `generation.speech_text.spoken` leaves 31 different characters, all of which get a piece. Text and
phones share no letter, so each is cut as if the other's pieces were not there.
Source: T. Kudo and J. Richardson, 2018, "SentencePiece".
"""

import struct
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

from audio.durable import write_durably

TEXT_PIECES = 2_000
VOCABULARY = 3_000
NUM_SENTENCES = 120_000
_LAYOUT = 4  # tokens that Moshi's layout begins with
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # begins a word; both have it


def train(texts: Iterable[str], path: Path, vocabulary: int = TEXT_PIECES) -> None:
    """Write a `.model` file that `generation.text.Text` loads; an existing file is kept as it is."""
    if not path.exists():
        model = _trained(texts, vocabulary, or_fewer=False)
        write_durably(path, lambda file: file.write(model))


def extend(words: Sequence[str], path: Path, num_pieces: int = VOCABULARY - TEXT_PIECES) -> None:
    """Give the vocabulary in a file pieces of such words, which share no letter with it, behind those that it
    has: `num_pieces` or as many as there are. A file that has such pieces is kept as it is."""
    from sentencepiece import SentencePieceProcessor

    model = path.read_bytes()
    own, new = SentencePieceProcessor(), SentencePieceProcessor()
    own.load_from_serialized_proto(model)
    letters = {letter for token in range(own.vocab_size()) for letter in own.id_to_piece(token)}
    if not words or letters & set(words[0]):
        return
    new.load_from_serialized_proto(_trained(words, _LAYOUT + 1 + num_pieces, or_fewer=True))
    pieces = [(new.id_to_piece(token), new.get_score(token)) for token in range(_LAYOUT, new.vocab_size())]
    added = [(piece, score) for piece, score in pieces if piece != _SPACE]
    extended = model + b"".join(_as_proto(piece, score) for piece, score in added)
    write_durably(path, lambda file: file.write(extended))


def _as_proto(piece: str, score: float) -> bytes:
    """One more `pieces` of a ModelProto, to be written behind it: what is repeated adds up. Source:
    sentencepiece_model.proto, fields 1 of ModelProto, 1 and 2 of SentencePiece."""
    text = piece.encode()
    content = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", score)
    assert len(content) < 128  # or its length would take two bytes
    return b"\x0a" + bytes([len(content)]) + content


def _trained(texts: Iterable[str], vocabulary: int, *, or_fewer: bool) -> bytes:
    from sentencepiece import SentencePieceTrainer

    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, model_type="unigram", vocab_size=vocabulary,
        hard_vocab_limit=not or_fewer, character_coverage=1.0, byte_fallback=False,
        normalization_rule_name="identity", unk_id=0, bos_id=1, eos_id=2, pad_id=3, num_threads=1,
        minloglevel=2,
    )  # fmt: skip
    return model.getvalue()
