"""The log of an open registry: wait until an entry is public, and get its receipt.

    receipt = registry.log.wait(generation_id)      # before the first byte is released

While anyone waits, a thread runs a batch every 100 ms, unless another process is at it, and tells whose
entries are public; once in five seconds it does so for entries that nobody waits for, as the end of a stream
whose listener has left. It starts with the first wait and needs no care: entries of a process that died are
taken by the next batch of any other. Not here: what an entry says (outbox.py), how a batch works
(sequencer.py).
"""

import logging
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from concurrent import futures
from concurrent.futures import Future
from typing import Any, Self

from registry.database import Database
from registry.errors import LogDamaged, LogRefused, LogUnavailable, RegistryError, UnknownGeneration
from registry.log import outbox
from registry.log.checkpoint import Checkpoint
from registry.log.merkle import consistency_proof, inclusion_proof, leaf_hash, root_from_inclusion
from registry.log.note import SigningKey
from registry.log.outbox import Kind, LogEntry
from registry.log.receipt import Receipt
from registry.log.sequencer import Sequencer
from registry.log.signer import LogFiles, Signer
from registry.log.tiles import TileFolder, TileReader

log = logging.getLogger(__name__)

BATCH_EVERY_S = 0.1  # the design allows 100 to 300 ms
IDLE_S = 5.0  # an entry that waits for 30 s is an alert (docs/operations.md)
WAIT_S = 10.0

Named = int | uuid.UUID
"""What is waited for: one entry by its entry_id, or the newest one about a generation itself."""
Salted = tuple[LogEntry, bytes | None]
"""An entry, and the salt of its generation when it has one."""


