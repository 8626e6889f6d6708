"""Generations as rows for auditors: of a page (`GET /v1/generations`) and of a file (`api.export`)."""

from collections.abc import Sequence
from uuid import UUID

from api.schemas import GenerationRecord, ListedGeneration
from registry import Generation, LogUnavailable, Registry
from registry.log import Kind


def records(registry: Registry, found: Sequence[Generation]) -> list[GenerationRecord]:
    """Facts, state, and where the log has each. Raises DatabaseUnavailable."""
    standing = registry.standing([generation.generation_id for generation in found])
    return [GenerationRecord.of(one, standing[one.generation_id]) for one in found]


def listed(registry: Registry, found: Sequence[Generation], *, receipts: bool) -> list[ListedGeneration]:
    """The same, with the receipt of each row's newest entry when `receipts` are asked for; null while that is
    not public. Raises DatabaseUnavailable, LogDamaged."""
    rows = [ListedGeneration(**vars(record)) for record in records(registry, found)]
    if not receipts:
        return rows
    proofs = _receipts(registry, [row.generation_id for row in rows if row.log_index is not None])
    return [row.model_copy(update={"receipt": proofs.get(row.generation_id)}) for row in rows]


def _receipts(registry: Registry, generation_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Without salts: a list is for who audits, not for who was given the audio."""
    entries = registry.log.entries_of(generation_ids)  # oldest first: the newest stays
    newest = {entry.generation_id: entry for entry in entries if entry.kind is Kind.GENERATION}
    receipts = {}
    for name, entry in newest.items():
        assert name is not None
        try:
            receipts[name] = registry.log.receipt_of(entry).encode().decode()
        except LogUnavailable:  # it got its index, and the tree is about to be signed
            continue
    return receipts
