"""Training speech as the frozen codec's codes, made once and kept.

    FOLDER/codes-1f3a…/VOICE-0007-neutral.npy     int16 [K, F], the neutral utterances of that shard in order
    FOLDER/codes-1f3a…/VOICE-0007-styled.npy      the others
    FOLDER/codes-1f3a…/…-480.npy                  the same, each utterance 480 samples later in its frames

The name holds a hash of everything that decides a code: the codec's encoder and codebooks, but not what
follows them, which may go on learning. Each utterance has LEAD_IN frames of silence before it, in which its
text can begin, and TAIL behind. Each file appears whole (durable.py); a run that was stopped makes the
others.
Dimension key: K codebooks, F frames.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from audio.durable import write_durably
from generation.mimi import Mimi
from generation.train.data.cache import Row, SpeechCache

LEAD_IN = 6
TAIL = 4
_MAKES_SOUND = re.compile(r"(decoder|decoder_transformer|upsample)\.|.*\.output_proj\.")
Report = Callable[[str], None]


def codes_name(mimi: Mimi) -> str:
    """16 hex digits: equal for codecs that give the same codes."""
    digest = hashlib.sha256(f"{LEAD_IN} {TAIL}".encode())
    for name, tensor in sorted(mimi.state_dict().items()):
        if not _MAKES_SOUND.match(name):
            digest.update(name.encode())
            digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
    return f"codes-{digest.hexdigest()[:16]}"


class CodeCache:
    """The codes of some utterances of a speech folder."""

    def __init__(
        self,
        speech: SpeechCache,
        rows: Iterable[Row],
        mimi: Mimi,
        folder: Path,
        report: Report,
        late: int = 0,
    ) -> None:
        """Makes what is not there yet: 3 s of a processor core for 1,000 s of speech with a vocoder's codec.

        `late`: the samples by which speech comes later, which makes other codes of it.
        """
        self._late, self.late_s = late, late / SAMPLE_RATE_HZ
        self._frame_samples = mimi.config.frame_samples
        self._folder = folder / codes_name(mimi)
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted = sorted({_file(row) for row in rows})
        parts: dict[str, list[Row]] = {name: [] for name in wanted}
        for row in speech.rows:
            if _file(row) in parts:
                parts[_file(row)].append(row)
        self._starts: dict[tuple[str, int], int] = {}
        self._codes: dict[str, NDArray[np.int16]] = {}
        for name in wanted:
            self._codes[name] = self._load(name, parts[name], speech, mimi, report)

    def _load(
        self, name: str, rows: list[Row], speech: SpeechCache, mimi: Mimi, report: Report
    ) -> NDArray[np.int16]:
        start = 0
        for row in rows:
            self._starts[row.shard, row.start] = start
            start += self.num_frames(row)
        path = self._folder / (f"{name}-{self._late}.npy" if self._late else f"{name}.npy")
        if not path.exists():
            encoded = [self._encode(mimi, speech, row) for row in rows]
            # A crash here leaves at most a .part file, which the next run overwrites.
            write_durably(path, lambda file: np.save(file, np.concatenate(encoded, axis=1)))
            report(f"encoded {path.name}")
        codes_KF: NDArray[np.int16] = np.load(path)
        return codes_KF

    def num_frames(self, row: Row) -> int:
        """Of an utterance with its silence."""
        return LEAD_IN + -(-(self._late + row.length) // self._frame_samples) + TAIL

    def codes(self, row: Row) -> NDArray[np.int16]:
        """int16 [K, F]."""
        start = self._starts[row.shard, row.start]
        return self._codes[_file(row)][:, start : start + self.num_frames(row)]

    @torch.no_grad()
    def _encode(self, mimi: Mimi, speech: SpeechCache, row: Row) -> NDArray[np.int16]:
        samples, num_frames = self._frame_samples, self.num_frames(row)
        padded_T = np.zeros(num_frames * samples, np.float32)
        padded_T[LEAD_IN * samples + self._late :][: row.length] = speech.read(row).wav_T
        config = mimi.config.transformer
        ring = config.context + mimi.config.resample_stride * num_frames if config else None
        device = next(mimi.parameters()).device
        wav_BT = torch.from_numpy(padded_T)[None].to(device)
        codes_BKF = mimi.encode(mimi.open(1, ring=ring), wav_BT)
        return codes_BKF[0].cpu().numpy().astype(np.int16)


def _file(row: Row) -> str:
    """Neutral speech lies apart, so that a run may begin with it alone."""
    return f"{row.shard}-{'neutral' if row.style == 'neutral' else 'styled'}"
