"""The CPU part: the codec at full size, a language model of about 300 million parameters, loading the 7B
shapes."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.generation.race import Race, race
from generation.checkpoints.names import MIMI_RENAMES, MOSHI_RENAMES, published_state
from generation.mimi import Mimi, MimiConfig
from generation.moshi import DepthConfig, Moshi, MoshiConfig, Stepper
from generation.streaming import TransformerConfig
from tests.generation import oracle

FRAME = 1920
LOAD_ROUNDS = 5
MEDIUM: dict[str, Any] = {
    "dim": 1024,
    "num_heads": 16,
    "num_layers": 16,
    "hidden_scale": 4.125,
    "context": 750,
    "text_card": 8000,
    "depformer_dim": 512,
    "depformer_num_heads": 8,
    "depformer_num_layers": 4,
    "depformer_dim_feedforward": 2112,
}
MEDIUM_CONFIG = MoshiConfig(
    temporal=TransformerConfig(dim=1024, num_layers=16, num_heads=16, feed_forward=4224, context=750),
    depth=DepthConfig(dim=512, num_layers=4, num_heads=8, feed_forward=2112),
    text_vocabulary=8000,
)


def codec(num_turns: int) -> dict[str, Any]:
    """Encode and decode one frame of one stream, 8 codebooks, at the published size."""
    loaders, _ = oracle.models()
    theirs = loaders.get_mimi(None, num_codebooks=8)
    oracle.randomize(theirs, 0.0, seed=1)
    ours = Mimi(MimiConfig())
    oracle.copy_weights(theirs, ours, MIMI_RENAMES)
    ours.prepare()
    state = ours.open(1)
    wav_BT = torch.randn(1, FRAME) * 0.1

    def step_ours() -> None:
        ours.decode(state, ours.encode(state, wav_BT))

    def step_theirs() -> None:
        theirs.decode(theirs.encode(wav_BT[:, None]))

    with theirs.streaming(1):
        result = race(step_ours, step_theirs, num_turns, num_warm_ups=5)
    return {"part": "codec, encode + decode of 80 ms", "goal": "<= 0.7x and <= 80 ms", **_row(result)}


def language_model(num_turns: int) -> dict[str, Any]:
    """One greedy step of one stream; both start together, so the context fills as in a conversation."""
    loaders, lm = oracle.models()
    theirs = lm.LMModel(**{**loaders._lm_kwargs, **MEDIUM}).eval()
    ours = Moshi(MEDIUM_CONFIG)
    oracle.copy_weights(theirs, ours, MOSHI_RENAMES)
    num_parameters = sum(parameter.numel() for parameter in ours.parameters())
    stepper = Stepper(ours.prepare(), 1)
    state = stepper.open()
    generate = lm.LMGen(theirs, use_sampling=False)
    heard_BK = torch.randint(0, 2048, (1, 8))

    def step_ours() -> None:
        stepper.push(state, heard_BK)

    def step_theirs() -> None:
        generate.step(heard_BK[:, :, None])

    with generate.streaming(1):
        result = race(step_ours, step_theirs, num_turns, num_warm_ups=5)
    name = f"language model, {num_parameters / 1e6:.0f} M parameters, float32, one step"
    return {"part": name, "goal": "<= 0.8x", **_row(result)}


def load() -> dict[str, Any]:
    """Process start to first frame with a 7B-shaped bfloat16 file, against reading it once from the disk.

    The file really lies on the disk and is out of the page cache when each run begins. Takes 16 GB of disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        num_bytes = write_shapes(path, MoshiConfig())
        rounds = [(_cold_read_s(path), _cold_start(path)) for _ in range(LOAD_ROUNDS)]
    read_s = median(read_s for read_s, _ in rounds)
    reports = sorted((report for _, report in rounds), key=lambda report: report["first_frame_s"])
    report = reports[LOAD_ROUNDS // 2]
    return {
        "part": f"7B shapes, {num_bytes / 1e9:.1f} GB: process start to first frame",
        "goal": "<= 1x reading",
        "ours_ms": report["first_frame_s"] * 1e3,
        "theirs_ms": read_s * 1e3,
        "ratio": report["first_frame_s"] / read_s,
        "details": report | {"read_s": read_s, "rounds": rounds},
    }


def _cold_read_s(path: Path) -> float:
    _forget(path)
    return _seconds([sys.executable, "-c", _READ, str(path)])


def _cold_start(path: Path) -> dict[str, float]:
    _forget(path)
    report: dict[str, float] = json.loads(
        _run([sys.executable, "-m", "benchmarks.generation.first_frame", str(path)])
    )
    return report


def _forget(path: Path) -> None:
    """Have the system drop what it holds of the file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


_READ = "import sys\nwith open(sys.argv[1], 'rb', buffering=0) as f:\n while f.read(1 << 24): pass"


def write_shapes(path: Path, config: MoshiConfig) -> int:
    """A safetensors file of a language model in bfloat16, all zeros; returns its size in bytes."""
    with torch.device("meta"):
        state = published_state(Moshi(config))
    header: dict[str, Any] = {}
    offset = 0
    for name, tensor in state.items():
        size = tensor.numel() * 2
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    zeros = bytes(2**24)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for start in range(0, offset, len(zeros)):
            file.write(zeros[: offset - start])
    return 8 + len(encoded) + offset


def _seconds(command: list[str]) -> float:
    started_s = time.perf_counter()
    _run(command)
    return time.perf_counter() - started_s


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _row(result: Race) -> dict[str, Any]:
    return {"ours_ms": result.ours_ms, "theirs_ms": result.theirs_ms, "ratio": result.ratio}
