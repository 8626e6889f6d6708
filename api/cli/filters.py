"""Which generations are meant: the same options wherever generations are listed."""

import argparse
from typing import TYPE_CHECKING

from api.cli.parsers import moment

if TYPE_CHECKING:
    from registry import GenerationFilter

STATES = ("open", "complete", "aborted")  # twin: registry.GenerationState, which is too heavy to import here


def add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="created_from", type=moment, metavar="TIME", help="this moment and later, in UTC"
    )
    parser.add_argument(
        "--before", dest="created_before", type=moment, metavar="TIME", help="earlier than this"
    )
    parser.add_argument("--model", help="of exactly this model")
    parser.add_argument("--state", choices=STATES)


def wanted(args: argparse.Namespace) -> "GenerationFilter":
    """Raises RegistryInputError for a text that cannot be asked about."""
    from registry import GenerationFilter, GenerationState

    state = None if args.state is None else GenerationState(args.state)
    return GenerationFilter(args.created_from, args.created_before, args.model, state)
