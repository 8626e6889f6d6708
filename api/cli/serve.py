"""`earmark serve`: the REST service, until it is told to stop."""

import argparse

from api.cli.parsers import Subparsers, port
from api.cli.session import settings


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "serve",
        parents=[common],
        help="run the REST service",
        description="Serves until SIGINT or SIGTERM, then finishes its answers and stops its database.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8000, help="port to listen on (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Blocks until the service has stopped."""
    import uvicorn

    from api.app import create_app

    uvicorn.run(create_app(settings(args)), host=args.host, port=args.port)
    return 0
