"""Make the training speech: the recorded voice, the synthesizers, the vocabulary, all into one folder.

    figures = build(DataConfig(corpus, out, hours_espeak=3, hours_flite=3), note)

(1) the held-out sentences, (2) the vocabulary, (3) the recorded voice: every recording with its words, and
copies of the training ones in other styles, (4) each synthesizer voice: the held-out sentences in shard 0,
then training sentences, half of them neutral, until its hours are full, (5) more of a flite voice: sentences
chosen for words that it has seldom said, (6) conversations, (7) the table of words that are learned by their
phones, and their pieces for the vocabulary. Everything is decided by hashes of names, so a
run that was stopped goes on with the next shard, and more hours add shards to those there are. But (5)
chooses by what (4) holds: for more hours of (4) delete the shards VOICE-rare-… first. What (7) made stays.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import NamedTuple

from audio import corpus
from audio.durable import write_durably
from generation.errors import TrainingDataError
from generation.pronunciation import Pronunciations
from generation.speech_text import spoken
from generation.train.data import cache, dialogues, espeak, flite, lexicon, styles, tokenizer
from generation.train.data.align import Aligner
from generation.train.data.item import Part, Speaker, SpokenSentence
from generation.train.data.sentences import Texts, bare, digest, held_out, rarely_said

RECORDED_VOICE = "kathleen"
SHARD_ITEMS = 200
"""About ten minutes of speech and 30 MB; what a stopped run does again."""

FLITE_SHARES = {"slt": 0.5, "rms": 0.25, "awb": 0.25}  # slt is what the shipped voice speaks like
_HELD_OUT = "held_out.json"
TOKENIZER = "tokenizer.model"
PRONUNCIATIONS = "pronunciations.xz"


@dataclass(frozen=True)
class DataConfig:
    """`corpus` holds voice/ and text/; hours are of training speech; `styled_copies` of each recording."""

    corpus: Path
    out: Path
    hours_espeak: float = 3.0
    hours_flite: float = 3.0
    styled_copies: int = 1
    hours_dialogues: float = 0.0  # of scenes with two sides; in a folder of their own (dialogues.py)
    flite_voices: tuple[str, ...] = tuple(FLITE_SHARES)
    hours_rare: float = 0.0  # of the first of flite_voices, neutral


class Figures(NamedTuple):
    """What the folder holds of one voice."""

    voice: str
    train_h: float
    test_h: float
    num_items: int
    num_dropped: int


class _Job(NamedTuple):
    """One item to be made: `make` gives the neutral utterance."""

    make: Callable[[], SpokenSentence | None]
    style: str
    seed: int
    part: Part


def build(config: DataConfig, note: Callable[[str], None]) -> list[Figures]:
    """Fill the folder; `note` is told about every shard. Returns what the folder holds, voice by voice.

    Raises TrainingDataError for a corpus without voice or texts, for a synthesizer or aligner that is not
    installed, and for a folder that was made from another corpus.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    recordings = [(path, spoken(text)) for path, text in _recordings(config.corpus)]
    kept_out = held_out(text for _, text in recordings)
    _claim(config.out, kept_out)  # (1)
    texts = Texts(config.corpus, excluded=kept_out)
    if not (config.out / TOKENIZER).exists():  # (2)
        note("training the vocabulary")
        spoken_too = [text for _, text in recordings if text not in kept_out]
        written = islice(texts.stream("tokenizer"), tokenizer.NUM_SENTENCES)
        tokenizer.train(chain(spoken_too, written), config.out / TOKENIZER)
    jobs = _recorded_jobs(recordings, frozenset(kept_out), config.styled_copies)
    for number in count():  # (3)
        batch = list(islice(jobs, SHARD_ITEMS))
        if not batch:
            break
        _make_shard(config.out, RECORDED_VOICE, number, batch, note)
    for speaker, hours in _speakers(config):  # (4)
        _fill(config.out, speaker, hours, kept_out, texts, note)
    if config.hours_rare:  # (5)
        _fill_rare(config.out, flite.Flite(config.flite_voices[0]), config.hours_rare, texts, note)
    if config.hours_dialogues:  # (6)
        users: list[Speaker] = [espeak.Espeak(voice) for voice in espeak.VOICES]
        users += [flite.Flite(voice) for voice in FLITE_SHARES if voice != "slt"]
        hours, slt = config.hours_dialogues, flite.Flite("slt")
        dialogues.build_dialogues(config.corpus, config.out, hours, slt, users, note)
    speech = cache.SpeechCache(config.out)
    _write_phones(config.out, speech, texts, note)  # (7)
    return figures(speech)


def _write_phones(out: Path, speech: cache.SpeechCache, texts: Texts, note: Callable[[str], None]) -> None:
    path = out / PRONUNCIATIONS
    said = [row.text for row in speech.rows if row.part is Part.TRAIN]
    if not path.exists():
        lexicon.write(chain(texts.stream("pronunciations"), said), said, path)
        note(f"{len(Pronunciations.load(path))} words have phones")
    tokenizer.extend(list(lexicon.written(said, Pronunciations.load(path))), out / TOKENIZER)


def figures(speech: cache.SpeechCache) -> list[Figures]:
    """Hours, items and dropped utterances of each voice."""
    found = []
    for voice in sorted({row.voice for row in speech.rows}):
        num_dropped = sum(speech.num_dropped.get(name, 0) for name in (voice, _rare(voice)))
        train, test = speech.select(Part.TRAIN, voice), speech.select(Part.TEST, voice)
        hours = [sum(row.duration_s for row in rows) / 3600 for rows in (train, test)]
        found.append(Figures(voice, hours[0], hours[1], len(train) + len(test), num_dropped))
    return found


