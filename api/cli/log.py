"""`earmark log …`: what this registry issued, and the transparency log that it cannot take back.

list, show, export, key and state read and write our own log; verify, monitor and witness (log_outside.py)
need no registry.
"""

import argparse
from typing import TYPE_CHECKING, Any
from uuid import UUID

from api.cli import log_outside
from api.cli.errors import CommandError, UsageError
from api.cli.parsers import Subparsers, positive_int
from api.cli.progress import Progress
from api.cli.session import open_registry, print_json, wants_json, write_output

if TYPE_CHECKING:
    from api.schemas import GenerationRecord
    from registry.log import LogEntry

STATEMENTS = ("policy-change", "revocation")


def add_parser(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("log", parents=[common], help="what was issued, and the log that proves it")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    listing = actions.add_parser("list", parents=[common], help="generations, newest first")
    listing.add_argument(
        "--limit", type=positive_int, default=20, metavar="N", help="at most N (default: %(default)s)"
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

    state = actions.add_parser("state", parents=[common], help="log a change of policy, or a revocation")
    state.add_argument("kind", choices=STATEMENTS, help="what is stated")
    state.add_argument("text", metavar="TEXT", help="what changed, or why; public for good: nothing personal")
    state.add_argument("--generation", type=UUID, metavar="ID", help="what is revoked")
    state.set_defaults(run=run_state)
    log_outside.add_parsers(actions, common)


def run_list(args: argparse.Namespace) -> int:
    """One line for each generation; with --json a list of what `GET /v1/generations/{id}` answers, and where
    the log has it."""
    from api.schemas import GenerationRecord

    with open_registry(args) as registry:
        found = registry.generations(args.limit)
        entries = registry.log.entries_of([generation.generation_id for generation in found])
    places: dict[UUID | None, list[LogEntry]] = {}
    for entry in entries:
        places.setdefault(entry.generation_id, []).append(entry)
    records = [GenerationRecord.of(generation) for generation in found]
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
        print("nothing was issued yet; `earmark mark IN -o OUT` issues")
    return 0


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


def run_state(args: argparse.Namespace) -> int:
    """Returns when the entry is public. It can never be taken back, only followed by another."""
    from registry.log import Kind

    kind = Kind(args.kind)
    if (kind is Kind.REVOCATION) != (args.generation is not None):
        raise UsageError("a revocation names what is revoked with --generation, a change of policy nothing")
    with open_registry(args) as registry:
        if args.generation is not None:
            registry.generation(args.generation)  # raises for an unknown one
        entry = registry.log.state(kind, {"text": args.text}, args.generation)
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
    revoked = " REVOKED" if any(one.kind == "revocation" for one in entries) else ""
    return (
        f"{record.created_at:%Y-%m-%d %H:%M:%SZ}  {record.generation_id}  {record.content_id}  "
        f"{record.state:<8}  {record.duration_s:7.1f} s  log {indexes or 'none'}{revoked}  "
        f"{record.system} {record.system_version}, {record.model}"
    )
