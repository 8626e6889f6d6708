import json
import os
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from audio import SAMPLE_RATE_HZ
from generation.errors import TrainingDataError
from generation.train.data.cache import SpeechCache, has_shard, write_shard
from generation.train.data.item import Part, SpokenSentence, Word


def _items() -> list[tuple[SpokenSentence, Part]]:
    wav_T = np.linspace(-1.0, 1.0, SAMPLE_RATE_HZ, dtype=np.float32)
    one = SpokenSentence("yes.", (Word("yes.", 0.25, 0.75),), wav_T, "voice")
    two = SpokenSentence("oh no!", (Word("oh", 0.0, 0.25), Word("no!", 0.5, 1.0)), -wav_T, "voice", "loud")
    return [(one, Part.TRAIN), (two, Part.TEST)]


def test_a_shard_on_disk_is_as_written_here_by_hand(tmp_path: Path) -> None:
    """Trainers on other machines read these files; a changed field would be found out after hours."""
    listing = {
        "dropped": 1,
        "items": [
            {"text": "oh no!", "words": [["oh", 0.0, 0.25], ["no!", 0.5, 1.0]], "voice": "v", "style": "loud",
             "part": "test", "shard": "v-0000", "start": 2, "length": 3},
        ],
    }  # fmt: skip
    (tmp_path / "v-0000.json").write_text(json.dumps(listing))
    np.save(tmp_path / "v-0000.npy", np.array([0, 0, 32767, -32767, 0, 5], np.int16))
    speech = SpeechCache(tmp_path)
    [row] = speech.select(Part.TEST, "v", "loud")
    item = speech.read(row)
    assert item.wav_T.tolist() == [1.0, -1.0, 0.0]
    assert (item.words, item.style) == ((Word("oh", 0.0, 0.25), Word("no!", 0.5, 1.0)), "loud")
    assert speech.num_dropped == {"v": 1}
    assert speech.select(Part.TRAIN) == []


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    write_shard(tmp_path, "voice-0000", _items(), 0)
    speech = SpeechCache(tmp_path)
    for row, (item, part) in zip(speech.rows, _items(), strict=True):
        read = speech.read(row)
        assert (read.text, read.words, read.voice, read.style, row.part) == (
            item.text, item.words, item.voice, item.style, part
        )  # fmt: skip
        assert np.abs(read.wav_T - item.wav_T).max() < 1 / 32767


def test_a_writer_killed_at_any_step_leaves_no_shard_or_a_whole_one(tmp_path: Path) -> None:
    """Samples without their words, or half of them, would be trained on after a power cut."""
    whole = []
    for step in count():
        folder = tmp_path / str(step)
        folder.mkdir()
        killed = _killed_before(step, folder)
        if has_shard(folder, "voice-0000"):
            whole.append(step)
            assert len([SpeechCache(folder).read(row).check() for row in SpeechCache(folder).rows]) == 2
        else:
            assert SpeechCache(folder).rows == []
        write_shard(folder, "voice-0000", _items(), 0)
        assert len(SpeechCache(folder).rows) == 2
        if not killed:
            break
    # Two files, each synced, renamed and its folder synced: the shard is there from the second rename on.
    assert step == 6
    assert whole == [5, 6]


def _killed_before(step: int, folder: Path) -> bool:
    """Write a shard in a child that dies before its `step`-th sync or rename; False when it lives."""
    child = os.fork()
    if child == 0:
        steps = count()
        fsync, replace = os.fsync, Path.replace
        os.fsync = lambda file: os._exit(9) if next(steps) == step else fsync(file)
        Path.replace = lambda path, to: os._exit(9) if next(steps) == step else replace(path, to)
        write_shard(folder, "voice-0000", _items(), 0)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize(
    "damage", ["", "{}", "[]", '{"items": [{}], "dropped": 0}', '{"items": 3, "dropped": 0}']
)
def test_a_damaged_listing_is_refused_with_its_name(tmp_path: Path, damage: str) -> None:
    (tmp_path / "voice-0003.json").write_text(damage)
    with pytest.raises(TrainingDataError, match=r"voice-0003\.json is damaged .* delete it"):
        SpeechCache(tmp_path)