def _recordings(folder: Path) -> list[tuple[Path, str]]:
    clips = [clip for clip in corpus.load(folder) if clip.source == RECORDED_VOICE]
    if not clips:
        raise TrainingDataError(f"{folder} has no voice/{RECORDED_VOICE}.csv: name the corpus folder")
    return [(clip.path, clip.text or "") for clip in clips]


def _claim(out: Path, kept_out: list[str]) -> None:
    """Write the held-out sentences, or see that they are those the folder was made with."""
    path = out / _HELD_OUT
    if not path.exists():
        write_durably(path, lambda file: file.write(json.dumps(kept_out, indent=1).encode()))
    elif json.loads(path.read_text(encoding="utf-8")) != kept_out:
        raise TrainingDataError(f"{out} was made from another corpus: name a new folder")


def _recorded_jobs(
    recordings: list[tuple[Path, str]], kept_out: frozenset[str], num_copies: int
) -> Iterator[_Job]:
    aligner = Aligner()
    others = styles.NAMES[1:]
    for path, text in recordings:
        make = _Recorded(aligner, path, text)
        if text in kept_out:
            yield _Job(make, styles.NAMES[0], 0, Part.TEST)
            continue
        yield _Job(make, styles.NAMES[0], 0, Part.TRAIN)
        seed = digest(path.name)
        for copy in range(num_copies):
            yield _Job(make, others[(seed + copy) % len(others)], seed, Part.TRAIN)


@dataclass(frozen=True)
class _Recorded:
    """A recording with its words, as a job makes it."""

    aligner: Aligner
    path: Path
    text: str

    def __call__(self) -> SpokenSentence | None:
        return self.aligner.align(self.text, corpus.read(self.path), RECORDED_VOICE)


def _speakers(config: DataConfig) -> Iterator[tuple[Speaker, float]]:
    """Each with its hours of training speech; a synthesizer of which none is wanted need not be installed."""
    if config.hours_espeak:
        for voice in espeak.VOICES:
            yield espeak.Espeak(voice), config.hours_espeak / len(espeak.VOICES)
    if config.hours_flite:
        shares = {voice: FLITE_SHARES[voice] for voice in config.flite_voices}
        for voice, share in shares.items():
            yield flite.Flite(voice), config.hours_flite * share / sum(shares.values())


def _fill(
    out: Path, speaker: Speaker, hours: float, kept_out: list[str], texts: Texts, note: Callable[[str], None]
) -> None:
    tests = [_Job(partial(speaker.speak, text), styles.NAMES[0], 0, Part.TEST) for text in kept_out]
    _make_shard(out, speaker.voice, 0, tests, note)
    jobs = (_synthetic_job(speaker, text) for text in texts.stream(speaker.voice))
    _fill_shards(out, speaker.voice, hours, jobs, note)


def _fill_rare(out: Path, speaker: Speaker, hours: float, texts: Texts, note: Callable[[str], None]) -> None:
    rows = cache.SpeechCache(out).select(Part.TRAIN, speaker.voice)
    said = [bare(row.text) for row in rows if not row.shard.startswith(_rare(speaker.voice))]
    chosen = rarely_said(texts.stream(speaker.voice), said)
    neutral = styles.NAMES[0]
    jobs = (_Job(partial(speaker.speak, text), neutral, 0, Part.TRAIN) for text in chosen)
    _fill_shards(out, _rare(speaker.voice), hours, jobs, note)


def _rare(voice: str) -> str:
    """What its shards of sentences with rare words are called."""
    return f"{voice}-rare"


def _fill_shards(
    out: Path, name: str, hours: float, jobs: Iterator[_Job], note: Callable[[str], None]
) -> None:
    missing_s, number = hours * 3600, 1
    while missing_s > 0:
        batch = list(islice(jobs, SHARD_ITEMS))
        if not batch:
            raise TrainingDataError(f"the texts end {missing_s:.0f} s before {name} has its hours")
        missing_s -= _make_shard(out, name, number, batch, note)
        number += 1


def _synthetic_job(speaker: Speaker, text: str) -> _Job:
    """Half of the utterances neutral, the others in each style as often."""
    seed = digest(speaker.voice, text)
    others = styles.NAMES[1:]
    style = styles.NAMES[0] if seed % 2 else others[seed // 2 % len(others)]
    return _Job(partial(speaker.speak, text), style, seed, Part.TRAIN)


def _make_shard(out: Path, voice: str, number: int, jobs: list[_Job], note: Callable[[str], None]) -> float:
    """The seconds of training speech in a shard, which is made unless it is there."""
    name = cache.shard_name(voice, number)
    if not cache.has_shard(out, name):
        started_s = time.monotonic()
        neutral = [(job.make(), job) for job in jobs]
        items = [
            (styles.styled(sentence, job.style, job.seed), job.part)
            for sentence, job in neutral
            if sentence is not None
        ]
        cache.write_shard(out, name, items, len(jobs) - len(items))
        total_s = sum(item.duration_s for item, _ in items)
        note(f"{name}: {total_s / 60:.1f} min of speech in {time.monotonic() - started_s:.1f} s")
    rows = cache.read_shard(out, name).rows
    return sum(row.duration_s for row in rows if row.part is Part.TRAIN)
