"""What a vocoder's pitch is taught: the fundamental of every recording, a value every 10 ms.

OUT/cache/pitch.npy holds float32 Hz, recording after recording, 0 where nothing is voiced. Between voiced
stretches a target glides from one to the next and weighs nothing.
Dimension key: N hops. Source: DIO and StoneMask of WORLD (Morise et al., 2016; pyworld).
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio import SAMPLE_RATE_HZ
from audio.durable import write_durably
from audio.store import Recording, Wav
from generation.errors import TrainingDataError

PERIOD_S = 0.01
LOWEST_HZ, HIGHEST_HZ = 65.0, 550.0
UNKNOWN_HZ = 150.0


class PitchLabels:
    """The pitch of each recording of a store."""

    def __init__(self, path: Path, recordings: Iterable[Recording], read: Callable[[Recording], Wav]) -> None:
        rows = list(recordings)
        if not path.exists():
            write_pitch(path, (read(row) for row in rows))
        self._hz = np.load(path, mmap_mode="r", allow_pickle=False)
        lengths = [num_values(row.length) for row in rows]
        starts = np.cumsum([0, *lengths])
        if starts[-1] != len(self._hz):
            raise TrainingDataError(f"{path} is of another corpus: delete it, and it is made again")
        self._span = {row.file: (int(a), n) for row, a, n in zip(rows, starts, lengths, strict=False)}

    def targets(
        self, file: str, start: int, num_hops: int, hop: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """log Hz at the end of each hop from sample `start` on, and whether it is voiced there."""
        first, length = self._span[file]
        hz = self._hz[first : first + length]
        times = np.arange(length) * PERIOD_S
        voiced = hz > 0
        asked = (start + hop * np.arange(1, num_hops + 1)) / SAMPLE_RATE_HZ
        if not voiced.any():
            return np.full(num_hops, np.log(UNKNOWN_HZ), np.float32), np.zeros(num_hops, bool)
        log_hz = np.interp(asked, times[voiced], np.log(hz[voiced])).astype(np.float32)
        inside = asked <= times[-1]
        return log_hz, (np.interp(asked, times, voiced.astype(float)) > 0.5) & inside


def num_values(samples: int) -> int:
    """Of a recording of that length."""
    return int(1000 * samples / SAMPLE_RATE_HZ / (1000 * PERIOD_S)) + 1


def write_pitch(path: Path, wavs: Iterable[Wav]) -> None:
    """Raises TrainingDataError when pyworld is not installed. A crash leaves the old file or none."""
    try:
        import pyworld
    except ImportError as exc:
        # pyworld itself imports pkg_resources.
        raise TrainingDataError(
            f"{exc.name} is missing: pip install 'earmark[train]' 'setuptools<81'"
        ) from exc
    values = []
    for wav_T in wavs:
        wide_T = wav_T.astype(np.float64)
        rough, times = pyworld.dio(
            wide_T,
            SAMPLE_RATE_HZ,
            f0_floor=LOWEST_HZ,
            f0_ceil=HIGHEST_HZ,
            frame_period=1000 * PERIOD_S,
            speed=4,  # a quarter of the time; 1.5 % of the values are voiced here and not there
        )
        values.append(pyworld.stonemask(wide_T, rough, times, SAMPLE_RATE_HZ).astype(np.float32))
    content = np.concatenate(values) if values else np.zeros(0, np.float32)
    write_durably(path, lambda file: np.save(file, content, allow_pickle=False))


def pitch_loss(log_pitch_BN: Tensor, target_BN: Tensor, voiced_BN: Tensor) -> Tensor:
    """Mean distance in nepers over the voiced hops; 0 without one."""
    distance_BN = (log_pitch_BN - target_BN).abs() * voiced_BN
    return distance_BN.sum() / voiced_BN.sum().clamp(min=1)


def stacked(
    targets: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]],
) -> tuple[Tensor, Tensor]:
    """Targets of clips of one length as float32 [B, N] and bool [B, N]."""
    log_hz, voiced = zip(*targets, strict=True)
    return torch.from_numpy(np.stack(log_hz)), torch.from_numpy(np.stack(voiced))
