"""Compare our own log with everything it should agree with: tiles, rows, generations, the last signed tree.

    problems = check(database, log)      # [] when all agree; else one sentence each, naming what differs

(1) the public checkpoint is ours and is the last that was signed; (2) the tiles follow from their entries and
lead to the signed root; (3) each entry in the tiles is the row with that index; (4) each generation says what
its entries say, state included; (5) with its salt, the stored hash opens the commitment. Reads everything:
for an operator and for drills, not for each request. Not covered: fingerprints (`earmark index check`).
"""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

from registry import generations
from registry.database import Database
from registry.errors import LogDamaged, ProofRefused, RegistryError
from registry.log import outbox
from registry.log.checkpoint import Checkpoint
from registry.log.log import TransparencyLog
from registry.log.merkle import root
from registry.log.monitor import check_tiles
from registry.log.outbox import Kind
from registry.log.receipt import commitment
from registry.log.tiles import TileReader
from registry.records import Generation

PAGE = 1000
MAX_PROBLEMS = 100  # more say nothing new
_STATES = {"begun": "open", "finished": "complete", "aborted": "aborted"}


def check(database: Database, log: TransparencyLog) -> list[str]:
    """At most 100 problems, an empty list when everything agrees. Raises `DatabaseUnavailable`."""
    problems: list[str] = []
    for part in (_tree_problems(log), _entry_problems(database, log), _generation_problems(database)):
        for problem in part:
            problems.append(problem)
            if len(problems) == MAX_PROBLEMS:
                return problems
    return problems


def _tree_problems(log: TransparencyLog) -> Iterator[str]:
    """(1) and (2)."""
    try:
        last = log.signer.last_signed()
    except RegistryError as error:
        yield str(error)
        return
    note = log.folder.checkpoint()
    try:
        public = log.signer.trust.checkpoint(note)[0] if note else Checkpoint.empty(last.origin)
    except ProofRefused as error:
        yield f"the checkpoint is not one of this log: {error}"
        return
    reader = TileReader(log.folder.read, public.size)
    try:
        check_tiles(reader)
        if root(reader.node, public.size) != public.root:
            yield f"the tiles do not lead to the root that was signed over {public.size} entries"
        if public.size < last.size:
            yield f"{public.size} entries are public and {last.size} were signed: an old backup came back"
        elif root(reader.node, last.size) != last.root:
            yield f"the first {last.size} entries of the public tree are not those that were signed"
    except LogDamaged as error:
        yield str(error)


def _entry_problems(database: Database, log: TransparencyLog) -> Iterator[str]:
    """(3) Also entries that only one side has."""
    note = log.folder.checkpoint()
    size = 0 if note is None else Checkpoint.of(note).size
    try:
        for first, leaves in TileReader(log.folder.read, size).leaves():
            with database.transaction() as connection:
                rows = {one.log_index: one for one in outbox.sequenced(connection, first, len(leaves))}
            for index, leaf in enumerate(leaves, first):
                row = rows.get(index)
                if row is None:
                    yield f"log entry {index} is public and the database lacks it: an old backup came back"
                elif row.leaf != leaf:
                    yield f"log entry {index} of the database is not the one that was logged"
                elif (row.kind.value, row.generation_id) != _named(leaf):
                    yield f"log entry {index} of the database is filed under another kind or generation"
    except LogDamaged as error:
        yield str(error)


def _named(leaf: bytes) -> tuple[str, uuid.UUID | None]:
    fields = json.loads(leaf)
    generation_id = fields.get("generation_id")
    return fields["kind"], None if generation_id is None else uuid.UUID(generation_id)


def _generation_problems(database: Database) -> Iterator[str]:
    """(4) and (5), newest first."""
    after = None
    while True:
        with database.transaction() as connection:
            page = generations.newest(connection, PAGE, after)
            problems = list(_page_problems(connection, page))
        yield from problems
        if len(page) < PAGE:
            return
        after = page[-1].generation_id


def _page_problems(connection: Connection, page: list[Generation]) -> Iterator[str]:
    names = [generation.generation_id for generation in page]
    salts = outbox.salts(connection, names)
    events: dict[uuid.UUID, dict[str, dict[str, Any]]] = {name: {} for name in names}
    for entry in outbox.entries_of(connection, names):
        if entry.kind is Kind.GENERATION and entry.generation_id is not None:
            fields = _fields(entry.leaf)
            if fields.get("event") in _STATES:
                events[entry.generation_id][fields["event"]] = fields
    for generation in page:
        said = events[generation.generation_id]
        wrong = _differences(generation, said, salts.get(generation.generation_id))
        if wrong:
            yield f"generation {generation.generation_id} differs from its log entries in {', '.join(wrong)}"


def _fields(leaf: bytes) -> dict[str, Any]:
    """Of a row that anyone may have edited; part (3) names it when it is not what was logged."""
    try:
        fields = json.loads(leaf)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _differences(generation: Generation, said: dict[str, dict[str, Any]], salt: bytes | None) -> list[str]:
    if "begun" not in said:
        return ["that it has none"]
    begun, last = said["begun"], said[list(said)[-1]]
    pairs: dict[str, tuple[Any, Any]] = {
        "content id": (begun.get("content_id"), f"{generation.content_id:012x}"),
        "system": (begun.get("system"), {"name": generation.system, "version": generation.system_version}),
        "model": (begun.get("model"), generation.model),
        "time": (begun.get("at"), outbox.rfc3339(generation.created_at)),
        "state": (_STATES[last["event"]], generation.state.value),
    }
    if "finished" in said and generation.pcm_sha256 is not None:
        finished = said["finished"]
        pairs["duration"] = (finished.get("duration_s"), generation.duration_s)
        if salt is not None:
            opened = commitment(salt, bytes.fromhex(generation.pcm_sha256))
            pairs["audio hash or salt"] = (finished.get("pcm_commit"), opened)
    return [name for name, (logged, stored) in pairs.items() if logged != stored]
