"""`earmark train fingerprint`: train the fingerprint network on a folder of recordings."""

import argparse
from pathlib import Path

from api.cli.parsers import Subparsers


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("train", parents=[common], help="train a network")
    networks = parser.add_subparsers(title="networks", metavar="NETWORK", required=True)
    fingerprint = networks.add_parser(
        "fingerprint",
        parents=[common],
        help="the network behind the fingerprints",
        description="An index built with other weights must be rebuilt, and old fingerprints computed again.",
    )
    fingerprint.add_argument("corpus", type=Path, metavar="CORPUS", help="folder with the recordings")
    fingerprint.set_defaults(run=run_fingerprint)
