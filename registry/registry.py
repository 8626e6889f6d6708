"""The registry: every generation we released, and whether some audio is one of them.

    with Registry.open(data_dir_or_url) as registry:
        generation_id = registry.register(wav, sample_rate, metadata)
        result = registry.match(wav, sample_rate)

Safe to share between threads; any number of processes may open one data folder or database. Whatever a call
has acknowledged is on disk, is found by the next `match` of any process, and survives the death of any
process. When the database restarts, calls raise `DatabaseUnavailable` until it is back, and then go on.
"""

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, resample
from registry import changelog, generations, issued, matching, roles
from registry.beginnings import Beginnings
from registry.changelog import GenerationCodes
from registry.database import Database
from registry.errors import LogDamaged, LogRefused, LogUnavailable, RegistryInputError
from registry.fingerprint.windows import Fingerprinter
from registry.issued import IssuedIds
from registry.keys import DEAD_KEYS_KEPT, KeyStore
from registry.log import Kind, LogEntry, LogFiles, Receipt, Standing, TransparencyLog, outbox
from registry.log.check import check
from registry.log.rotation import rotate
from registry.matching import MatchResult, Prepared
from registry.owner import OwnerLock
from registry.postgres import EmbeddedServer
from registry.query import Embeds
from registry.recording import Recording, check_samples
from registry.records import EVERY_GENERATION, Generation, GenerationFilter, NewGeneration
from registry.replica import Replica
from registry.replies import ReplyStore

log = logging.getLogger(__name__)

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 8_000, 768_000


@dataclass(frozen=True)
class Purged:
    """Rows that `purge` emptied or removed."""

    num_replies: int
    num_keys: int
    num_changelog_partitions: int


