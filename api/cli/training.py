"""What every `earmark train` command is told, and how it prints its figures."""

import argparse
from pathlib import Path

from api.cli.parsers import positive_int
from api.cli.session import print_json, wants_json


def add_run(parser: argparse.ArgumentParser) -> None:
    """What every training is told: where it writes, and what it computes with."""
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the weights"
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        default=2,
        metavar="N",
        help="processor threads (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="where torch computes (default: %(default)s)")


def add_steps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--steps",
        type=positive_int,
        default=6_000,
        metavar="N",
        help="steps from the first one ever (default: %(default)s)",
    )


def print_figures(args: argparse.Namespace, figures: dict[str, float]) -> int:
    if wants_json(args):
        print_json(figures)
        return 0
    for name, figure in figures.items():
        print(f"{name:<24}  {figure:.3f}")
    return 0
