"""A tiny voice trained for a few steps on synthetic speech, with a tiny codec: stages, resuming, results."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from generation import Dialogue, Speaker, reply
from generation.checkpoints import Checkpoint, load_conditions, load_moshi, published_state, read_mimi
from generation.errors import CheckpointError, TrainingDataError
from generation.mimi import Mimi
from generation.mimi.model import MimiState
from generation.moshi import Moshi
from generation.moshi.config import SILENT_TEXT, TEXT_END_OF_PADDING, TEXT_PADDING, ZERO_TOKEN
from generation.pronunciation import LETTERS, Pronunciations, packed
from generation.text import Text
from generation.train.data import PRONUNCIATIONS, TOKENIZER, dialogues
from generation.train.data.cache import SpeechCache, write_shard
from generation.train.data.item import Part, SpokenSentence, Word
from generation.train.speech.batches import Words
from generation.train.speech.codes import LEAD_IN, TAIL, CodeCache, codes_name
from generation.train.speech.config import SpeechRun, Stage
from generation.train.speech.frames import text_frames
from generation.train.speech.loop import SpeechTraining, run_speech
from generation.train.speech.losses import Corruption
from generation.train.speech.voice import begin
from tests.generation.tiny import TINY_MIMI, TINY_MOSHI, tiny_tokenizer

PARTS = (Part.TEST, *[Part.TRAIN] * 5)
STEPS = {Stage.TEXT: 1, Stage.JOINT: 2, Stage.SAY: 3}
TALKS = {Stage.SAY: 1, Stage.DIALOGUE: 3}


def _sentence(voice: str, number: int) -> SpokenSentence:
    rng = np.random.default_rng(number)
    wav_T = rng.normal(0, 0.1, 24_000).astype(np.float32)
    text = ("hello there.", "how are you?", "it rains.")[number % 3]
    edges = np.linspace(0.0, 0.9, len(text.split()) + 1)
    words = tuple(
        Word(w, float(a), float(b)) for w, a, b in zip(text.split(), edges, edges[1:], strict=False)
    )
    return SpokenSentence(text, words, wav_T, voice, ("neutral", "fast")[number % 2])


def _neutral(voice: str, number: int) -> SpokenSentence:
    return replace(_sentence(voice, number), style="neutral")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SpeechRun:
    root = tmp_path_factory.mktemp("speech")
    data = root / "data"
    data.mkdir()
    for voice in ("kathleen", "slt"):
        items = [(_sentence(voice, number), Part.TRAIN) for number in range(6)]
        items += [(_sentence(voice, 6), Part.TEST)]
        write_shard(data, f"{voice}-0000", items, 0)
    sides = [(_neutral(v, n), part) for n, part in enumerate(PARTS) for v in ("slt", "user")]
    (data / dialogues.FOLDER).mkdir()
    write_shard(data / dialogues.FOLDER, "dialogue-0000", sides, 0)
    (data / TOKENIZER).write_bytes(tiny_tokenizer())
    (data / PRONUNCIATIONS).write_bytes(packed({"rains": ("R",)}))
    torch.manual_seed(1)
    save_file(published_state(Mimi(TINY_MIMI)), root / "codec.safetensors")
    model = replace(TINY_MOSHI, num_audio=8, delays=TINY_MOSHI.delays[:9])
    return SpeechRun(
        data,
        root / "codec.safetensors",
        root / "out",
        STEPS,
        model=model,
        mimi=TINY_MIMI,
        frames=100,
        warm_steps=1,
    )


def _text(run: SpeechRun) -> Text:
    return Text.load(run.data / TOKENIZER)


def _words(run: SpeechRun, *, phones: bool) -> Words:
    path = run.data / PRONUNCIATIONS
    return Words(_text(run), Pronunciations.load(path) if phones else Pronunciations({}))


def _training(run: SpeechRun) -> SpeechTraining:
    """A run at its beginning; its codes are made once."""
    (run.out / "checkpoint.safetensors").unlink(missing_ok=True)
    return SpeechTraining(run)


def test_a_run_goes_through_its_stages_and_leaves_a_voice_that_speaks(run: SpeechRun) -> None:
    _training(run)
    lines: list[str] = []
    figures = run_speech(run, lines.append)
    assert figures.keys() == {"text", *(f"audio_{k}" for k in range(1, 9))}
    assert all(np.isfinite(value) for value in figures.values())
    assert [run.stage(step).value for step in range(6)] == ["text", "joint", "joint", "say", "say", "say"]
    speaker = Speaker.load(run.out / "model")
    assert speaker.choices("voice") == ("kathleen", "slt")
    assert len(next(speaker.say(speaker.read("Hello there.", style="fast"), seed=1))) == 1920


def test_a_stopped_run_takes_the_step_it_would_have_taken(run: SpeechRun) -> None:
    """In every stage: a checkpoint that forgot a moment, a condition or the stage would change the next."""
    for num_steps in (1, 2, 4):
        training = _training(run)
        for _ in range(num_steps):
            training.update()
        training.save()
        expected = training.update()
        again = SpeechTraining(run)
        assert again.step == num_steps
        assert again.update() == pytest.approx(expected, rel=1e-5)
        state = training.average.state_dict()
        for name, value in again.average.state_dict().items():
            torch.testing.assert_close(value, state[name])


def test_training_learns(run: SpeechRun) -> None:
    """Twelve sentences by heart: losses that fall only where they are measured wrongly would not."""
    longer = replace(run, steps={Stage.SAY: 60}, learning_rate=5e-3, text_drop=0.0, noise=0.0)
    training = _training(longer)
    seen = [training.update() for _ in range(60)]
    for name in ("text", "semantic", "acoustic"):
        first, last = (np.mean([one[name] for one in part]) for part in (seen[:5], seen[-5:]))
        assert last < 0.9 * first, name


def test_the_text_stage_hears_no_speech_and_the_say_stage_prefers_its_voice(run: SpeechRun) -> None:
    training = _training(replace(run, voice_share=1.0))
    text, joint, say = (training.draw(step) for step in (0, 1, 3))
    assert bool((text.tokens_BRF[:, 1:] == ZERO_TOKEN).all())
    assert {row["voice"] for row in joint.conditions} == {"kathleen", "slt"}
    assert {row["voice"] for row in say.conditions} == {"kathleen"}
    again = training.draw(3)
    assert torch.equal(say.tokens_BRF, again.tokens_BRF)
    for batch in (joint, say):
        _, _, F = batch.tokens_BRF.shape
        for tokens_RF, length in zip(batch.tokens_BRF, batch.lengths_B, strict=True):
            assert bool((tokens_RF[1:, :length] >= 0).all())
            assert bool((tokens_RF[0, length:] == TEXT_PADDING).all())
            assert LEAD_IN + TAIL < length <= F


def test_a_run_may_begin_with_neutral_speech_of_one_voice_and_go_on_with_all(run: SpeechRun) -> None:
    """The sizes of the model must not depend on what is trained on first."""
    few = _training(replace(run, others=(), styled=False))
    assert {(c["voice"], c["style"]) for c in few.draw(1).conditions} == {("kathleen", "neutral")}
    few.update()
    few.save()
    more = SpeechTraining(run)
    drawn = [c for step in range(1, 6) for c in more.draw(step).conditions]
    assert {(c["voice"], c["style"]) for c in drawn} >= {("slt", "fast"), ("kathleen", "neutral")}
    assert np.isfinite(more.update()["text"])


def _talking(run: SpeechRun) -> SpeechRun:
    """A run of conversations that begins with what `run` published."""
    out = run.out.parent / "talking"
    return replace(run, steps=TALKS, model=TINY_MOSHI, start=run.out / "model", out=out)


def test_a_scene_is_what_moshi_writes_says_and_hears(run: SpeechRun) -> None:
    training = _training(replace(_talking(run), start=None, scene_share=1.0))
    assert training.scenes is not None
    batch = training.draw(1)
    assert batch.stage is Stage.DIALOGUE
    speech = SpeechCache(run.data / dialogues.FOLDER)
    moshi, user = speech.rows[2:4]
    [scene] = training.scenes._written(_words(run, phones=False), [(moshi, user)])
    one = training.scenes.batch([scene]).tokens_BRF[0]
    mimi = read_mimi(run.codec, TINY_MIMI, 8)
    for row, codes_KF in ((moshi, one[1:9]), (user, one[9:])):
        wav_T = np.pad(speech.read(row).wav_T, (LEAD_IN * 1920, TAIL * 1920 + -row.length % 1920))
        assert torch.equal(codes_KF, mimi.run(torch.from_numpy(wav_T)[None])[0][0])
    written = [int(token) for token in one[0] if token not in SILENT_TEXT]
    assert written == [token for word in _words(run, phones=False).tokens(moshi) for token in word]
    assert int((one[0] == TEXT_END_OF_PADDING).sum()) == len(moshi.words), "nothing ends a conversation"


def test_conversations_go_on_from_a_voice_and_hear_nobody_at_first(run: SpeechRun) -> None:
    """Until it has learned, a user changes nothing; what it says is what the voice said."""
    _training(run)
    run_speech(run, lambda _: None)
    talking = _talking(run)
    training = _training(talking)
    checkpoint = Checkpoint.open(run.out / "model")
    before, after = load_moshi(checkpoint), training.voice.moshi
    torch.testing.assert_close(after.text_emb.weight.data, before.text_emb.weight.float())
    assert [bool(embed.weight.any()) for embed in after.emb] == [True] * 8 + [False] * 8
    figures = run_speech(talking, lambda _: None)
    assert {"dialogue_text", "dialogue_audio_1", "dialogue_audio_8", "text"} <= figures.keys()
    assert all(np.isfinite(value) for value in figures.values())
    heard = load_moshi(Checkpoint.open(talking.out / "model"))
    assert all(bool(embed.weight.any()) for embed in heard.emb), "now it hears"
    dialogue = Dialogue.load(talking.out / "model")
    spoken = list(reply(dialogue, np.zeros(19_200, np.float32), seed=1))
    assert len(spoken) == 10 and np.isfinite(spoken[-1].speech_T).all()
    speaker = Speaker.load(talking.out / "model")
    assert len(next(speaker.say(speaker.read("Hello there."), seed=1))) == 1920


def test_a_voice_alone_is_no_partner(run: SpeechRun) -> None:
    _training(run)
    run_speech(run, lambda _: None)
    with pytest.raises(CheckpointError, match="hears nobody"):
        Dialogue.load(run.out / "model")


def test_a_model_of_another_size_cannot_be_gone_on_with(run: SpeechRun) -> None:
    _training(run)
    run_speech(run, lambda _: None)
    wider = replace(TINY_MOSHI, temporal=replace(TINY_MOSHI.temporal, feed_forward=144))
    with pytest.raises(CheckpointError, match="another size"):
        _training(replace(_talking(run), model=wider))


def test_a_smaller_vocabulary_cannot_be_gone_on_with(run: SpeechRun) -> None:
    num = TINY_MOSHI.text_vocabulary
    larger = replace(run, model=replace(run.model, text_vocabulary=num + 8), steps={Stage.TEXT: 1})
    _training(larger)
    run_speech(larger, lambda _: None)
    with pytest.raises(CheckpointError, match=f"{num} pieces where {num + 8}"):
        _training(_talking(run))


def test_a_larger_vocabulary_begins_with_the_pieces_that_there_were(run: SpeechRun) -> None:
    """Behind them stands the token a text begins with: it must move with the end."""
    _training(run)
    run_speech(run, lambda _: None)
    num = TINY_MOSHI.text_vocabulary
    begun = _training(replace(_talking(run), model=replace(TINY_MOSHI, text_vocabulary=num + 8))).voice.moshi
    before = load_moshi(Checkpoint.open(run.out / "model"))
    for own, given in (
        (begun.text_emb.weight, before.text_emb.weight),
        (begun.depformer_text_emb.weight, before.depformer_text_emb.weight),
    ):
        assert torch.equal(own[:num], given[:num]) and torch.equal(own[-1], given[-1])
    assert torch.equal(begun.text_linear.weight[:num], before.text_linear.weight)
    assert len(begun.text_linear.weight) == num + 8


def test_sentences_are_in_phones_where_there_are_some_and_conversations_are_spelled(run: SpeechRun) -> None:
    """What is said is learned by its sounds; what Moshi writes is read by people."""
    training = _training(_talking(run))
    assert training.scenes is not None
    said = [one for box in training.sentences._buckets._boxes.values() for one in box]
    talked = [one for box in training.scenes._buckets._boxes.values() for one in box]
    encode = _text(run).encode
    for texts_F, last_word in (
        ([one.text_F for one in said if one.row.text == "it rains."], LETTERS["R"] + "."),
        ([one.text_F for one in talked if one.moshi.text == "it rains."], "rains."),
    ):
        assert texts_F
        for text_F in texts_F:
            assert text_F[~np.isin(text_F, SILENT_TEXT)].tolist() == encode("it") + encode(last_word)


def test_a_model_may_be_gone_on_with_in_another_of_its_voices(run: SpeechRun) -> None:
    """Voices in another order: each must begin with its own vector."""
    _training(run)
    run_speech(run, lambda _: None)
    begun = _training(replace(_talking(run), voice="slt")).voice.conditions
    published = load_conditions(Checkpoint.open(run.out / "model"))
    assert published is not None
    assert begun.configs["voice"].values == ("slt", "kathleen")
    for voice in ("slt", "kathleen"):
        said = [{"voice": voice, "style": "fast"}]
        torch.testing.assert_close(begun(said), published(said))


def test_a_model_without_the_voice_cannot_be_gone_on_with(run: SpeechRun, tmp_path: Path) -> None:
    _training(run)
    run_speech(run, lambda _: None)
    shutil.copytree(run.data, tmp_path / "data")
    write_shard(tmp_path / "data", "rms-0000", [(_sentence("rms", 0), Part.TRAIN)], 0)
    with pytest.raises(CheckpointError, match="no voice rms"):
        _training(replace(_talking(run), data=tmp_path / "data"))


def test_most_sentences_are_the_voices_own_and_neutral(run: SpeechRun) -> None:
    training = _training(replace(run, voice_share=0.8, neutral_share=0.9))
    rng = np.random.default_rng(1)
    drawn = [said for _ in range(300) for said in training.sentences.draw(rng, Stage.SAY).conditions]
    assert abs(np.mean([one["voice"] == "kathleen" for one in drawn]) - 0.8) < 0.1
    assert abs(np.mean([one["style"] == "neutral" for one in drawn]) - 0.9) < 0.1


def test_a_folder_without_conversations_says_how_they_are_made(run: SpeechRun, tmp_path: Path) -> None:
    for file in run.data.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    with pytest.raises(TrainingDataError, match="--hours-dialogues"):
        _training(replace(_talking(run), start=None, data=tmp_path))


def test_a_folder_of_before_there_were_phones_says_how_they_are_made(run: SpeechRun, tmp_path: Path) -> None:
    for file in run.data.iterdir():
        if file.is_file() and file.name != PRONUNCIATIONS:
            shutil.copy(file, tmp_path)
    with pytest.raises(TrainingDataError, match="run earmark train data first"):
        _training(replace(run, data=tmp_path))


def test_the_voice_is_heard_at_other_phases_and_its_text_goes_with_it(run: SpeechRun) -> None:
    """The same recording half a frame later; a text left behind would lead by more."""
    training = _training(replace(run, phases=2))
    sentences = [one for box in training.sentences._buckets._boxes.values() for one in box]
    late = [one for one in sentences if one.codes.late_s == 0.04]
    own = [one.row.start for one in sentences if (one.row.voice, one.row.style) == ("kathleen", "neutral")]
    assert sorted(own) == sorted(2 * [one.row.start for one in late]) != []
    for one in late:
        times = [(start_s + 0.04, end_s + 0.04) for _, start_s, end_s in one.row.words]
        words = [Word(word.text, *at) for word, at in zip(one.row.words, times, strict=True)]
        pieces, num_frames = _words(run, phones=True).tokens(one.row), one.codes.codes(one.row).shape[1]
        assert np.array_equal(one.text_F, text_frames(words, pieces, num_frames, run.lead_frames))


def test_a_later_phase_is_silence_and_then_the_same_samples(
    run: SpeechRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech, mimi, heard = SpeechCache(run.data), read_mimi(run.codec, TINY_MIMI, 8), []
    encode = Mimi.encode

    def listening(self: Mimi, state: MimiState, wav_BT: torch.Tensor) -> torch.Tensor:
        heard.append(wav_BT[0].numpy())
        return encode(self, state, wav_BT)

    monkeypatch.setattr(Mimi, "encode", listening)
    cache = CodeCache(speech, speech.rows[:1], mimi, tmp_path, lambda _: None, 960)
    first = LEAD_IN * 1920 + 960
    wav_T = speech.read(speech.rows[0]).wav_T
    assert not heard[0][:first].any()
    assert np.array_equal(heard[0][first : first + len(wav_T)], wav_T)
    assert not heard[0][first + len(wav_T) :].any()
    assert len(heard[0]) == 1920 * cache.num_frames(speech.rows[0])


def test_of_some_sentences_hardly_a_sound_is_heard_as_it_was(run: SpeechRun) -> None:
    """A network that may always go by its last sounds learns to do without the text (docs/LOG.md)."""
    batch = _training(run).draw(1)
    many = batch._replace(tokens_BRF=batch.tokens_BRF[:1].expand(400, -1, -1))
    corruption = Corruption.draw(run, many, torch.Generator().manual_seed(1))
    share_B = corruption.noisy_BF.float().mean(1)
    assert float((share_B < 0.1).float().mean()) == pytest.approx(0.11, abs=0.06)
    assert float(share_B.max()) == pytest.approx(run.noise, abs=0.1)
    assert float(corruption.hidden_B.float().mean()) == pytest.approx(run.text_drop, abs=0.06)


def test_what_is_published_is_the_mean_of_the_weights(run: SpeechRun) -> None:
    training = _training(replace(run, averaging=0.5))
    weights = [training.voice.moshi.out_norm.state_dict()["alpha"].clone()]
    for _ in range(2):
        training.update()
        weights.append(training.voice.moshi.out_norm.state_dict()["alpha"].clone())
    first = weights[0] * 0.1 + weights[1] * 0.9  # the first steps are kept less: 1 / 10, 2 / 11
    expected = first * (2 / 11) + weights[2] * (9 / 11)
    torch.testing.assert_close(training.average.moshi.out_norm.state_dict()["alpha"], expected)
    assert not torch.equal(expected, weights[2])


def test_words_that_are_spelled_alike_begin_near_each_other(run: SpeechRun) -> None:
    """Half of a vector is the letters'; the two share four of six: 1/3 on average. Over 50 models of width
    32, whose means spread by 0.025."""
    text = Text.load(run.data / "tokenizer.model")
    pieces = {text.piece(token): token for token in range(text.vocabulary)}
    alike, unlike = [], []
    for seed in range(50):
        torch.manual_seed(seed)
        model = Moshi(run.model)
        begin(model, text)
        weight = torch.nn.functional.normalize(model.text_emb.weight.detach(), dim=1)
        alike.append(float(weight[pieces[" to"]] @ weight[pieces[" mo"]]))
        unlike.append(float(weight[pieces[" to"]] @ weight[pieces["z"]]))
    assert 0.2 < np.mean(alike) < 0.46
    assert abs(np.mean(unlike)) < 0.12


def test_codes_are_those_of_the_codec_and_are_made_once(
    run: SpeechRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = SpeechCache(run.data)
    mimi = read_mimi(run.codec, TINY_MIMI, 8)
    cache = CodeCache(speech, speech.rows, mimi, tmp_path, lambda _: None)
    row = speech.rows[3]
    wav_T = np.pad(speech.read(row).wav_T, (LEAD_IN * 1920, TAIL * 1920 + -row.length % 1920))
    codes_BKF, _ = mimi.run(torch.from_numpy(wav_T)[None])
    assert np.array_equal(cache.codes(row), codes_BKF[0].numpy())
    monkeypatch.setattr(Mimi, "encode", None)  # a second use would call it
    again = CodeCache(speech, speech.rows, mimi, tmp_path, lambda _: None)
    assert np.array_equal(again.codes(row), cache.codes(row))


def test_a_decoder_may_go_on_learning_and_an_encoder_may_not() -> None:
    """Codes of another encoder under the same name would be trained on in silence."""
    torch.manual_seed(2)
    mimi = Mimi(TINY_MIMI)
    name = codes_name(mimi)
    with torch.no_grad():
        next(mimi.decoder.parameters()).add_(1.0)
    assert codes_name(mimi) == name
    with torch.no_grad():
        next(mimi.encoder.parameters()).add_(1.0)
    assert codes_name(mimi) != name


def test_a_folder_without_the_voice_is_refused(run: SpeechRun, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(tiny_tokenizer())
    with pytest.raises(TrainingDataError, match="train data"):
        SpeechTraining(replace(run, data=tmp_path))
