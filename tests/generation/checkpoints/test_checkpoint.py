"""A model's folder: which files, and what its config.json says about using them."""

import json
from pathlib import Path
from typing import Any

import pytest

from generation.checkpoints import Checkpoint, load_mimi, load_moshi, load_tokenizer
from generation.checkpoints.checkpoint import MIMI_NAME, MOSHI_INT8_NAME, MOSHI_NAME, TOKENIZER_NAME
from generation.checkpoints.writing import CODEC_NAME
from generation.errors import CheckpointError
from generation.mimi import MimiConfig
from generation.moshi import Guidance, MoshiConfig, Sampling
from tests.generation.tiny import TINY_MIMI, TINY_MOSHI, write_tiny_checkpoint


def changed(folder: Path, **changes: Any) -> Path:
    """The folder with these fields in its config.json; None removes one."""
    path = folder / "config.json"
    fields = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path)


def test_what_was_written_is_found_again(folder: Path) -> None:
    """Sizes, files and sampling; then the models themselves."""
    checkpoint = Checkpoint.open(folder)
    assert (checkpoint.moshi, checkpoint.mimi) == (TINY_MOSHI, TINY_MIMI)
    assert checkpoint.moshi_path == folder / MOSHI_NAME and checkpoint.label == folder.name
    assert checkpoint.sampling == Sampling() and checkpoint.guidance is None
    assert load_mimi(checkpoint).num_codebooks == checkpoint.num_codebooks == 8
    assert load_moshi(checkpoint).config == TINY_MOSHI
    assert load_tokenizer(checkpoint).vocabulary == TINY_MOSHI.text_vocabulary


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    """Tests of other packages compare what such a model says."""
    first, second = (write_tiny_checkpoint(tmp_path / name, seed=3) for name in "ab")
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()


@pytest.mark.parametrize("moshi_name", [MOSHI_NAME, MOSHI_INT8_NAME])
def test_without_config_json_it_is_the_published_model(tmp_path: Path, moshi_name: str) -> None:
    """The first releases had none; the q8 one differs by its file name."""
    for name in (moshi_name, MIMI_NAME, TOKENIZER_NAME):
        (tmp_path / name).touch()
    checkpoint = Checkpoint.open(tmp_path)
    assert (checkpoint.moshi, checkpoint.mimi) == (MoshiConfig(), MimiConfig())
    assert checkpoint.num_codebooks == 8 and checkpoint.int8 == (moshi_name == MOSHI_INT8_NAME)


def test_a_folder_without_weights_says_which_file_it_lacks(tmp_path: Path) -> None:
    """An empty folder is a typing error more often than a model."""
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        Checkpoint.open(tmp_path)


def test_what_generation_is_published_with_is_taken_over(folder: Path) -> None:
    """Hibiki and the speech-to-text models have other temperatures than Moshi."""
    published = {
        "temp": 0.8,
        "temp_text": 0.4,
        "top_k": 200,
        "top_k_text": 50,
        "cfg_coef": 3.0,
        "check": False,
    }
    checkpoint = Checkpoint.open(changed(folder, lm_gen_config=published))
    assert checkpoint.sampling == Sampling(0.8, 200, 0.4, 50)
    assert checkpoint.guidance == Guidance(3.0)
    greedy = Checkpoint.open(changed(folder, lm_gen_config={"use_sampling": False}))
    assert greedy.sampling == Sampling.greedy()


def test_a_model_of_two_voices_has_half_of_the_codebooks(folder: Path) -> None:
    """`tts_config.multistream`: the rows are two speakers' codes."""
    tts_config = {"multistream": True, "audio_delay": 1.28, "second_stream_ahead": 2, "max_speakers": 5}
    checkpoint = Checkpoint.open(changed(folder, model_type="tts", tts_config=tts_config))
    assert checkpoint.num_codebooks == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "whisper"}, "'whisper'"),
        ({"lm_gen_config": {"top_k": 300}}, "top_k is from 1 to 250"),
        ({"lm_gen_config": {"temp": "hot"}}, 'temp = "hot"'),
        ({"lm_gen_config": {"repetition_penalty": 1.2}}, "repetition_penalty"),
        ({"lm_gen_config": {"cfg_is_masked_until": [1, 2]}}, "different times"),
        ({"quantize": "q4"}, "quantize"),
        ({"lora": True}, "both lora = true and lora_name"),
        ({"card": 64}, "64 audio tokens"),
        ({"n_q": 20, "delays": [0] * 21}, "12 codebooks"),
        ({"moshi_name": "gone.safetensors"}, r"has no gone.safetensors"),
        ({"moshi_name": "../model.safetensors"}, "outside of it"),
        ({"moshi_name": "/etc/passwd"}, "outside of it"),
        ({"moshi_name": "https://example.org/model.safetensors"}, "outside of it"),
        ({"fuser": {"cross": ["speaker_wavs"]}}, "speaker_wavs by 'cross'"),
        ({"fuser": {"prepend": ["style"]}}, "style by 'prepend'"),
        ({"fuser": {"sum": ["style"]}}, "must sum each"),
        ({"conditioners": {"style": {"type": "t5", "t5": {}}}, "fuser": {"sum": ["style"]}}, "'t5'"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_cannot_be_followed_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    """One sentence, with the field."""
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.open(changed(folder, **changes))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\ufeff"])
def test_a_config_that_is_no_object_is_refused(folder: Path, text: str) -> None:
    """Cut short, or something else under its name."""
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        Checkpoint.open(folder)


def test_a_file_elsewhere_on_this_machine_may_be_named_by_a_local_checkpoint(folder: Path) -> None:
    """`file://`, as in published programs: one codec for many models."""
    elsewhere = folder.parent / "another.safetensors"
    (folder / CODEC_NAME).rename(elsewhere)
    assert Checkpoint.open(changed(folder, mimi_name=f"file://{elsewhere}")).mimi_path == elsewhere


def test_the_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    """Its tokens would be beyond the embedding."""
    small = changed(folder, text_card=100)
    with pytest.raises(CheckpointError, match="has 312 tokens"):
        load_tokenizer(Checkpoint.open(small))
