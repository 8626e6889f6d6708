"""`earmark mark IN -o OUT`: put the mark on speech that another engine made, and register it."""

import argparse
import sys

from api.cli.parsers import Subparsers
from api.cli.session import (
    STANDARD_STREAM,
    open_service,
    print_json,
    read_input,
    refuse_terminal,
    wants_json,
    write_output,
)


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "mark",
        parents=[common],
        help="mark and register speech",
        description="The output has the input's length and rate, and its container where we can write it, else WAV.",
    )
    parser.add_argument("input", metavar="IN", help="audio file, or - for standard input")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="where to write, or - for standard output")
    parser.set_defaults(run=run)
