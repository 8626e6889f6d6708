"""Codebooks placed on voices: what is left of them, what stays, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from audio import trusted
from generation.checkpoints import read_mimi
from generation.checkpoints.writing import write_codec
from generation.errors import TrainingDataError
from generation.mimi import Mimi
from generation.train.codec.analysis import fit
from generation.train.codec.config import MINI
from generation.train.codec.quantize import nearest, place_codebooks
from generation.train.codec.refit import RefitRun, error_db, latents, refit
from generation.train.data.cache import SpeechCache, write_shard
from generation.train.data.item import Part, SpokenSentence, Word
from tests.generation.train.codec.test_analysis import batches

ASSETS = Path(__file__).parents[3] / "assets"
CONFIG = replace(MINI, codebook_size=64)


def said(voice: str, wav_T: np.ndarray) -> SpokenSentence:
    return SpokenSentence("hello.", (Word("hello.", 0.0, 0.5),), wav_T, voice, "neutral")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RefitRun:
    """A codec of two voices, and speech of a third: amelia."""
    root = tmp_path_factory.mktemp("refit")
    torch.manual_seed(1)
    codec = Mimi(CONFIG)
    fit(codec, batches(2))
    write_codec(root / "start.safetensors", codec, torch.float16)
    wav_T = trusted.read(ASSETS / "amelia.flac", "flac")
    middle = len(wav_T) * 3 // 4
    items = [
        (said("amelia", part), Part.TRAIN) for part in np.array_split(wav_T[:middle].astype(np.float32), 5)
    ]
    (root / "speech").mkdir()
    write_shard(root / "speech", "amelia-0000", [*items, (said("amelia", wav_T[middle:]), Part.TEST)], 0)
    return RefitRun(
        root / "speech", root / "new.safetensors", ("amelia",), root / "start.safetensors", CONFIG
    )


def test_codebooks_placed_on_a_voice_leave_less_of_it(run: RefitRun) -> None:
    lines: list[str] = []
    figures = refit(run, lines.append)
    before, after = (read_mimi(path, CONFIG, 8) for path in (run.start, run.out))
    speech = SpeechCache(run.speech)
    x_NE = latents(before, speech, speech.select(Part.TRAIN, "amelia"), 10_000)
    assert error_db(after, x_NE) < 0.7 * error_db(before, x_NE)
    x_NE = latents(before, speech, speech.select(Part.TEST, "amelia"), 10_000)
    assert figures == {"amelia_db": pytest.approx(error_db(after, x_NE))}
    assert lines[0].startswith("amelia: ")


def test_encoder_maps_and_decoder_stay(run: RefitRun) -> None:
    refit(run)
    before, after = (read_mimi(path, CONFIG, 8).state_dict() for path in (run.start, run.out))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith(("embedding_sum", "cluster_usage"))} & changed
    assert sum(name.endswith("embedding_sum") for name in changed) == 8


def test_a_voice_that_nobody_spoke_is_refused_and_nothing_is_written(run: RefitRun, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="no speech of kathleen"):
        refit(replace(run, voices=("kathleen",), out=tmp_path / "codec.safetensors"))
    assert not list(tmp_path.iterdir())


def test_an_entry_that_nothing_chooses_begins_again() -> None:
    """As many places as entries: drawn once, a third of the places would have none."""
    torch.manual_seed(0)
    codec = Mimi(CONFIG).requires_grad_(False)
    places = torch.randn(64, CONFIG.latent_dim)
    x_NE = places[torch.arange(3200) % 64]
    place_codebooks(codec.quantizer, x_NE)
    branch = codec.quantizer.rvq_rest
    x_NQ = torch.nn.functional.linear(x_NE, branch.input_proj.weight[:, :, 0])
    first = branch.codebooks(1)[0]
    left = (x_NQ - first.decode(nearest(first, x_NQ))).square().mean() / x_NQ.var()
    assert float(left) < 0.05
