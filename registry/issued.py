"""The content ids that were issued, as an array, for whoever recognises marks among them.

    generation ──everything──► ids, position ──changelog behind the position──► more ids, a later position

Ordinals are no order to follow: a lower one may be committed after a higher one was read. The changelog's
positions are commit order (changelog.py), and a generation has exactly one row there with window 0: it comes
when its first window is durable, which is when a search of the fingerprints can find it, too.

8 bytes an id. Withdrawn and aborted generations are among them: what was released was released. Not covered:
generations begun later that never had a window, that is streams that ended within their first second.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Subquery, func, literal, select

from registry import changelog
from registry.tables import ChangelogRow, GenerationRow

BATCH_IDS = 1 << 16  # 512 KB; a statement takes 30 ms


@dataclass(frozen=True)
class IssuedIds:
    """Ids in no particular order; one that was begun when everything was read may come again, once."""

    content_ids_N: NDArray[np.int64]
    position: int  # of the changelog: what was committed up to it is known


def read(connection: Connection, after: int | None) -> IssuedIds:
    """All ids (None), or those behind a position; in one `Database.snapshot`. Raises `StartFromSnapshot`."""
    position = changelog.last_position(connection)
    if after is None:
        parts = list(_everything(connection))
    else:
        changelog.check_reaches(connection, after)
        behind = (
            select(GenerationRow.content_id)
            .join(ChangelogRow, ChangelogRow.generation_ordinal == GenerationRow.ordinal)
            .where(ChangelogRow.position > after, ChangelogRow.first_window == 0)
            .subquery()
        )
        parts = [_packed(connection, behind)[0]]
    return IssuedIds(np.concatenate([np.zeros(0, np.int64), *parts]), position)


def _everything(connection: Connection) -> Iterator[NDArray[np.int64]]:
    after: int | None = 0
    while True:
        batch = (
            select(GenerationRow.content_id, GenerationRow.ordinal)
            .where(GenerationRow.ordinal > after)
            .order_by(GenerationRow.ordinal)
            .limit(BATCH_IDS)
            .subquery()
        )
        ids_N, after = _packed(connection, batch)
        if not len(ids_N):
            return
        yield ids_N


def _packed(connection: Connection, rows: Subquery) -> tuple[NDArray[np.int64], int | None]:
    """The ids as one value of 8 bytes each, since rows of numbers take ten times as long; and the highest
    ordinal, when the rows have it."""
    joined = func.string_agg(func.int8send(rows.c.content_id), literal(b""))
    last = func.max(rows.c.ordinal) if "ordinal" in rows.c else literal(None)
    packed, ordinal = connection.execute(select(joined, last)).one()
    return np.frombuffer(packed or b"", ">i8").astype(np.int64), ordinal
