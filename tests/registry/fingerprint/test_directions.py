"""Learning directions: on numbers made so that the answer is known, and on a minute of real speech."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from audio import corpus
from audio.errors import CorpusError
from registry.fingerprint import features
from registry.fingerprint.subprints import PATCH_FRAMES, Directions
from registry.fingerprint.train import directions
from registry.fingerprint.train.directions import Agreements

ASSETS = Path(__file__).parents[2] / "assets"
D = features.NUM_BANDS * PATCH_FRAMES
Floats = NDArray[np.float64]


def test_the_first_directions_are_those_that_damage_leaves_alone() -> None:
    """Two coordinates survive and all others are drawn anew in the copy."""
    rng = np.random.default_rng(0)

    def batches() -> Floats:
        clean_BD, copy_BD = rng.standard_normal((2, 4_000, D))
        copy_BD[:, [3, 77]] = clean_BD[:, [3, 77]] + 0.3 * rng.standard_normal((4_000, 2))
        return np.stack([clean_BD + 5.0, copy_BD - 1.0])

    found = directions.canonical(iter([(*batches(),), (*batches(),)]), 4)
    along_KD = found.registered.reshape(4, D).abs()
    for kept in along_KD[:2]:
        assert int(kept.argmax()) in (3, 77)
        assert float(kept.max()) > 10 * float(kept.median())
    assert found.registered_mean.tolist() == pytest.approx(
        (5.0 * found.registered.reshape(4, D).sum(1)).tolist(), rel=0.2, abs=0.5
    )


def test_directions_that_others_share_are_left_out() -> None:
    """Direction 0 agrees as much in what is said again as in copies; 1 and 2 in copies alone; 3 nowhere."""
    rng = np.random.default_rng(0)
    copies = {"noise": np.array([0.5, 0.4, 0.3, 0.0]) + 0.05 * rng.standard_normal((50, 4))}
    others = np.array([0.5, 0.05, 0.0, 0.0]) + 0.05 * rng.standard_normal((50, 4))
    candidates = Directions(4)
    candidates.load_state_dict({name: torch.ones_like(one) for name, one in candidates.state_dict().items()})
    found = directions.chosen(candidates, Agreements(copies, others), 2)
    assert found.registered.shape[0] == 2
    assert torch.equal(found.registered, candidates.registered[:2])  # unweighed; the values carry the weight
    weights = found.heard[:, 0, 0]
    assert weights.min() > 0
    assert float(weights.mean()) == pytest.approx(1.0)
    assert torch.allclose(found.heard_mean, weights)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speakers that train, and a voice that says one sentence twice and another once."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "speech").mkdir()
    numbers = (str(number) for number in range(200))
    train = (
        one
        for one in numbers
        if corpus.split([corpus.Clip(Path(), corpus.Kind.SPEECH, "made", one, None, None)]).train
    )
    with (root / "speech.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "source", "speaker", "seconds", "original_sample_rate_hz", "licence"])
        for name in ("amelia", "kerstin_1"):
            shutil.copy(ASSETS / f"{name}.flac", root / "speech" / f"{name}.flac")
            rows.writerow([f"{name}.flac", "made", next(train), "5.5", "16000", "CC0"])
    (root / "voice" / "kathleen").mkdir(parents=True)
    with (root / "voice" / "kathleen.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "text"])
        for name, words in (("kathleen_1", "So."), ("kathleen_2", "so"), ("eltocino", "Other words.")):
            shutil.copy(ASSETS / f"{name}.flac", root / "voice" / "kathleen" / f"{name}.flac")
            rows.writerow([f"{name}.flac", words])
    return root


def test_copies_agree_and_other_sentences_do_not(data: Path) -> None:
    """With directions drawn at random: even those tell a copy from another sentence."""
    rng = np.random.default_rng(0)
    candidates = Directions(8)
    drawn = torch.from_numpy(rng.standard_normal(tuple(candidates.registered.shape)).astype(np.float32))
    candidates.load_state_dict({**candidates.state_dict(), "registered": drawn, "heard": drawn})
    found = directions.agreements(data, candidates, [lambda wav_T: wav_T], num_utterances=2)
    assert set(found.copies) == {*directions.DAMAGE, "codec 0"}
    untouched = found.copies["codec 0"].sum(axis=1)
    assert found.others.shape == (2, 8)  # the second reading, and the best of other sentences
    assert untouched.min() > 2 * found.others.sum(axis=1).max()
    assert found.copies["noise_0db"].sum(axis=1).mean() < untouched.mean()


def test_a_corpus_without_transcripts_is_refused(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "speech", tmp_path / "speech")
    shutil.copy(data / "speech.csv", tmp_path)
    with pytest.raises(CorpusError, match="no voice of the corpus has transcripts"):
        directions.agreements(tmp_path, Directions(8), [], 1)
