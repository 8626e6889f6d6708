import hashlib
from pathlib import Path

import pytest

from audio import CorpusError, corpus
from tests.audio.media import ASSETS

HEADER = "file,source,speaker,seconds,original_sample_rate_hz,licence\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus in small: 300 named speakers, one anonymous source, one voice, some noise and rooms."""
    rows = [f"s{i}_{k}.opus,libri100,{i},2.5,16000,CC BY 4.0\n" for i in range(300) for k in (1, 2)]
    rows += [f"w{i}.opus,pvwake,{i},1.0,16000,Apache-2.0\n" for i in range(50)]
    (tmp_path / "speech.csv").write_text(HEADER + "".join(rows))
    (tmp_path / "voice").mkdir()
    (tmp_path / "voice" / "kathleen.csv").write_text('file,text\na.opus,"Well, then."\n')
    for folder in ("noise", "rir"):
        (tmp_path / folder).mkdir()
        for i in range(40):
            (tmp_path / folder / f"{i}.flac").touch()
    return tmp_path


def test_an_index_row_becomes_a_typed_clip(root: Path) -> None:
    clips = corpus.load(root)
    assert clips[0] == corpus.Clip(
        root / "speech" / "s0_1.opus", corpus.Kind.SPEECH, "libri100", "0", 2.5, "CC BY 4.0"
    )
    assert clips[-1].path == root / "voice" / "kathleen" / "a.opus"
    assert (clips[-1].speaker, clips[-1].licence, clips[-1].text) == ("kathleen", "CC0", "Well, then.")


def test_no_speaker_is_in_two_parts_and_no_clip_is_lost(root: Path) -> None:
    """A speaker who is both trained on and tested on makes every reported figure too good."""
    clips = corpus.load(root)
    parts = corpus.split(clips)
    speakers = [{(clip.source, clip.speaker) for clip in part} for part in parts]
    assert all(speakers)
    assert not speakers[0] & speakers[1] | speakers[0] & speakers[2] | speakers[1] & speakers[2]
    assert sum(map(len, parts)) == len(clips)


def test_the_bucket_is_the_hash_of_source_and_speaker(root: Path) -> None:
    """The formula is a promise to every trained model: changing it mixes its training and test speakers."""
    bucket = int(hashlib.sha256(b"libri100/17").hexdigest(), 16) % 10
    part = 0 if bucket <= 5 else 1 if bucket == 6 else 2
    assert any(clip.speaker == "17" for clip in corpus.split(corpus.load(root))[part])


def test_the_shares_are_near_six_one_and_three_tenths(root: Path) -> None:
    parts = corpus.split([clip for clip in corpus.load(root) if clip.source == "libri100"])
    assert [round(len(part) / 600, 1) for part in parts] == pytest.approx([0.6, 0.1, 0.3], abs=0.1)


def test_anonymous_sources_always_train(root: Path) -> None:
    parts = corpus.split(corpus.load(root))
    assert sum(clip.source == "pvwake" for clip in parts.train) == 50


@pytest.mark.parametrize("load", [corpus.load_noise, corpus.load_rooms])
def test_noises_and_rooms_are_split_by_file(root: Path, load: object) -> None:
    assert callable(load)
    parts = corpus.split(load(root))
    assert all(parts)
    assert len({clip.path for part in parts for clip in part}) == 40


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"needs speech\.csv"):
        corpus.load(tmp_path)


def test_an_index_with_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "speech.csv").write_text("path,who\na,b\n")
    with pytest.raises(CorpusError, match="not a corpus folder"):
        corpus.load(tmp_path)


def test_a_clip_reads_as_mono_24_khz() -> None:
    wav_T = corpus.read(ASSETS / "kathleen_1.flac")
    assert wav_T.shape == (296_127,)
    assert wav_T.dtype == "float32"


def test_a_suffix_that_no_corpus_file_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="ends in one of"):
        corpus.read(tmp_path / "a.txt")
