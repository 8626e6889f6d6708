"""From recordings to a folder that `Fingerprinter.load` and `Null.load` accept: train, pin, calibrate.

    OUT/checkpoint.safetensors            to go on from
    OUT/weights/fingerprint.safetensors   network and directions, bfloat16, 3.9 MB
    OUT/weights/fingerprint.json          version, SHA-256, settings, held-out figures
    OUT/weights/calibration.json          the null distribution of these weights

Copy OUT/weights over registry/fingerprint/weights to ship it. Generations that were fingerprinted with other
weights are then no longer found, since audio is not kept to fingerprint it again.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from audio.store import Wav
from registry.fingerprint.network import FingerprintNetwork
from registry.fingerprint.subprints import Directions
from registry.fingerprint.train import calibrate, directions, loop
from registry.fingerprint.train.cache import Recoder
from registry.fingerprint.train.loop import TrainConfig
from registry.fingerprint.windows import Fingerprinter

VERSION = "2"  # of the fingerprint: what the network sees, its shape, the signs, and the training of both


def run(
    config: TrainConfig,
    report: Callable[[str], None],
    codecs: Sequence[Recoder] = (),
    ours: Sequence[Wav] = (),
) -> dict[str, float]:
    """Train for `config.minutes`, learn the directions, calibrate (a quarter of an hour more) and write
    `config.out`; returns the held-out figures. `codecs`: neural ones that copies go through; `ours`: what our
    own model says, for the calibration. A run that was stopped goes on from its checkpoint. Raises
    CorpusError."""
    network, figures = loop.run(config, report, codecs)
    folder = config.out / "weights"
    learned = directions.learn(config.data, config.cache, report, codecs)
    write_weights(folder, network, learned, config, figures)
    calibrate.run(config.data, folder / "calibration.json", Fingerprinter.load(folder), report, ours)
    return figures


def write_weights(
    folder: Path,
    network: FingerprintNetwork,
    learned: Directions,
    config: TrainConfig,
    figures: dict[str, float],
) -> None:
    """Write the weights and the card that pins them. A crash between the two leaves a pair that is
    refused."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "fingerprint.safetensors"
    both = nn.ModuleDict({"network": network, "directions": learned})
    save_file({name: one.to("cpu", torch.bfloat16) for name, one in both.state_dict().items()}, weights)
    settings = {
        name: value
        for name, value in asdict(config).items()
        if name not in ("data", "out", "cache", "start", "checkpoint_steps")
    }
    card = {
        "version": VERSION,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "settings": settings,
        "held_out": {name: round(value, 4) for name, value in figures.items()},
    }
    (folder / "fingerprint.json").write_text(json.dumps(card, indent=1) + "\n")
