"""What the first codebook is taught to mean: the phones that sound in each frame.

    target[f, p] = 1 where phone p sounds in the 80 ms of frame f        loss: binary cross-entropy of
    phones(f) = W semantic(f) + b                                        sigmoid(phones(f)), phones

The labels are forced alignments of the voice's transcripts (PocketSphinx, 10 ms); Mimi's teacher, WavLM, is
no package. Clips without a transcript teach nothing here.
Dimension key: B clips, F frames, P phones, E latent width. Differs from Moshi (Defossez et al., 2024, sec.
3.3.3): labels instead of a teacher's embeddings, and the loss passes the quantizer straight through.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audio.durable import write_durably
from audio.store import Wav
from generation.train.data.align import Aligner

POSITIVE_WEIGHT = 8.0  # a frame has one to three of 40, silence among them


class PhoneLabels:
    """Of each file, the phones with their times: {file: [[phone, start_s, seconds], …]}."""

    def __init__(self, path: Path, rate_hz: int) -> None:
        rows = json.loads(path.read_text())
        self.names = sorted({phone for spans in rows.values() for phone, _, _ in spans})
        number = {name: index for index, name in enumerate(self.names)}
        self._spans = {
            file: np.array(
                [(number[p], start * rate_hz, (start + seconds) * rate_hz) for p, start, seconds in spans]
            )
            for file, spans in rows.items()
        }

    def targets(
        self, file: str, start: int, num_frames: int, frame_samples: int
    ) -> NDArray[np.float32] | None:
        """float32 [F, P] for the frames from sample `start` on; None where the file has no labels."""
        spans = self._spans.get(file)
        if spans is None or not len(spans):
            return None
        edges_F1 = start + frame_samples * np.arange(num_frames)[:, None]
        sounds_FS = (spans[:, 1] < edges_F1 + frame_samples) & (spans[:, 2] > edges_F1)
        target_FP = np.zeros((num_frames, len(self.names)), np.float32)
        for frame, span in zip(*np.nonzero(sounds_FS), strict=True):
            target_FP[frame, int(spans[span, 0])] = 1.0
        return target_FP


def write_labels(path: Path, recordings: Iterable[tuple[str, str, Wav]]) -> None:
    """Align (file, spoken text, samples) and write what `PhoneLabels` reads.

    Recordings that do not fit their text are left out. Raises TrainingDataError when PocketSphinx, or Flite
    for a word that is in no dictionary, is not installed.
    """
    aligner = Aligner()
    rows = {file: aligner.phones(text, wav_T) for file, text, wav_T in recordings}
    content = json.dumps({file: spans for file, spans in rows.items() if spans}).encode()
    write_durably(path, lambda file: file.write(content))


def phone_loss(logits_BFP: Tensor, target_BFP: Tensor, labelled_B: Tensor) -> Tensor:
    """Mean over the frames of the labelled clips; 0 without one."""
    if not bool(labelled_B.any()):
        return logits_BFP.sum() * 0.0
    weight = torch.tensor(POSITIVE_WEIGHT, device=logits_BFP.device)
    return functional.binary_cross_entropy_with_logits(
        logits_BFP[labelled_B], target_BFP[labelled_B], pos_weight=weight
    )
