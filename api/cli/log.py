"""`earmark log …`: what this registry issued, and the transparency log that it cannot take back.

list, show, export, key and state read and write our own log; verify, monitor and witness (log_outside.py)
need no registry.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from api.cli import log_outside
from api.cli.errors import CommandError, UsageError
from api.cli.filters import add_filters, wanted
from api.cli.parsers import Subparsers, positive_int
from api.cli.progress import Progress
from api.cli.session import open_registry, print_json, wants_json, write_output

if TYPE_CHECKING:
    from api.schemas import GenerationRecord
    from registry import Registry
    from registry.log import LogEntry


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("log", parents=[common], help="what was issued, and the log that proves it")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    listing = actions.add_parser("list", parents=[common], help="generations, newest first")
    listing.add_argument(
        "--limit", type=positive_int, default=20, metavar="N", help="at most N (default: %(default)s)"
    )
    add_filters(listing)
    listing.add_argument(
        "--receipts", type=Path, metavar="FOLDER", help="write each one's receipt there, without its salt"
    )
    listing.set_defaults(run=run_list)

    show = actions.add_parser("show", parents=[common], help="one entry: what was logged, and its receipt")
    show.add_argument("entry", metavar="ENTRY", help="a generation id, or the index of an entry")
    show.add_argument("-o", "--output", metavar="RECEIPT", help="also write the receipt to a file")
    show.set_defaults(run=run_show)

    export = actions.add_parser("export", parents=[common], help="every entry, one JSON object a line")
    export.add_argument("-o", "--output", default="-", metavar="FILE", help="default: standard output")
    export.set_defaults(run=run_export)

    key = actions.add_parser("key", parents=[common], help="the public key that receipts are checked with")
    key.set_defaults(run=run_key)

    rotation = actions.add_parser(
        "rotate-key",
        parents=[common],
        help="sign with a new key from here on",
        description="Stop the service first. Who trusts the old key checks RECEIPT with it, and learns the "
        "new one.",
    )
    rotation.add_argument("-o", "--output", required=True, metavar="RECEIPT", help="the proof to publish")
    rotation.set_defaults(run=run_rotate_key)

    state = actions.add_parser("state", parents=[common], help="log a change of policy")
    state.add_argument("text", metavar="TEXT", help="what changed; public for good: nothing personal")
    state.set_defaults(run=run_state)
    log_outside.add_parsers(actions, common)


def run_list(args: argparse.Namespace) -> int:
    """One line for each generation; with --json a list of what `GET /v1/generations/{id}` answers, and each
    entry that the log has of it."""
    from api.schemas import GenerationRecord

    chosen = wanted(args)
    with open_registry(args) as registry:
        found = registry.generations(args.limit, wanted=chosen)
        names = [generation.generation_id for generation in found]
        entries, standing = registry.log.entries_of(names), registry.standing(names)
        if args.receipts is not None:
            _write_receipts(registry, [name for name in names if standing[name].log_index is not None], args)
    places: dict[UUID | None, list[LogEntry]] = {}
    for entry in entries:
        places.setdefault(entry.generation_id, []).append(entry)
    records = [GenerationRecord.of(one, standing[one.generation_id]) for one in found]
    if wants_json(args):
        print_json(
            [
                record.model_dump(mode="json") | {"log": _places(places.get(record.generation_id, []))}
                for record in records
            ]
        )
        return 0
    for record in records:
        print(_line(record, places.get(record.generation_id, [])))
    if not records:
        print("nothing like that was issued; `earmark mark IN -o OUT` issues")
    return 0


def _write_receipts(registry: "Registry", names: list[UUID], args: argparse.Namespace) -> None:
    try:
        args.receipts.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise CommandError(f"{args.receipts} cannot be made: {exc.strerror}; name another folder") from exc
    for name in names:
        receipt = registry.log.receipt(name).without_salt().encode()
        write_output(str(args.receipts / f"{name}.tlog-proof"), receipt)


def run_show(args: argparse.Namespace) -> int:
    """The entry and its receipt. A generation's receipt has the salt: give it only to who may check audio."""
    with open_registry(args) as registry:
        if args.entry.isdecimal():
            entry = registry.log.entry_at(int(args.entry))
            if entry is None:
                raise CommandError(f"the log has no entry {args.entry}")
            receipt = registry.log.receipt_of(entry)
        else:
            receipt = registry.log.receipt(_generation_id(args.entry))
        fields = receipt.verify(registry.log.signer.trust).entry
    if args.output is not None:
        write_output(args.output, receipt.encode())
    if wants_json(args):
        print_json({"index": receipt.index, "entry": fields, "receipt": receipt.encode().decode()})
        return 0
    print(f"entry {receipt.index}")
    for name, value in fields.items():
        print(f"  {name:<14} {value}")
    print(receipt.encode().decode(), end="")
    return 0


def run_export(args: argparse.Namespace) -> int:
    """From the tiles, so that what is exported is what was signed."""
    from registry.log.checkpoint import Checkpoint
    from registry.log.tiles import TileReader

    lines: list[bytes] = []
    with open_registry(args) as registry, Progress("exporting") as progress:
        log = registry.log
        size = Checkpoint.of(log.checkpoint()).size
        for first, leaves in TileReader(log.folder.read, size).leaves():
            lines += [b'{"index":%d,"entry":%s}\n' % (first + i, leaf) for i, leaf in enumerate(leaves)]
            progress.draw(len(lines), size)
    write_output(args.output, b"".join(lines))
    return 0


def run_key(args: argparse.Namespace) -> int:
    with open_registry(args) as registry:
        key = str(registry.log.key.verifier)
    if wants_json(args):
        print_json({"public_key": key})
    else:
        print(key)
    return 0


def run_rotate_key(args: argparse.Namespace) -> int:
    """A run that was stopped is finished by the next one."""
    with open_registry(args) as registry:
        key, receipt = registry.rotate_log_key()
    write_output(args.output, receipt.encode())
    if wants_json(args):
        print_json({"public_key": key, "index": receipt.index})
    else:
        print(f"the log is signed by {key}")
        print(f"entry {receipt.index}, signed by the old key, says so: publish {args.output} and the new key")
    return 0


def run_state(args: argparse.Namespace) -> int:
    """Returns when the entry is public. It can never be taken back, only followed by another."""
    from registry.log import Kind

    with open_registry(args) as registry:
        entry = registry.log.state(Kind.POLICY_CHANGE, {"text": args.text})
    if wants_json(args):
        print_json({"index": entry.log_index})
    else:
        print(f"logged as entry {entry.log_index}")
    return 0


def _generation_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UsageError(f"{text!r} is neither a generation id nor the index of an entry") from None


def _places(entries: "list[LogEntry]") -> list[dict[str, Any]]:
    return [{"index": entry.log_index, "kind": entry.kind.value} for entry in entries]


def _line(record: "GenerationRecord", entries: "list[LogEntry]") -> str:
    indexes = "+".join("pending" if one.log_index is None else str(one.log_index) for one in entries)
    withdrawn = " WITHDRAWN" if record.withdrawn_at else ""
    return (
        f"{record.created_at:%Y-%m-%d %H:%M:%SZ}  {record.generation_id}  {record.content_id}  "
        f"{record.state:<8}  {record.duration_s:7.1f} s  log {indexes or 'none'}{withdrawn}  "
        f"{record.system} {record.system_version}, {record.model}"
    )
