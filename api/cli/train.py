"""`earmark train fingerprint`: train the fingerprint network on a folder of recordings."""

import argparse
from pathlib import Path

from api.cli.parsers import Subparsers, positive_int
from api.cli.progress import Progress
from api.cli.session import print_json, wants_json


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("train", parents=[common], help="train a network")
    networks = parser.add_subparsers(title="networks", metavar="NETWORK", required=True)
    fingerprint = networks.add_parser(
        "fingerprint",
        parents=[common],
        help="the network behind the fingerprints",
        description="Trains, calibrates on held-out speakers and writes OUT/weights; a run that was stopped "
        "goes on from its checkpoint. Generations keep the fingerprints they were given, so what was issued "
        "before is not found with new weights.",
    )
    fingerprint.add_argument("corpus", type=Path, metavar="CORPUS", help="folder with the recordings")
    fingerprint.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the weights"
    )
    fingerprint.add_argument(
        "--minutes", type=positive_int, default=65, metavar="N", help="time to train (default: %(default)s)"
    )
    fingerprint.add_argument(
        "--threads",
        type=positive_int,
        default=2,
        metavar="N",
        help="processor threads (default: %(default)s)",
    )
    fingerprint.add_argument("--device", default="cpu", help="where torch computes (default: %(default)s)")
    fingerprint.set_defaults(run=run_fingerprint)


def run_fingerprint(args: argparse.Namespace) -> int:
    """Prints the figures on held-out speakers. Decoded recordings are cached in OUT, 170 MB for an hour."""
    from registry.fingerprint.train import TrainConfig
    from registry.fingerprint.train import run as run_training

    config = TrainConfig(
        data=args.corpus,
        out=args.output,
        cache=args.output / "cache",
        minutes=args.minutes,
        threads=args.threads,
        device=args.device,
    )
    with Progress("training") as progress:
        figures = run_training(config, progress.note)
    if wants_json(args):
        print_json(figures)
        return 0
    for name, figure in figures.items():
        print(f"{name:<24}  {figure:.3f}")
    return 0
