"""Text to tokens and back: the sentencepiece model of a checkpoint.

    text = Text.load(path)
    tokens = text.encode("Hello")
    state = text.open()                         # one for each stream
    shown = text.push(state, token)             # what a reader sees of it now

"▁" begins a word and is shown as a space. Padding, end of padding and control tokens show nothing. A
character that the vocabulary does not hold comes as its UTF-8 bytes, one token each: it is shown with its
last byte, and not at all when another piece comes first, so that no broken character is ever shown.
Source: Kudo and Richardson, 2018; kyutai-labs/moshi, server.py, for what is shown; differs: bytes.
"""

from codecs import getincrementaldecoder
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from generation.errors import CheckpointError
from generation.moshi.config import SILENT_TEXT

_Utf8 = getincrementaldecoder("utf-8")


@dataclass
class TextState:
    """The bytes of a character that is not complete."""

    pending: Any = field(default_factory=lambda: _Utf8(errors="ignore"))


class Text:
    """A tokenizer. Any number of threads and streams may share one."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self.vocabulary: int = processor.vocab_size()
        self._bytes = {token for token in range(self.vocabulary) if processor.is_byte(token)}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a `.model` file. Raises CheckpointError when it is missing, cut short or something else."""
        from sentencepiece import SentencePieceProcessor

        try:
            processor = SentencePieceProcessor()
            processor.load_from_serialized_proto(path.read_bytes())
            return cls(processor)
        except OSError as exc:
            raise CheckpointError(f"{path} cannot be read: {exc.strerror or exc}") from exc
        except RuntimeError as exc:
            raise CheckpointError(f"{path} is no sentencepiece model: download it again") from exc

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without begin and end."""
        tokens: list[int] = self._processor.encode(text)
        return tokens

    def open(self) -> TextState:
        """A stream of tokens at its beginning."""
        return TextState()

    def push(self, state: TextState, token: int) -> str:
        """What this token adds to what a reader sees; often nothing."""
        if token in self._bytes:
            shown: str = state.pending.decode(bytes([self._byte(token)]))
            return shown
        piece = self.piece(token)
        if piece:
            state.pending.reset()
        return piece

    def piece(self, token: int) -> str:
        """A token on its own; empty for silent, control and byte tokens, and beyond the vocabulary."""
        if token in SILENT_TEXT or not 0 <= token < self.vocabulary or token in self._bytes:
            return ""
        if self._processor.is_control(token):
            return ""
        piece: str = self._processor.id_to_piece(token)
        return piece.replace("\N{LOWER ONE EIGHTH BLOCK}", " ")

    def _byte(self, token: int) -> int:
        """A byte token's piece reads <0x41>."""
        return int(self._processor.id_to_piece(token)[1:-1], 16)