class TransparencyLog:
    """One log. Safe between threads; any number of processes may have the same one open."""

    def __init__(self, database: Database, signer: Signer, folder: TileFolder) -> None:
        self.folder = folder
        self.signer = signer
        self._database = database
        self._sequencer = Sequencer(database, folder, signer)
        self._waiting: dict[Named, list[Future[Salted]]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._newest: tuple[bytes, Checkpoint, TileReader] | None = None

    @classmethod
    def open(cls, database: Database, files: LogFiles) -> Self:
        """Load the key, or make it on first use. Raises `LogRefused`."""
        return cls(database, Signer.load_or_create(files), TileFolder(files.tiles))

    @property
    def key(self) -> SigningKey:
        return self.signer.key

    def close(self) -> None:
        """End the thread; who still waits is told to try again. May be repeated."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._fail(LogUnavailable("the registry was closed"))

    def wait(self, generation_id: uuid.UUID, timeout_s: float = WAIT_S) -> Receipt:
        """Return when the newest entry of this generation is public, with its receipt, salt included.

        Raises `UnknownGeneration`; `LogUnavailable`, then nothing may be released, and the entry may become
        public all the same; `LogRefused` and `LogDamaged`, which trying again does not mend.
        """
        return self.receipt_of(*self._wait(generation_id, timeout_s))

    def state(self, kind: Kind, body: Mapping[str, Any], timeout_s: float = WAIT_S) -> LogEntry:
        """Log what speaks of no generation; returns the entry when it is public. Raises as `wait`."""
        with self._database.transaction() as connection:
            entry_id = outbox.statement(connection, kind, body)
        return self.published(entry_id, timeout_s)

    def published(self, entry_id: int, timeout_s: float = WAIT_S) -> LogEntry:
        """Return an entry that a transaction has committed, when it is public. Raises as `wait`."""
        return self._wait(entry_id, timeout_s)[0]

    def newest(self, kind: Kind) -> LogEntry | None:
        with self._database.transaction() as connection:
            return outbox.newest_of_kind(connection, kind)

    def entries_of(self, generation_ids: Iterable[uuid.UUID]) -> list[LogEntry]:
        """All that speak of these generations, oldest first, also those not yet public."""
        with self._database.transaction() as connection:
            return outbox.entries_of(connection, generation_ids)

    def entry_at(self, log_index: int) -> LogEntry | None:
        with self._database.transaction() as connection:
            return outbox.entry_at(connection, log_index)

    def receipt(self, generation_id: uuid.UUID) -> Receipt:
        """Of the newest entry about the generation itself, under the newest checkpoint.

        Raises `UnknownGeneration` when it has none, `LogUnavailable` while it is not public, `LogDamaged`.
        """
        return self.receipt_of(*self._newest_of(generation_id))

    def receipt_of(self, entry: LogEntry, salt: bytes | None = None) -> Receipt:
        """Raises `LogUnavailable` while the entry is not public, `LogDamaged` when tiles do not show it."""
        note, checkpoint, reader = self._tree()
        if entry.log_index is None or entry.log_index >= checkpoint.size:
            raise LogUnavailable("the log has not published this entry yet: try again")
        proof = inclusion_proof(reader.node, entry.log_index, checkpoint.size)
        found = root_from_inclusion(entry.log_index, checkpoint.size, leaf_hash(entry.leaf), proof)
        if found != checkpoint.root:
            raise LogDamaged(
                f"entry {entry.log_index} of the database is not the one that was logged, or tiles were "
                "changed: `earmark log monitor` names which"
            )
        return Receipt(entry.log_index, tuple(proof), note, entry.leaf, salt)

    def checkpoint(self) -> bytes:
        """The public signed note. Raises `LogUnavailable` before the first entry, `LogDamaged`."""
        return self._tree()[0]

    def consistency(self, old_size: int) -> list[bytes]:
        """What shows that the public tree extends its first `old_size` entries."""
        _, checkpoint, reader = self._tree()
        if not 0 <= old_size <= checkpoint.size:
            raise LogUnavailable(f"the log has {checkpoint.size} entries, not {old_size}")
        return consistency_proof(reader.node, old_size, checkpoint.size)

    def waiting_s(self) -> float:
        """How long the oldest entry has waited to be in the log; 0 when none waits."""
        with self._database.transaction() as connection:
            return outbox.waiting_s(connection)

    def run_batch(self) -> int | None:
        """Sequence what waits now, in this thread: see `Sequencer.run_batch`."""
        return self._sequencer.run_batch()

    def _newest_of(self, generation_id: uuid.UUID) -> Salted:
        found = self._look_up([generation_id])
        if generation_id not in found:
            raise _unknown(generation_id)
        return found[generation_id]

    def _look_up(self, names: Iterable[Named]) -> dict[Named, Salted]:
        """What the database has of these, public or not; one transaction for all of them."""
        entry_ids = [name for name in names if isinstance(name, int)]
        generation_ids = [name for name in names if isinstance(name, uuid.UUID)]
        with self._database.transaction() as connection:
            found: dict[Named, Salted] = {
                entry.entry_id: (entry, None) for entry in outbox.entries_by_id(connection, entry_ids)
            }
            if generation_ids:
                salts = outbox.salts(connection, generation_ids)
                for entry in outbox.entries_of(connection, generation_ids):  # oldest first: the newest stays
                    if entry.kind is Kind.GENERATION and entry.generation_id is not None:
                        found[entry.generation_id] = (entry, salts.get(entry.generation_id))
        return found

    def _tree(self) -> tuple[bytes, Checkpoint, TileReader]:
        """The public tree; one reader for all who ask while it stands."""
        note = self.folder.checkpoint()
        if note is None:
            raise LogUnavailable("the log has no entry yet")
        newest = self._newest
        if newest is None or newest[0] != note:
            checkpoint = self.signer.trust.checkpoint(note)[0]
            reader = TileReader(self.folder.read, checkpoint.size, newest and newest[2])
            newest = self._newest = (note, checkpoint, reader)
        return newest

    def _wait(self, name: Named, timeout_s: float) -> Salted:
        """The entry, once it is public."""
        future: Future[Salted] = Future()
        with self._changed:
            if self._closed:
                raise LogUnavailable("the registry was closed")
            self._waiting.setdefault(name, []).append(future)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="earmark-log", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        try:
            return future.result(timeout_s)
        except futures.TimeoutError as error:
            raise LogUnavailable(
                f"the log has not taken the entry within {timeout_s:.0f} s, and nothing is released without "
                "it: try again"
            ) from error
        finally:
            with self._changed:
                self._forget(name, future)

    def _forget(self, name: Named, future: Future[Salted]) -> None:
        waiting = self._waiting.get(name, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiting.pop(name, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed, timeout=IDLE_S)
                if self._closed:
                    return
            started_s = time.monotonic()
            try:
                self._sequencer.run_batch()
                self._tell()
            except (LogRefused, LogDamaged) as error:
                log.exception("the log signs nothing until somebody looks")
                self._fail(error)
            except RegistryError as error:
                log.warning("the log could not be written and is tried again: %s", error)
            except Exception:
                # Whoever waits runs into the time limit; the thread must live for those who come later.
                log.exception("a batch of the log failed")
            pause_s = BATCH_EVERY_S - (time.monotonic() - started_s)
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=max(pause_s, 0.01))

    def _tell(self) -> None:
        """Whose entries are public, whichever process made them so; who waits for none hears that too."""
        with self._changed:
            names = list(self._waiting)
        size = self._sequencer.published().size
        found = self._look_up(names)
        for name in names:
            entry, salt = found.get(name, (None, None))
            if entry is not None and (entry.log_index is None or entry.log_index >= size):
                continue
            with self._changed:
                done = self._waiting.pop(name, [])
            for future in done:
                if entry is None:
                    future.set_exception(_unknown(name))
                else:
                    future.set_result((entry, salt))

    def _fail(self, error: RegistryError) -> None:
        with self._changed:
            failed = [future for waiting in self._waiting.values() for future in waiting]
            self._waiting.clear()
        for future in failed:
            future.set_exception(error)


def _unknown(name: Named) -> UnknownGeneration:
    return UnknownGeneration(f"the log holds no generation {name}")