class Registry:
    """An open registry; `Registry.open` makes one."""

    def __init__(
        self,
        database: Database,
        fingerprinter: Fingerprinter,
        index: Replica,
        server: EmbeddedServer | None,
        log_files: LogFiles | None,
    ) -> None:
        self.index = index  # status, rebuild, check
        self._database = database
        self._fingerprinter = fingerprinter
        self._server = server
        self._owner = OwnerLock(database)
        self._beginnings = Beginnings(database, self._owner)
        self.keys = KeyStore(database)  # who may do what over REST
        self.replies = ReplyStore(database, self._owner)  # answers to requests that may be sent again
        self._log_files = log_files
        self._log = None if log_files is None else TransparencyLog.open(database, log_files)

    @classmethod
    def open(
        cls, location: Path | str, *, index_dir: Path | None = None, log_files: LogFiles | None = None
    ) -> Self:
        """Open the registry in a data folder (an embedded PostgreSQL) or behind a postgresql:// URL.

        Creates folder, cluster and schema when needed; marks as aborted what dead processes left open;
        loads the index from `index_dir` (default: `index` in the data folder; with a URL, memory only) and
        replays what is newer. `log_files` says where the transparency log is (default: in the data folder;
        with a URL, none: entries wait in the database for a process that has the files). A crash at any
        point here leaves what the next open needs. Raises `DataFolderError`, `DatabaseUnavailable`,
        `DatabaseUnsupported`, `LogRefused`, `WeightsUnavailable`.
        """
        fingerprinter = Fingerprinter.load()
        server = None
        if "://" in str(location):
            database = Database(str(location))
        else:
            server = EmbeddedServer.attach(Path(location))
            database = Database(server.url(), server.revive_soon)
            index_dir = index_dir or server.cluster.data_dir / "index"
            log_files = log_files or LogFiles.in_folder(server.cluster.data_dir)
        try:
            database.prepare()
            index = Replica(database, fingerprinter.weights_sha256, index_dir)
            registry = cls(database, fingerprinter, index, server, log_files)
            registry.recover()
        except BaseException:
            database.close()
            if server is not None:
                server.detach()
            raise
        return registry

    def close(self) -> None:
        """Leave the database, and stop the embedded server if nobody else uses it.

        Recordings still open are then as if this process had died: aborted by the next recovery.
        """
        try:
            if self._log is not None:
                self._log.close()
        finally:
            self._owner.release()
            self._database.close()
            if self._server is not None:
                self._server.detach()

    @property
    def log(self) -> TransparencyLog:
        """The transparency log. Raises `LogUnavailable` when this registry was opened without its files."""
        if self._log is None:
            raise LogUnavailable("this registry was opened without the files of its log: pass log_files")
        return self._log

    @property
    def fingerprinter(self) -> Fingerprinter:
        """The network behind `match` and `compare`: a result is only as good as its version says."""
        return self._fingerprinter

    def recover(self) -> int:
        """Mark as aborted what dead processes left open, and what this one began without hearing of it;
        returns how many. Runs at open, and on demand."""
        self._owner.hold()
        with self._database.transaction() as connection:
            num_aborted = generations.recover(connection, self._owner.number)
        if num_aborted:
            log.warning("%d generations were left open by processes that died: aborted", num_aborted)
        return num_aborted + self._beginnings.settle()

    def begin(self, new: NewGeneration) -> Generation:
        """Make a generation durable before its first sample leaves: state open, fresh ids, a log entry that
        waits. Nothing may leave before `log.wait` has returned.

        One disk flush; measured 2026-11 on two busy cores: median 6 ms, p95 17 ms. Raises
        `DatabaseUnavailable`: try again; a generation that was begun all the same, whose id nobody knows, is
        aborted by the next call or by `recover`.
        """
        return self._beginnings.begin(new)

    def abandon(self, generation_id: uuid.UUID) -> None:
        """Give up a generation that this process has begun: it is aborted unless it is closed already.

        For who can neither finish nor `abort` it. While the database is away, the next `begin` or `recover`
        of this registry does it. Windows that were not written yet are lost, as in a crash. Raises nothing
        that a registry raises.
        """
        self._beginnings.abandon(generation_id)

    def recording(self, generation_id: uuid.UUID) -> Recording:
        """The fingerprint stream of a generation that this process has begun. Raises `UnknownGeneration`."""
        with self._database.transaction() as connection:
            generations.get(connection, generation_id)
            model = generations.ensure_model(
                connection, self._fingerprinter.weights_sha256, self._fingerprinter.version
            )
        return Recording(self._database, self._owner, self._fingerprinter, model, generation_id)

    def register(
        self, wav: NDArray[np.float32], sample_rate: int, metadata: Mapping[str, Any] | None = None
    ) -> uuid.UUID:
        """Register a whole utterance: float [T] or [C, T] at 8 kHz to 768 kHz. Returns its generation id.

        `metadata` may hold system, system_version and model, which become columns; the rest is kept as JSON.
        A crash or an error on the way leaves an aborted generation, or a complete one whose id nobody got.
        Raises `RegistryInputError`, `DatabaseUnavailable`.
        """
        wav_T = to_query(wav, sample_rate)
        rest = dict(metadata or {})
        new = NewGeneration(
            system=rest.pop("system", "unknown"),
            system_version=rest.pop("system_version", "unknown"),
            model=rest.pop("model", "unknown"),
            sample_rate_hz=sample_rate,
            metadata=rest,
        )
        generation_id = self.begin(new).generation_id
        try:
            recording = self.recording(generation_id)
            recording.push(wav_T)
            recording.finish()
        except BaseException:
            self.abandon(generation_id)
            raise
        return generation_id

    def match(self, wav: NDArray[np.float32], sample_rate: int) -> MatchResult:
        """Which generations hold this audio, and where: `search` of `prepare`, and what they raise."""
        return self.search(self.prepare(wav, sample_rate))

    def prepare(
        self, wav: NDArray[np.float32], sample_rate: int, fingerprinter: Embeds | None = None
    ) -> Prepared:
        """Embed audio once, for `search` and `compare`. Raises `RegistryInputError`, `WeightsUnavailable`.

        `fingerprinter`: one of the same weights that computes elsewhere (None: ours, here).
        """
        return matching.prepare(to_query(wav, sample_rate), fingerprinter or self._fingerprinter)

    def search(self, prepared: Prepared) -> MatchResult:
        """Which generations hold this audio, and where; best first, accepted ones only.

        Everything acknowledged before the call is searched. Raises `DatabaseUnavailable`, `IndexUnavailable`.
        """
        self.index.catch_up()  # once for all questions that the match has
        return matching.match(prepared, self.index.search_again, self._fetch_codes)

    def compare(self, generation_id: uuid.UUID, prepared: Prepared) -> MatchResult:
        """Is this audio that one generation? The matches are the spans of it; the score is there either way.

        Compared with what is stored now, also of an open or aborted generation. Raises `UnknownGeneration`,
        `DatabaseUnavailable`.
        """
        with self._database.transaction() as connection:
            codes = changelog.fetch_generation(connection, generation_id)
        return matching.compare(prepared, codes)

    def generation(self, generation_id: uuid.UUID) -> Generation:
        """Raises `UnknownGeneration`."""
        with self._database.transaction() as connection:
            return generations.get(connection, generation_id)

    def generation_by_content_id(self, content_id: int) -> Generation | None:
        """None when this registry never issued it; any integer may be asked."""
        with self._database.transaction() as connection:
            return generations.get_by_content_id(connection, content_id)

    def issued_ids(self, after: int | None = None) -> IssuedIds:
        """The content ids of every generation that can be heard, or of those that came since `after`.

        `after` is the position of an earlier answer: whoever keeps the ids asks for what is new, before each
        use, and then has whatever was acknowledged before the call. 0.4 s a million. Raises
        `StartFromSnapshot` when what came since is not known any more: ask for everything again;
        `DatabaseUnavailable`.
        """
        with self._database.snapshot() as connection:
            return issued.read(connection, after)

    def standing(self, generation_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Standing]:
        """What the log says of each of these generations now: where it is, and whether it was withdrawn."""
        with self._database.transaction() as connection:
            return outbox.standing(connection, generation_ids)

    def withdraw(self, generation_id: uuid.UUID, reason: str) -> LogEntry:
        """Say for good that a generation should not be relied on, and why; returns the public log entry.

        Nothing is removed: its audio is still found, and each answer about it says since when it is
        withdrawn. From the commit on, that is before the entry is public; a crash in between leaves an entry
        that the next sequencer publishes. Of several withdrawals the first stays. `reason` is public: nothing
        personal. Raises `UnknownGeneration`, `RegistryInputError`, and as `log.wait`.
        """
        if not reason.strip():
            raise RegistryInputError("a withdrawal needs a reason: it is what the log will say")
        log = self.log
        with self._database.transaction() as connection:
            generations.lock(connection, generation_id)  # of two who withdraw at once one writes the entry
            entry = outbox.withdrawal(connection, generation_id)
            body = {"text": reason}
            entry_id = (
                entry.entry_id
                if entry is not None
                else outbox.statement(connection, Kind.REVOCATION, body, generation_id)
            )
        return log.published(entry_id)

    def purge(
        self,
        dead_keys_after: timedelta = DEAD_KEYS_KEPT,
        changelog_after: timedelta = changelog.CHANGELOG_KEPT,
    ) -> Purged:
        """Remove what is not needed any more, and above all what names somebody; returns how much that was.

        Replies that have outlived `REPLIES_LIVE`; label and last use of API keys that were revoked or expired
        longer ago than `dead_keys_after`; the changelog older than `changelog_after` (a day at least), in
        partitions of a million rows. Several transactions; a crash between leaves the rest for the next
        purge. Generations name nobody and are kept. Raises `DatabaseUnavailable`.
        """
        num_replies, num_keys = self.replies.purge(), self.keys.purge(dead_keys_after)
        with self._database.transaction() as connection:
            return Purged(num_replies, num_keys, changelog.retain(connection, changelog_after))

    def grant(self, role: str) -> None:
        """Let a PostgreSQL role run a registry like this one, and not change what was released: see
        `registry.roles`. Raises `RegistryInputError`, `DatabaseUnavailable`."""
        with self._database.transaction() as connection:
            roles.grant(connection, role)

    def generations(
        self, limit: int, after: uuid.UUID | None = None, wanted: GenerationFilter = EVERY_GENERATION
    ) -> list[Generation]:
        """Newest first, at most `limit` (1 to 1000); `after` is the last id of the page before."""
        with self._database.transaction() as connection:
            return generations.newest(connection, limit, after, wanted)

    def count_generations(self, wanted: GenerationFilter = EVERY_GENERATION) -> int:
        """How many there are now; for an export's progress, too slow for every page."""
        with self._database.transaction() as connection:
            return generations.count(connection, wanted)

    def rotate_log_key(self) -> tuple[str, Receipt]:
        """Give the log a new key (registry/log/rotation.py): its public half, and the receipt of the entry
        that names it, signed by the old one.

        Other processes that have this log open sign nothing from here on, until they open it again. Raises
        `LogRefused`, `LogUnavailable`, `DatabaseUnavailable`; calling again goes on.
        """
        log = self.log
        assert self._log_files is not None  # or there would be no log
        key, receipt = rotate(log, self._log_files)
        log.close()
        self._log = TransparencyLog.open(self._database, self._log_files)
        self._log.run_batch()
        return str(key.verifier), receipt

    def check_log(self) -> list[str]:
        """What in the log contradicts its tiles, the database or what was signed; reads everything.

        One sentence each, at most 100; an empty list when all agree. Waiting entries are sequenced first, so
        that what a crash left half done is not taken for damage. Raises `DatabaseUnavailable`.
        """
        problems = []
        try:
            self.log.run_batch()
        except (LogRefused, LogDamaged) as error:
            problems.append(str(error))
        return problems + [one for one in check(self._database, self.log) if one not in problems]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fetch_codes(self, generation_ordinals: Iterable[int]) -> dict[int, GenerationCodes]:
        with self._database.transaction() as connection:
            return changelog.fetch_codes(connection, generation_ordinals)


def to_query(wav: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """[T] or [C, T] at any supported rate as float32 [T] at 24 kHz. Raises `RegistryInputError`."""
    if not LOWEST_RATE_HZ <= sample_rate <= HIGHEST_RATE_HZ:
        raise RegistryInputError(
            f"the sample rate must be from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz, not {sample_rate}"
        )
    wav_T = wav.mean(axis=0) if wav.ndim == 2 and len(wav) else wav
    check_samples(wav_T)
    return np.asarray(resample(wav_T.astype(np.float32), sample_rate, SAMPLE_RATE_HZ), dtype=np.float32)
