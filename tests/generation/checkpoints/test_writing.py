"""Writing a checkpoint: a process that is killed at any step leaves nothing that passes for another model."""

import subprocess
import sys
from pathlib import Path

import pytest

from generation.checkpoints import Checkpoint, load_moshi
from generation.errors import CheckpointError
from tests.generation.tiny import write_tiny_checkpoint

# Forks for each step, so that torch is imported once; the fork ends where a file would get its name.
KILLED = """
import os, sys
from pathlib import Path
from tests.generation.tiny import tiny_tokenizer, write_tiny_checkpoint
tiny_tokenizer()
for step in range(5):
    if os.fork() == 0:
        steps, replace = iter(range(5)), Path.replace
        Path.replace = lambda path, target: os._exit(9) if next(steps) == step else replace(path, target)
        write_tiny_checkpoint(Path(sys.argv[1]) / str(step), seed=1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 9
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_killed_writer_leaves_no_checkpoint_of_two_models(tmp_path: Path) -> None:
    """Over an older checkpoint of the same sizes, whose config.json would fit the new weights."""
    for step in range(5):
        write_tiny_checkpoint(tmp_path / str(step))
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=True, timeout=120)
    for step in range(5):
        with pytest.raises(CheckpointError):
            load_moshi(Checkpoint.open(tmp_path / str(step)))


def test_nothing_but_the_checkpoint_is_left(tmp_path: Path) -> None:
    """A file of another step would be uploaded with it."""
    names = sorted(path.name for path in write_tiny_checkpoint(write_tiny_checkpoint(tmp_path)).iterdir())
    assert names == [
        "codec.safetensors",
        "config.json",
        "mimi_config.json",
        "model.safetensors",
        "tokenizer.model",
    ]
