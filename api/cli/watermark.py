"""`earmark watermark convert SOURCE CORPUS -o FILE`: make AudioSeal's published weights usable."""

import argparse
from dataclasses import asdict
from pathlib import Path

from api.cli.parsers import Subparsers
from api.cli.progress import Progress
from api.cli.session import print_json, wants_json


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("watermark", parents=[common], help="prepare a public watermark")
    jobs = parser.add_subparsers(title="jobs", metavar="JOB", required=True)
    convert = jobs.add_parser(
        "convert",
        parents=[common],
        help="AudioSeal's published weights, as one file for --public-weights",
        description="Reads generator_streaming.pth and detector_streaming.pth without running anything in "
        "them, hears the unmarked speech of CORPUS, so that the detector can say how sure it is, and writes "
        "FILE.",
    )
    convert.add_argument(
        "source",
        metavar="SOURCE",
        help="folder with the two files, or facebook/audioseal[@revision] on the Hugging Face hub",
    )
    convert.add_argument("corpus", type=Path, metavar="CORPUS", help="folder with recordings of people")
    convert.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where to write")
    convert.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """A crash leaves FILE as it was. Raises CheckpointError, WeightsError, CorpusError."""
    from generation.checkpoints.source import fetch, place
    from watermark.audioseal.published import DETECTOR_FILE, GENERATOR_FILE
    from watermark.train.public.convert import convert

    source = place(args.source)
    generator, detector = fetch(source, GENERATOR_FILE), fetch(source, DETECTOR_FILE)
    with Progress("calibrating") as progress:
        null = convert(generator, detector, args.corpus, args.output, progress.note, origin=source.label)
    if wants_json(args):
        print_json(asdict(null))
    else:
        print(f"{args.output}: calibrated on {null.num_negatives} pieces of unmarked speech")
    return 0
