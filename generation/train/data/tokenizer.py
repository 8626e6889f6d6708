"""The text vocabulary of the small model: sentencepiece unigram over spoken text, in Moshi's layout of ids.

0 unknown (end of padding in the model's stream), 1 begin, 2 end, 3 padding; then VOCABULARY - 4 pieces. No
byte fallback: `generation.speech_text.spoken` leaves 31 different characters, all of which get a piece.
Source: T. Kudo and J. Richardson, 2018, "SentencePiece".
"""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from audio.durable import write_durably

VOCABULARY = 2_000
NUM_SENTENCES = 120_000


def train(texts: Iterable[str], path: Path, vocabulary: int = VOCABULARY) -> None:
    """Write a `.model` file that `generation.text.Text` loads; an existing file is kept as it is."""
    if path.exists():
        return
    from sentencepiece import SentencePieceTrainer

    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, model_type="unigram", vocab_size=vocabulary,
        character_coverage=1.0, byte_fallback=False, normalization_rule_name="identity", unk_id=0, bos_id=1,
        eos_id=2, pad_id=3, num_threads=1, minloglevel=2,
    )  # fmt: skip
    write_durably(path, lambda file: file.write(model.getvalue()))
