"""`earmark registry withdraw|purge|backup|restore|grant`: what an operator does to the registry itself."""

import argparse
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from api.cli.parsers import Subparsers, days, days_from_one
from api.cli.session import open_registry, print_json, settings, wants_json

CHANGELOG_KEPT_DAYS = 60  # twin: registry.changelog.CHANGELOG_KEPT
DEAD_KEYS_KEPT_DAYS = 90  # twin: registry.keys.DEAD_KEYS_KEPT, which is too heavy to import here


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("registry", parents=[common], help="withdraw, purge, back up, restore")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    withdraw = actions.add_parser(
        "withdraw",
        parents=[common],
        help="say for good that a generation should not be relied on",
        description="It stays in the registry and is still found; every answer about it says that it is "
        "withdrawn. The log says why.",
    )
    withdraw.add_argument("generation", type=UUID, metavar="ID", help="the generation's id")
    withdraw.add_argument(
        "--reason", required=True, metavar="TEXT", help="why; public for good: nothing personal"
    )
    withdraw.set_defaults(run=run_withdraw)

    purge = actions.add_parser(
        "purge",
        parents=[common],
        help="remove what is not needed any more, and what names somebody",
        description="Answers kept for repeated requests go after 24 hours; the label and last use of a key "
        "that was revoked or expired, and old changes that no server needs to replay, after N days. Run it "
        "daily.",
    )
    purge.add_argument(
        "--changelog-after-days",
        type=days_from_one,
        default=CHANGELOG_KEPT_DAYS,
        metavar="N",
        help="how long a server may have been away and still catch up by replay (default: %(default)s)",
    )
    purge.add_argument(
        "--dead-keys-after-days",
        type=days,
        default=DEAD_KEYS_KEPT_DAYS,
        metavar="N",
        help="how long it stays known whose key it was (default: %(default)s)",
    )
    purge.set_defaults(run=run_purge)

    backup = actions.add_parser(
        "backup", parents=[common], help="copy the whole database into one file, while the service runs"
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="what pg_restore can read too")
    backup.set_defaults(run=run_backup)

    restore = actions.add_parser(
        "restore", parents=[common], help="make a new, empty data folder or database from a backup"
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="what `backup` wrote")
    restore.set_defaults(run=run_restore)

    grant = actions.add_parser(
        "grant",
        parents=[common],
        help="let a PostgreSQL role run the service, without changing or removing what was released",
    )
    grant.add_argument("role", metavar="ROLE", help="an existing role of the server; run this as the owner")
    grant.set_defaults(run=run_grant)


def run_withdraw(args: argparse.Namespace) -> int:
    """Returns when the entry is public. One that was withdrawn before stays as it was."""
    with open_registry(args) as registry:
        entry = registry.withdraw(args.generation, args.reason)
    if wants_json(args):
        print_json({"generation_id": str(args.generation), "index": entry.log_index})
    else:
        print(f"{args.generation} is withdrawn; log entry {entry.log_index} says why")
    return 0


def run_purge(args: argparse.Namespace) -> int:
    with open_registry(args) as registry:
        purged = registry.purge(
            timedelta(days=args.dead_keys_after_days), timedelta(days=args.changelog_after_days)
        )
    if wants_json(args):
        print_json(vars(purged))
    else:
        print(
            f"removed {purged.num_replies} kept answers, whose {purged.num_keys} keys were, and "
            f"{purged.num_changelog_partitions} parts of the changelog"
        )
    return 0


def run_backup(args: argparse.Namespace) -> int:
    from registry.backup import backup

    num_bytes = backup(settings(args).location, args.file)
    if wants_json(args):
        print_json({"file": str(args.file), "bytes": num_bytes})
    else:
        print(f"{args.file}: {num_bytes} bytes; keep the key files too, somewhere else")
    return 0


def run_restore(args: argparse.Namespace) -> int:
    from registry.backup import restore

    num_generations = restore(settings(args).location, args.file)
    if wants_json(args):
        print_json({"generations": num_generations})
    else:
        print(f"{num_generations} generations are there again; put the key files back and start")
    return 0


def run_grant(args: argparse.Namespace) -> int:
    with open_registry(args) as registry:
        registry.grant(args.role)
    print(f"{args.role} may run the service")
    return 0
