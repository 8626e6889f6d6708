"""Compare our own log with everything it should agree with: tiles, rows, generations, the last signed tree.

    problems = check(database, log)      # [] when all agree; else one sentence each, naming what differs

(1) the public checkpoint is ours and is the last that was signed, both read while nobody signs; (2) the tiles
follow from their entries and lead to the signed root; (3) each entry in the tiles is the row with that index,
and each generation that it names is still there; (4) each generation says what its entries say, state and end
included; (5) with its salt, the stored hash opens the commitment. Reads everything: for an operator and for
drills, not for each request.

No alarm: a salt that was erased, on purpose; then (5) cannot be asked. A generation that is older than the
log, that is whose ordinal is below that of each generation whose beginning was logged: what was logged of it
later counts alone. Not covered, since no entry says it: `sample_rate_hz` (of the source), `metadata`, and how
much was fingerprinted of a generation that is not complete. Nor fingerprints (`earmark index check`).
"""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, exists, func, literal, select

from registry import generations
from registry.database import Database
from registry.errors import LogDamaged, ProofRefused, RegistryError
from registry.log import outbox
from registry.log.checkpoint import Checkpoint
from registry.log.log import TransparencyLog
from registry.log.merkle import HASH_BYTES, leaf_hash, root
from registry.log.monitor import check_tiles
from registry.log.outbox import Kind, LogEntry
from registry.log.receipt import commitment
from registry.log.tiles import TILE_WIDTH, TileReader
from registry.records import Generation
from registry.tables import GenerationRow, LogEntryRow

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
        with log.signer.paused() as last:  # or one that was signed between the two reads would be an alarm
            note = log.folder.checkpoint()
    except RegistryError as error:
        yield str(error)
        return
    try:
        public = log.signer.trust.checkpoint(note)[0] if note else Checkpoint.empty(last.origin)
    except ProofRefused as error:
        yield f"the checkpoint is not one of this log: {error}"
        return
    reader = TileReader(log.folder.read, public.size)
    try:
        check_tiles(reader, public.root)
        if root(reader.node, public.size) != public.root:
            yield f"the tiles do not lead to the root that was signed over {public.size} entries"
        if public.size < last.size:
            yield f"{public.size} entries are public and {last.size} were signed: an old backup came back"
        elif root(reader.node, last.size) != last.root:
            yield f"the first {last.size} entries of the public tree are not those that were signed"
    except LogDamaged as error:
        yield str(error)


