"""`earmark keys create|list|revoke`: who may do what over REST."""

import argparse
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from api.cli.parsers import Subparsers, days_from_one
from api.cli.session import open_accounts, print_json, wants_json

if TYPE_CHECKING:
    from registry import StoredKey

SCOPES = ("generate", "mark", "audit")  # twin: api.access.accounts.Scope, which is too heavy to import here
MAX_LISTED = 1000


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("keys", parents=[common], help="make, list and revoke API keys")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = actions.add_parser(
        "create",
        parents=[common],
        help="make a key and print it, this once",
        description="Only its digest is stored: a key that is lost is revoked, and another one made.",
    )
    create.add_argument(
        "label", metavar="LABEL", help="whose key it is, for your own list; at most 100 letters"
    )
    create.add_argument(
        "--scope",
        choices=SCOPES,
        action="append",
        required=True,
        help="what it is good for; may be given again",
    )
    create.add_argument(
        "--expires-in-days", type=days_from_one, metavar="N", help="invalid after N days (default: never)"
    )
    create.set_defaults(run=run_create)
    listing = actions.add_parser("list", parents=[common], help="what is known of each key, newest first")
    listing.set_defaults(run=run_list)
    revoke = actions.add_parser("revoke", parents=[common], help="make a key invalid at once, for good")
    revoke.add_argument("key_id", metavar="KEY_ID", help="the eight letters that `list` shows")
    revoke.set_defaults(run=run_revoke)


def run_create(args: argparse.Namespace) -> int:
    """The key alone on standard output, so that it can be piped to where secrets are kept."""
    from api.access.accounts import Scope

    days = args.expires_in_days
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with open_accounts(args) as accounts:
        new = accounts.create(args.label, {Scope(name) for name in args.scope}, expires_at)
    if wants_json(args):
        print_json({"key": new.text, **_facts(new.stored)})
    else:
        print(new.text)
    return 0


def run_list(args: argparse.Namespace) -> int:
    """One line for each key; with --json a list of objects."""
    with open_accounts(args) as accounts:
        keys = accounts.newest(MAX_LISTED)
    if wants_json(args):
        print_json([_facts(key) for key in keys])
        return 0
    for key in keys:
        used = "never used" if key.last_used_at is None else f"used {key.last_used_at:%Y-%m-%d %H:%MZ}"
        print(f"{key.key_id}  {_state(key):<18}  {used:<22}  {'+'.join(sorted(key.scopes)):<19}  {key.label}")
    if not keys:
        print("there is no key yet; `earmark keys create LABEL --scope mark` makes one")
    return 0


def run_revoke(args: argparse.Namespace) -> int:
    """A key that was revoked before stays as it was."""
    with open_accounts(args) as accounts:
        revoked = accounts.revoke(args.key_id)
    if wants_json(args):
        print_json(_facts(revoked))
    else:
        print(f"{revoked.key_id} ({revoked.label}) is revoked")
    return 0


def _state(key: "StoredKey") -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "valid"
    passed = key.expires_at <= datetime.now(UTC)
    return "expired" if passed else f"until {key.expires_at:%Y-%m-%d}"


def _facts(key: "StoredKey") -> dict[str, Any]:
    times = {name: getattr(key, name) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return {
        "key_id": key.key_id,
        "label": key.label,
        "scopes": sorted(key.scopes),
        **{name: at and at.isoformat().replace("+00:00", "Z") for name, at in times.items()},
    }
