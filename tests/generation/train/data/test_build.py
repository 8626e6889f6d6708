"""All of `earmark train data` on one real recording and a page of text, with the real tools."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from generation.errors import TrainingDataError
from generation.train.data import DataConfig, Part, SpeechCache, build, tokenizer
from generation.train.data.flite import Flite
from generation.train.data.sentences import Texts
from tests.generation.train.data.test_sentences import write_texts

ASSETS = Path(__file__).resolve().parents[3] / "assets"
TRANSCRIPT = (
    '"Author of the danger trail, Philip Steels, etc. Not at this particular case, Tom, apologized '
    "Whittemore. For the twentieth time that evening the two men shook hands. Lord, but I'm glad to see "
    'you again, Phil."'
)


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    pytest.importorskip("pocketsphinx", reason="pip install 'earmark[train]'")
    try:
        Flite("slt")
    except TrainingDataError as exc:
        pytest.skip(str(exc))
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    (corpus / "voice" / "kathleen").mkdir(parents=True)
    out.mkdir()
    shutil.copy(ASSETS / "kathleen_1.flac", corpus / "voice" / "kathleen" / "one.flac")
    (corpus / "voice" / "kathleen.csv").write_text(f"file,text\none.flac,{TRANSCRIPT}\n")
    (corpus / "speech.csv").write_text("file,source,speaker,seconds,original_sample_rate_hz,licence\n")
    write_texts(corpus)
    # A page of text is too little for the vocabulary of the product; a model that is there is kept.
    tokenizer.train(list(Texts(corpus).stream("any")) * 20, out / "tokenizer.model", vocabulary=48)
    return DataConfig(corpus, out, hours_espeak=0, hours_flite=0.002)


def test_a_run_that_lost_a_shard_writes_the_same_again_and_leaves_the_others(config: DataConfig) -> None:
    """A run is stopped and goes on many times; a shard that came out different would repeat sentences."""
    figures = build(config, lambda _: None)
    assert [voice.voice for voice in figures] == ["flite-awb", "flite-rms", "flite-slt", "kathleen"]
    speech = SpeechCache(config.out)
    assert all(speech.read(row).check() for row in speech.rows)
    assert [row.voice for row in speech.select(Part.TEST)] == [
        "flite-awb",
        "flite-rms",
        "flite-slt",
        "kathleen",
    ]
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in config.out.iterdir()}
    lost = config.out / "flite-slt-0001.json"
    lost.unlink()
    notes: list[str] = []
    assert build(config, notes.append) == figures
    assert [note.partition(":")[0] for note in notes] == ["flite-slt-0001"]
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in config.out.iterdir()}
    assert {name: data for name, (data, _) in after.items()} == {
        name: data for name, (data, _) in before.items()
    }
    rewritten = {name for name in after if after[name] != before[name]}
    assert rewritten == {"flite-slt-0001.npy", "flite-slt-0001.json"}


def test_sentences_chosen_for_rare_words_are_said_once_and_beside_the_others(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words are learned by being heard: what is added must be new sentences, in the same voice."""
    monkeypatch.setattr(sys.modules["generation.train.data.build"], "SHARD_ITEMS", 2)
    build(config, lambda _: None)
    plain = {row.text for row in SpeechCache(config.out).select(Part.TRAIN, "flite-slt")}
    more = replace(config, flite_voices=("slt",), hours_rare=0.001)
    assert build(more, lambda _: None) == build(more, lambda _: None)
    rows = SpeechCache(config.out).select(Part.TRAIN, "flite-slt")
    added = [row.text for row in rows if row.shard.startswith("flite-slt-rare-")]
    assert added and len(set(added)) == len(added) and not plain & set(added)


def test_a_folder_made_from_another_corpus_is_refused(config: DataConfig) -> None:
    """Its held-out sentences are others: some of them would have been trained on."""
    (config.out / "held_out.json").write_text('["something else."]')
    with pytest.raises(TrainingDataError, match="made from another corpus"):
        build(config, lambda _: None)


def test_more_hours_than_there_are_texts_is_said(config: DataConfig) -> None:
    greedy = DataConfig(config.corpus, config.out, hours_espeak=0, hours_flite=1.0)
    with pytest.raises(TrainingDataError, match="the texts end"):
        build(greedy, lambda _: None)
