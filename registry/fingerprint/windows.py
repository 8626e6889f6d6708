"""Cut audio into one-second windows, streaming, and turn each into a code and 64 bytes of signs.

    window n = samples [n * 11520, n * 11520 + 24000) at 24 kHz: 1 s long, every 6 Mimi frames (0.48 s)
    code     = the embedding in 16 levels (registry/packing.py); its cosine with the embedding is 0.995
    signs    = the sub-fingerprints of its middle (subprints.py)

`push` returns a window as soon as its last sample is there, so the latency is the window itself. Up to 0.48
s at the end of a recording lies in no window; a recording shorter than one window becomes one window, the
rest of which is missing. A window is informative when at least 0.2 s of it is louder than -60 dBFS; the
others are stored and never indexed.

Dimension key: T samples, N windows, D embedding width. Not covered: resampling; the caller brings 24 kHz.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn

from audio.bfloat16 import multiplies_bfloat16
from registry.errors import WeightsUnavailable
from registry.fingerprint import features
from registry.fingerprint.network import EMBEDDING_WIDTH, FingerprintNetwork
from registry.fingerprint.subprints import BYTES, Directions
from registry.packing import quantised

WINDOW_SAMPLES = features.WINDOW_SAMPLES
HOP_SAMPLES = 11_520
WEIGHTS = Path(__file__).parent / "weights"
Precision = Literal["float32", "bfloat16"]

_BATCH = 48  # windows a forward pass at most
_BATCH_STEP = 2
_BLOCK_SAMPLES = 480  # 20 ms
_QUIET_POWER = 1e-6  # -60 dBFS
_MIN_LOUD_BLOCKS = 10  # 0.2 s, about one syllable


@dataclass(frozen=True)
class Windows:
    """Consecutive windows of one recording, possibly none."""

    first_window: int
    codes_ND: NDArray[np.int8]
    signs_NB: NDArray[np.uint8]
    informative_N: NDArray[np.bool_]


@dataclass
class WindowStream:
    """What one recording has pushed and no window has used up yet."""

    rest_T: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    next_window: int = 0
    closed: bool = False


class Fingerprinter:
    """The network and its identity. Holds no audio; any number of threads may share it."""

    latency_samples = WINDOW_SAMPLES

    def __init__(
        self,
        network: FingerprintNetwork,
        directions: Directions,
        version: str,
        weights_sha256: str,
        precision: Precision | None = None,
    ) -> None:
        """`precision` is what the network computes in; None: what this processor is quickest at."""
        self.version = version
        self.weights_sha256 = weights_sha256
        self.precision = precision or ("bfloat16" if multiplies_bfloat16() else "float32")
        network = network.eval().requires_grad_(False)
        network = network.narrowed() if self.precision == "bfloat16" else network
        # As the pictures: else each call turns the kernels.
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._directions = directions.eval()

    @classmethod
    def load(cls, folder: Path = WEIGHTS, precision: Precision | None = None) -> Self:
        """Read fingerprint.safetensors and the fingerprint.json that pins its hash; about 10 ms.

        Raises WeightsUnavailable when one is missing, or when the file is not the one that was pinned.
        """
        try:
            card = json.loads((folder / "fingerprint.json").read_text())
            weights = (folder / "fingerprint.safetensors").read_bytes()
            version, pinned = str(card["version"]), str(card["sha256"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise WeightsUnavailable(
                f"no fingerprint weights in {folder} ({exc}); reinstall earmark"
            ) from exc
        digest = hashlib.sha256(weights).hexdigest()
        if digest != pinned:
            raise WeightsUnavailable(
                f"{folder / 'fingerprint.safetensors'} has SHA-256 {digest[:12]}…, not {pinned[:12]}…: "
                "the file is damaged or was replaced; reinstall earmark"
            )
        network, directions = FingerprintNetwork(), Directions()
        both = nn.ModuleDict({"network": network, "directions": directions})
        try:
            both.load_state_dict({name: tensor.float() for name, tensor in load(weights).items()})
        except (SafetensorError, RuntimeError) as exc:
            raise WeightsUnavailable(f"{folder} holds weights of another network: {exc}") from exc
        return cls(network, directions, version, digest, precision)

    def open(self) -> WindowStream:
        """The state of a new recording."""
        return WindowStream()

    def push(self, stream: WindowStream, wav_T: NDArray[np.float32]) -> Windows:
        """Take the next samples (float32 at 24 kHz, any number) and return the windows they complete.

        However the samples are cut into pushes, the windows are the same; a code may differ by one step where
        the batch size moves the last bit of a sum. Raises ValueError on a stream that was flushed.
        """
        _require_open(stream)
        wav_T = np.concatenate([stream.rest_T, np.asarray(wav_T, np.float32)])
        num_windows = max(0, 1 + (len(wav_T) - WINDOW_SAMPLES) // HOP_SAMPLES)
        windows = self._windows(stream.next_window, wav_T, num_windows)
        stream.rest_T = wav_T[num_windows * HOP_SAMPLES :].copy()
        stream.next_window += num_windows
        return windows

    def flush(self, stream: WindowStream) -> Windows:
        """End the recording: one padded window when it was shorter than a window and not empty, else none."""
        _require_open(stream)
        stream.closed = True
        short = stream.next_window == 0 and len(stream.rest_T) > 0
        return self._windows(stream.next_window, stream.rest_T, int(short))

    def run(self, wav_T: NDArray[np.float32]) -> Windows:
        """All windows of a whole recording: `push` on a fresh stream, then `flush`."""
        stream = self.open()
        pushed, tail = self.push(stream, wav_T), self.flush(stream)
        return tail if len(tail.codes_ND) else pushed

    def embed(
        self,
        wav_T: NDArray[np.float32],
        hop_samples: int,
        first_sample: int = 0,
        num_windows: int | None = None,
        pitches: Sequence[float] = (1.0,),
    ) -> NDArray[np.float32]:
        """Unit embeddings [N, 128] of the windows that begin at first_sample + n hop_samples.

        `hop_samples` is a multiple of 360 (15 ms). Without `num_windows` as many as lie wholly inside. A
        window may begin before the audio and end after it: what is missing is not taken for silence, and half
        of a window still tells much. Windows share their frames, so a fine hop costs the network alone: 0.4
        to 2 ms a window on one core. `pitches`: heard as if it had been made as many times as high and were
        now as before, its tempo as it is (features.mel_filters); with P of them [P * N, 128], pitch by pitch.
        """
        if hop_samples <= 0 or hop_samples % features.FRAME_HOP_SAMPLES:
            raise ValueError(
                f"hop_samples must be a multiple of {features.FRAME_HOP_SAMPLES}, not {hop_samples}"
            )
        wav_T = np.asarray(wav_T, np.float32)
        if num_windows is None:
            num_windows = max(0, 1 + (len(wav_T) - first_sample - WINDOW_SAMPLES) // hop_samples)
        filters_PMK = torch.stack([features.mel_filters(pitch) for pitch in pitches])
        P = len(filters_PMK)
        out_PND = np.empty((P, num_windows, EMBEDDING_WIDTH), np.float32)
        first = 0
        with torch.inference_mode():
            while first < num_windows:
                count = _batch(num_windows - first, P)
                begin = first_sample + first * hop_samples
                pictures = _pictures(wav_T, begin, hop_samples, count, filters_PMK)
                out_PND[:, first : first + count] = self._network(pictures).numpy().reshape(P, count, -1)
                first += count
        return out_PND.reshape(P * num_windows, EMBEDDING_WIDTH)

    def values(self, wav_T: NDArray[np.float32], pitches: Sequence[float] = (1.0,)) -> NDArray[np.float32]:
        """What is compared with the signs of windows: as Directions.values."""
        with torch.inference_mode():
            return self._directions.values(np.asarray(wav_T, np.float32), pitches)

    def _windows(self, first_window: int, wav_T: NDArray[np.float32], num_windows: int) -> Windows:
        codes_ND = np.zeros((num_windows, EMBEDDING_WIDTH), np.int8)
        signs_NB = np.zeros((num_windows, BYTES), np.uint8)
        if num_windows == 0:
            return Windows(first_window, codes_ND, signs_NB, np.zeros(0, np.bool_))
        wav_T = wav_T[: (num_windows - 1) * HOP_SAMPLES + WINDOW_SAMPLES]
        filters_1MK = features.mel_filters()[None]
        first = 0
        with torch.inference_mode():
            while first < num_windows:
                count = _batch(num_windows - first, 1)
                pictures = _pictures(wav_T, first * HOP_SAMPLES, HOP_SAMPLES, count, filters_1MK)
                codes_ND[first : first + count] = quantised(self._network(pictures).numpy())
                signs_NB[first : first + count] = self._directions.signs(pictures)
                first += count
        return Windows(first_window, codes_ND, signs_NB, informative(wav_T, HOP_SAMPLES))


def pictures(wav_T: NDArray[np.float32]) -> torch.Tensor:
    """Pictures [N, 2, 64, 64] of the whole windows of a recording of one at least, for training."""
    num_windows = 1 + (len(wav_T) - WINDOW_SAMPLES) // HOP_SAMPLES
    return _pictures(wav_T, 0, HOP_SAMPLES, num_windows, features.mel_filters()[None])


def _batch(num_left: int, num_pitches: int) -> int:
    """How many windows to embed next. Few different numbers: one that is met for the first time costs about
    10 ms more (measured)."""
    step = max(1, _BATCH_STEP // num_pitches)
    return min(num_left - num_left % step, _BATCH // num_pitches) or num_left


def _pictures(
    wav_T: NDArray[np.float32], begin: int, hop_samples: int, count: int, filters_PMK: torch.Tensor
) -> torch.Tensor:
    """Pictures of `count` windows from sample `begin` on, for each filter bank; frames not wholly inside the
    audio are missing."""
    P, M, _ = filters_PMK.shape
    length = (count - 1) * hop_samples + WINDOW_SAMPLES
    before, after = max(0, -begin), max(0, begin + length - len(wav_T))
    piece_T = wav_T[max(0, begin) : max(0, begin + length)]
    if before or after:
        piece_T = np.pad(piece_T, (before, after))[:length]
    step = hop_samples // features.FRAME_HOP_SAMPLES
    power = features.power_spectrogram(torch.from_numpy(piece_T)[None])[0]
    mel_PCMF = (filters_PMK @ power).unfold(2, features.NUM_FRAMES, step).transpose(1, 2)[:, :count]
    mel_BMF = mel_PCMF.reshape(P * count, M, features.NUM_FRAMES)
    if not before and not after:
        return features.picture(mel_BMF)
    starts_F = torch.arange(power.shape[1]) * features.FRAME_HOP_SAMPLES
    missing_F = (starts_F < before) | (starts_F + features.FRAME_SAMPLES > length - after)
    return features.picture(mel_BMF, missing_F.unfold(0, features.NUM_FRAMES, step)[:count].repeat(P, 1))


def informative(wav_T: NDArray[np.float32], hop_samples: int) -> NDArray[np.bool_]:
    """Which windows, as `embed` cuts them, have at least 0.2 s above -60 dBFS; hop a multiple of 20 ms or 15
    ms."""
    wav_T = _padded(wav_T)
    num_windows = 1 + (len(wav_T) - WINDOW_SAMPLES) // hop_samples
    energy = np.concatenate([[0.0], np.cumsum(np.square(wav_T, dtype=np.float64))])
    starts_N = np.arange(num_windows) * hop_samples
    edges_NB = starts_N[:, None] + np.arange(0, WINDOW_SAMPLES + 1, _BLOCK_SAMPLES)
    power_NB = np.diff(energy[edges_NB], axis=1) / _BLOCK_SAMPLES
    return np.asarray((power_NB > _QUIET_POWER).sum(axis=1) >= _MIN_LOUD_BLOCKS)


def _padded(wav_T: NDArray[np.float32]) -> NDArray[np.float32]:
    missing = WINDOW_SAMPLES - len(wav_T)
    return np.concatenate([wav_T, np.zeros(missing, np.float32)]) if missing > 0 else wav_T


def _require_open(stream: WindowStream) -> None:
    if stream.closed:
        raise ValueError("this recording was flushed; open a new stream")