def _entry_problems(database: Database, log: TransparencyLog) -> Iterator[str]:
    """(3) Also entries, and generations, that only the log has."""
    note = log.folder.checkpoint()
    reader = TileReader(log.folder.read, 0 if note is None else Checkpoint.of(note).size)
    missing: set[uuid.UUID] = set()
    try:
        for first, leaves in reader.leaves():
            tile = reader.tile(0, first // TILE_WIDTH)
            with database.transaction() as connection:
                rows = {one.log_index: one for one in outbox.sequenced(connection, first, len(leaves))}
                named = {name for leaf in leaves if (name := _named(leaf)[1]) is not None}
                gone = named - _present(connection, named) - missing
            for index, leaf in enumerate(leaves, first):
                logged = tile[(index - first) * HASH_BYTES :][:HASH_BYTES]
                yield from _row_problems(rows.get(index), index, leaf, logged)
            for name in sorted(gone):
                yield f"generation {name} has log entries and no row: it was removed from the database"
            missing |= gone
    except LogDamaged as error:
        yield str(error)


def _row_problems(row: LogEntry | None, index: int, leaf: bytes, logged: bytes) -> Iterator[str]:
    """`logged` is the leaf's hash in the tiles: where it is the row's, (2) has named the file that was
    changed, and the row is whole."""
    if row is None:
        yield f"log entry {index} is public and the database lacks it: an old backup came back"
    elif row.leaf != leaf and leaf_hash(row.leaf) != logged:
        yield f"log entry {index} of the database is not the one that was logged"
    elif (row.kind.value, row.generation_id) != _named(row.leaf):
        yield f"log entry {index} of the database is filed under another kind or generation"


def _named(leaf: bytes) -> tuple[str | None, uuid.UUID | None]:
    fields = _fields(leaf)
    try:
        return fields.get("kind"), uuid.UUID(fields["generation_id"])
    except (KeyError, ValueError, AttributeError, TypeError):
        return fields.get("kind"), None


def _present(connection: Connection, names: set[uuid.UUID]) -> set[uuid.UUID]:
    chosen = select(GenerationRow.generation_id).where(GenerationRow.generation_id.in_(names))
    return set(connection.execute(chosen).scalars())


def _generation_problems(database: Database) -> Iterator[str]:
    """(4) and (5), newest first."""
    with database.transaction() as connection:
        first_logged = connection.execute(_FIRST_LOGGED).scalar_one_or_none()
    after = None
    while True:
        with database.snapshot() as connection:  # or one that ends between two statements would be an alarm
            page = generations.newest(connection, PAGE, after)
            problems = list(_page_problems(connection, page, first_logged))
        yield from problems
        if len(page) < PAGE:
            return
        after = page[-1].generation_id


def _page_problems(connection: Connection, page: list[Generation], first_logged: int | None) -> Iterator[str]:
    names = [generation.generation_id for generation in page]
    salts = outbox.salts(connection, names)
    events: dict[uuid.UUID, dict[str, dict[str, Any]]] = {name: {} for name in names}
    for entry in outbox.entries_of(connection, names):
        if entry.kind is Kind.GENERATION and entry.generation_id is not None:
            fields = _fields(entry.leaf)
            if fields.get("event") in _STATES:
                events[entry.generation_id][fields["event"]] = fields
    unlogged = {name for name in names if "begun" not in events[name]}
    unlogged -= _older_than_the_log(connection, unlogged, first_logged)
    for generation in page:
        name = generation.generation_id
        wrong = _differences(generation, events[name], salts.get(name))
        if name in unlogged:
            wrong = ["that none of them begins it"]
        if wrong:
            yield f"generation {name} differs from its log entries in {', '.join(wrong)}"


# Ordinals rise in the order of insertion, and an ordinary insert cannot choose one.
_FIRST_LOGGED = (
    select(GenerationRow.ordinal)
    .where(
        exists().where(
            LogEntryRow.generation_id == GenerationRow.generation_id,
            LogEntryRow.kind == Kind.GENERATION.value,
            func.position(literal(b'"event":"begun"').op("IN")(LogEntryRow.leaf)) > 0,
        )
    )
    .order_by(GenerationRow.ordinal)
    .limit(1)
)


def _older_than_the_log(
    connection: Connection, names: set[uuid.UUID], first_logged: int | None
) -> set[uuid.UUID]:
    if not names or first_logged is None:
        return names
    is_older = GenerationRow.ordinal < first_logged
    chosen = select(GenerationRow.generation_id).where(GenerationRow.generation_id.in_(names), is_older)
    return set(connection.execute(chosen).scalars())


def _fields(leaf: bytes) -> dict[str, Any]:
    """Of a row that anyone may have edited; part (3) names it when it is not what was logged."""
    try:
        fields = json.loads(leaf)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _differences(generation: Generation, said: dict[str, dict[str, Any]], salt: bytes | None) -> list[str]:
    """Of what was logged; `said` has the entries by their event, oldest first."""
    pairs: dict[str, tuple[Any, Any]] = {}
    if "begun" in said:
        begun = said["begun"]
        pairs = {
            "content id": (begun.get("content_id"), f"{generation.content_id:012x}"),
            "system": (
                begun.get("system"),
                {"name": generation.system, "version": generation.system_version},
            ),
            "model": (begun.get("model"), generation.model),
            "time": (begun.get("at"), outbox.rfc3339(generation.created_at)),
        }
    if said:
        last = said[list(said)[-1]]
        end = None if generation.finished_at is None else outbox.rfc3339(generation.finished_at)
        pairs["state"] = (_STATES[last["event"]], generation.state.value)
        pairs["end"] = (None if last["event"] == "begun" else last.get("at"), end)
    if "finished" in said and generation.pcm_sha256 is not None:
        finished = said["finished"]
        pairs["duration"] = (finished.get("duration_s"), generation.duration_s)
        if salt is not None:
            opened = commitment(salt, bytes.fromhex(generation.pcm_sha256))
            pairs["audio hash or salt"] = (finished.get("pcm_commit"), opened)
    return [name for name, (logged, stored) in pairs.items() if logged != stored]
