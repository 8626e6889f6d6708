"""From AudioSeal's published files to one calibrated file of ours: `earmark watermark convert`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from audio import corpus
from watermark.audioseal.config import PUBLISHED, SealConfig
from watermark.audioseal.detect import Listener
from watermark.audioseal.null import Null
from watermark.audioseal.published import read_networks
from watermark.audioseal.weights import write
from watermark.train.public.calibrate import calibrate


def convert(
    generator_file: Path,
    detector_file: Path,
    data: Path,
    out: Path,
    report: Callable[[str], None],
    config: SealConfig = PUBLISHED,
    origin: str = "AudioSeal, streaming, as published",
) -> Null:
    """Read both files, hear the unmarked speech of the corpus `data`, and write `out`; returns the null.

    Nothing in the files runs (audioseal/pth.py). Raises WeightsError, CorpusError; then nothing is written,
    and a crash leaves `out` as it was.
    """
    networks = read_networks(generator_file, detector_file, config)
    detector: Any = networks["detector"]
    null = calibrate(Listener(detector), corpus.split(corpus.load(data)).validation, report)
    write(out, config, networks, null, origin)
    return null
