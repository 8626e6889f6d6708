"""Held-out figures of a codec: how near its speech is, and how much of its codebooks is in use.

    mel             the training's own distance, nepers        stoi, pesq     of the voice's held-out clips
    perplexity_K    of the entries of codebook K, first and last: the number that are chosen as if evenly

The sentences are held out, the voice is not. Not here: ViSQOL, words, codes after a second pass
(benchmarks/codec.py).
Source: STOI, Taal et al., 2011 (pystoi); PESQ wide-band, ITU-T P.862.2 (pesq), at 16 kHz.
"""

from collections.abc import Callable

import numpy as np
import torch

from audio.resample import resample
from generation.errors import TrainingDataError
from generation.mimi import Mimi
from generation.train.codec.clips import Clips
from generation.train.codec.losses import mel_distance

NUM_CLIPS = 12
Measure = Callable[..., float]


def measures() -> tuple[Measure, Measure]:
    """PESQ and STOI. Raises TrainingDataError when they are not installed."""
    try:
        from pesq import pesq
        from pystoi import stoi
    except ImportError as exc:
        raise TrainingDataError(f"{exc.name} is missing: pip install 'earmark[bench]'") from exc
    return pesq, stoi


@torch.no_grad()
def held_out_figures(codec: Mimi, clips: Clips, num_clips: int = NUM_CLIPS) -> dict[str, float]:
    """Of the first held-out recordings of the voice, at the codec's number of codebooks."""
    pesq, stoi = measures()
    device = next(codec.parameters()).device
    mel: list[float] = []
    intelligibility: list[float] = []
    quality: list[float] = []
    counts = torch.zeros(())
    for row in clips.held_out[:num_clips]:
        wav_T = clips.read(row)
        real_BT = torch.from_numpy(wav_T)[None].to(device)
        codes_BKF, made_BT = codec.run(real_BT)
        mel.append(float(mel_distance(made_BT, real_BT)))
        made_T = made_BT[0].cpu().numpy()
        intelligibility.append(stoi(wav_T, made_T, 24_000))
        quality.append(pesq(16_000, resample(wav_T, 24_000, 16_000), resample(made_T, 24_000, 16_000), "wb"))
        one_hot = torch.nn.functional.one_hot(codes_BKF[0].cpu(), codec.config.codebook_size)
        counts = counts + one_hot.sum(dim=1).double()
    share = counts / counts.sum(dim=1, keepdim=True)
    perplexity = torch.exp(-(share * share.clamp(min=1e-12).log()).sum(dim=1))
    return {
        "mel": float(np.mean(mel)),
        "stoi": float(np.mean(intelligibility)),
        "pesq": float(np.mean(quality)),
        "perplexity_1": float(perplexity[0]),
        "perplexity_8": float(perplexity[-1]),
    }
