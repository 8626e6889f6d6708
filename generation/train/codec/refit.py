"""Codebooks placed anew where the frames of given voices lie; encoder, decoder and maps stay as they are.

    figures = refit(RefitRun(speech, start, out, voices=("flite-slt", "kathleen")), note)

A codebook is worth what it was placed on: one voice's left 5.0 dB of error in another's bands where its own
leave 2.5 (docs/LOG.md, 2026-11-26). Speech is what `earmark train data` made. Each utterance lies at one of
PHASES positions in its frames, in turn. The decoder hears quantized latents that are nearer to those it
learned from, so it need not learn again, though it may. Codes become others: a speech model has to be
trained on them. Nothing is written before the end.
Dimension key: N frames, E latent width, K codebooks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from generation.checkpoints import read_mimi
from generation.checkpoints.writing import write_codec
from generation.errors import TrainingDataError
from generation.mimi import Mimi, MimiConfig
from generation.train.codec.config import MINI, SHIPPED
from generation.train.codec.quantize import place_codebooks
from generation.train.data.cache import Row, SpeechCache
from generation.train.data.item import Part

PHASES = 4
_RING = 1_000  # steps of one pass: an utterance
_NEPER_DB = 4.343  # of a power; bands are log powers
Report = Callable[[str], None]


@dataclass(frozen=True)
class RefitRun:
    """What is placed and on what."""

    speech: Path
    out: Path  # codec.safetensors to write
    voices: tuple[str, ...]
    start: Path = SHIPPED
    codec: MimiConfig = MINI
    frames: int = 300_000  # of each voice at most: 6.7 h
    threads: int = 1
    seed: int = 1


def refit(run: RefitRun, report: Report = lambda _: None) -> dict[str, float]:
    """Writes `run.out`; returns the error that is left in held-out frames of each voice, in dB of a band.

    Raises TrainingDataError for a voice that the folder does not have, CheckpointError for another codec.
    """
    torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)
    speech = SpeechCache(run.speech)
    codec = read_mimi(run.start, run.codec, run.codec.num_codebooks).requires_grad_(False)
    known = {row.voice for row in speech.rows}
    if missing := [voice for voice in run.voices if voice not in known]:
        raise TrainingDataError(f"{run.speech} has no speech of {missing[0]}: run earmark train data first")
    heard = []
    for voice in run.voices:
        heard.append(latents(codec, speech, speech.select(Part.TRAIN, voice), run.frames))
        report(f"{voice}: {len(heard[-1])} frames")
    place_codebooks(codec.quantizer, torch.cat(heard))
    report("codebooks placed")
    write_codec(run.out, codec, torch.float16)
    codec = read_mimi(run.out, run.codec, run.codec.num_codebooks)  # as it was rounded
    return {
        f"{voice}_db": error_db(codec, latents(codec, speech, speech.select(Part.TEST, voice), run.frames))
        for voice in run.voices
    }


@torch.no_grad()
def latents(codec: Mimi, speech: SpeechCache, rows: list[Row], most: int) -> Tensor:
    """[N, E] of utterances, without their first frames, which have heard silence."""
    samples, found, num = codec.config.frame_samples, [], 0
    for index, row in enumerate(rows):
        late = samples * (index % PHASES) // PHASES
        wav_T = np.pad(speech.read(row).wav_T, (late, -(late + row.length) % samples))
        found.append(codec.latents(codec.open(1, ring=_RING), torch.from_numpy(wav_T)[None])[0, 1:])
        num += len(found[-1])
        if num >= most:
            break
    return torch.cat(found)


@torch.no_grad()
def error_db(codec: Mimi, x_NE: Tensor) -> float:
    """RMS over the features of a frame of what its acoustic codes do not say."""
    branch = codec.quantizer.rvq_rest
    target_NQ = functional.linear(x_NE, branch.input_proj.weight[:, :, 0])
    books = branch.codebooks(len(branch.vq.layers))
    rest_NQ = target_NQ
    for book in books:
        rest_NQ = rest_NQ - book.decode(book.encode(rest_NQ[None])[0])
    features = codec.config.latent_dim * codec.config.resample_stride
    return _NEPER_DB * float((rest_NQ.square().sum(dim=1).mean() / features).sqrt())
